"""What TensorBoard says beside each tag that a trial or a report writes."""

from __future__ import annotations

BY_LAG = (
    "log10 of the adjoint's norm {}, the mean over held-out sequences. **The step axis is the lag k**, the distance "
    "back from the loss; `cell_path`: what flows from c to c alone."
)
DESCRIPTIONS = {
    "eval/loss": "Loss on held-out sequences, the same ones at every evaluation.",
    "eval/accuracy": "Part of the held-out answers that are right by the task's own rule.",
    "eval/chance": "The loss that the task's source gives for a predictor without memory of the input.",
    "train/loss": "Loss of the batches, the mean over a window of updates.",
    "train/omega": "The regulariser Omega (Pascanu, Mikolov & Bengio 2013, eq. 9), the mean over a window of updates.",
    "grad/norm": "Norm of the gradient over all weights before clipping, the mean over a window of updates.",
    "grad/norm_clipped": "The same norm after clipping.",
    "grad/norm_max": "The largest norm of a gradient before clipping in a window of updates.",
    "grad/clip_rate": "Part of a window's updates whose gradient was clipped.",
    "result/sequences": "Training sequences until the trial ended.",
    "result/horizon": "The largest lag whose dL/dh is above the stated fraction of lag 0, when the trial ended.",
    "perf/steps_per_second": "Updates a second, of all trials that run together.",
    "gradient norm by training step and lag": "log10 of ||dL/dh|| of one example's loss, by lag, through training.",
    "settings": "Every setting of the trial, by its dotted path.",
    "flow_init/": BY_LAG.format("at initialisation"),
    "flow_trained/": BY_LAG.format("after training"),
    "report/": "A figure of the report; its caption stands in report.html.",
} | {
    f"gates/{gate}": f"Gate {gate} of the top layer over units, steps and held-out sequences: 0 is closed, 1 open."
    for gate in "ifo"
}


def description(tag: str) -> str:
    """What a tag shows, in Markdown, as TensorBoard tells it beside the tag's name; "" for an experiment's own tags."""
    return DESCRIPTIONS.get(tag) or DESCRIPTIONS.get(tag.partition("/")[0] + "/", "")

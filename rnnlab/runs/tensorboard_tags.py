"""What TensorBoard says beside each tag that a trial, an arm or a report writes."""

from __future__ import annotations

OVER_SEEDS = (
    "{}: the mean over the arm's seeds. A trial that learned and stopped keeps its last value; one that diverged is "
    "left out."
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
    "held-out loss/": OVER_SEEDS.format("Loss on held-out sequences"),
    "held-out accuracy/": OVER_SEEDS.format("Part of the held-out answers that are right"),
    "gradient norm/": OVER_SEEDS.format("Norm of the gradient before clipping"),
    "range over seeds/": "The least and the greatest over an arm's seeds: the band of the chart in Custom Scalars.",
    "answer": "What the run answers to its experiment's question.",
    "table": "The main table of the report.",
    "report/": "A figure of the report; its caption stands in report.html.",
} | {
    f"gates/{gate}": f"Gate {gate} of the top layer over units, steps and held-out sequences: 0 is closed, 1 open."
    for gate in "ifo"
}


def description(tag: str) -> str:
    """What a tag shows, in Markdown, as TensorBoard tells it beside the tag's name; "" for an experiment's own tags."""
    return DESCRIPTIONS.get(tag) or DESCRIPTIONS.get(tag.partition("/")[0] + "/", "")

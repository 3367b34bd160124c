"""What TensorBoard shows of a folder of runs: charts that lay all arms over one another, hyperparameters with the
status of every trial, heat maps, and the settings as a table.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from difflib import get_close_matches

import matplotlib
import numpy as np
from jaxtyping import Array, Int, Num
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.custom_scalar import metadata as custom_scalars
from tensorboard.plugins.custom_scalar.layout_pb2 import (
    Category,
    Chart,
    Layout,
    MarginChartContent,
    MultilineChartContent,
)
from tensorboard.plugins.hparams import metadata as hyper
from tensorboard.plugins.hparams.api_pb2 import Status
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo
from tensorboard.plugins.hparams.summary_v2 import Discrete, HParam, Metric, hparams_config_pb, hparams_pb
from tensorboard.util.tensor_util import make_tensor_proto

from rnnlab.runs.drawing import style
from rnnlab.runs.tensorboard_tags import description

Host = Array | np.ndarray
Setting = bool | float | int | str

NOT_FINITE = "#D55E00"  # the colour of what overflowed, or is no number
# TensorBoard matches a tag by the beginning of its name, hence the "$": grad/norm is not to bring grad/norm_clipped.
DEFAULT_CHARTS = {
    "learning": {
        "loss against chance": ["eval/loss$", "eval/chance$"],
        "accuracy": ["eval/accuracy$"],
        "gradient norm before and after clipping": ["grad/norm$", "grad/norm_clipped$"],
    },
    "speed": {"steps per second": ["perf/steps_per_second$"]},
}


def default_layout() -> Summary:
    """The charts of every trial: learning, speed."""
    return custom_scalars_layout(DEFAULT_CHARTS)


def custom_scalars_layout(categories: Mapping[str, Mapping[str, Sequence[str]]]) -> Summary:
    """The layout of TensorBoard's Custom Scalars page.

    A chart names tags and no runs, so every run ticked in TensorBoard lies on the same chart. Writing the same layout
    in several runs shows it once.

    Args:
        categories: category title -> chart title -> regular expressions, matched from the beginning of a tag.
    """
    lines = {
        category: [
            Chart(title=chart, multiline=MultilineChartContent(tag=list(tags))) for chart, tags in charts.items()
        ]
        for category, charts in categories.items()
    }
    return _layout(lines)


def band_layout(categories: Mapping[str, Mapping[str, tuple[str, str, str]]]) -> Summary:
    """A layout of lines with bands.

    Args:
        categories: category title -> chart title -> tags of the line, and of the lower and upper end of its band.
    """
    bands = {
        category: [
            Chart(
                title=chart,
                margin=MarginChartContent(series=[MarginChartContent.Series(value=v, lower=low, upper=high)]),
            )
            for chart, (v, low, high) in charts.items()
        ]
        for category, charts in categories.items()
    }
    return _layout(bands)


def _layout(categories: Mapping[str, Sequence[Chart]]) -> Summary:
    layout = Layout(category=[Category(title=title, chart=charts) for title, charts in categories.items()])
    tensor = make_tensor_proto(layout.SerializeToString(), dtype=np.object_)
    metadata = custom_scalars.create_summary_metadata()
    return Summary(value=[Summary.Value(tag=custom_scalars.CONFIG_SUMMARY_TAG, metadata=metadata, tensor=tensor)])


def hparams_experiment(domains: Mapping[str, Sequence[Setting]], metrics: Sequence[str], at: float) -> Summary:
    """What varies between trials and what is compared: written once, in the root of the runs.

    Args:
        domains: the values that each varied setting takes, by its dotted path.
        metrics: tags of scalars that every trial writes.
        at: when the experiment began, in seconds since 1970.
    """
    varied = [HParam(name, Discrete([_setting(v, domain) for v in domain])) for name, domain in domains.items()]
    compared = [Metric(tag, description=description(tag) or None) for tag in metrics]
    return hparams_config_pb(varied, compared, time_created_secs=at)


def session_start(
    settings: Mapping[str, Setting], domains: Mapping[str, Sequence[Setting]], at: float, group: str | None = None
) -> Summary:
    """The settings of one trial: written in that trial's run, before its metrics.

    Args:
        settings: the trial's value of each varied setting.
        domains: as for `hparams_experiment`; it decides whether a setting is shown as a number or as text.
        at: when the trial began, in seconds since 1970.
        group: trials of the same group share a row, which shows their mean (leave the seed out of the settings then);
            left out, trials with the same settings do.
    """
    values = {name: _setting(value, domains.get(name, [value])) for name, value in settings.items()}
    return hparams_pb(values, trial_id=group, start_time_secs=at)


def session_end(status: str, at: float) -> Summary:
    """How a trial ended: "SUCCESS", "FAILURE", or "RUNNING" for one that was interrupted and will be resumed.

    TensorBoard believes the first such record of a run. One of a trial to be resumed must therefore stand behind the
    size that its checkpoint stores, to be cut off on resume. Until there is one, the trial's status is UNKNOWN.

    Args:
        status: one of the three.
        at: when the trial ended, in seconds since 1970.
    """
    known = ["SUCCESS", "FAILURE", "RUNNING"]
    if status not in known:
        near = get_close_matches(str(status).upper(), known, n=1, cutoff=0.0)[0]
        raise ValueError(f"status={status!r} is none of {', '.join(known)}; the nearest is {near!r}")
    end = SessionEndInfo(status=Status.Value(f"STATUS_{status}"), end_time_secs=at)
    metadata = hyper.create_summary_metadata(HParamsPluginData(session_end_info=end))
    return Summary(value=[Summary.Value(tag=hyper.SESSION_END_INFO_TAG, metadata=metadata, tensor=hyper.NULL_TENSOR)])


@style({})
def heat_map_png(
    log10_norms: Num[Host, "N K"],
    steps: Sequence[int] | Int[Host, " N"],
    lags: Sequence[int] | Int[Host, " K"],
    title: str,
) -> bytes:
    """Draws log10 ||dL/dh|| by lag (across) and training step (up) as a PNG; grey: zero, red: not finite.

    Raises:
        ValueError: shapes do not fit, or steps or lags do not increase.
    """
    norms, steps, lags = np.asarray(log10_norms).astype(np.float64), np.asarray(steps), np.asarray(lags)
    if norms.shape != (len(steps), len(lags)) or not norms.size:
        raise ValueError(f"{title}: norms of shape {norms.shape} for {len(steps)} steps and {len(lags)} lags")
    if (np.diff(steps) <= 0).any() or (np.diff(lags) <= 0).any():
        raise ValueError(f"{title}: steps and lags must increase")
    known = np.isfinite(norms)
    # With nothing to draw, a colour bar needs a range all the same.
    low, high = (norms[known].min(), norms[known].max()) if known.any() else (-1.0, 0.0)

    figure = Figure(figsize=(7.5, 4.2), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    axes.set_facecolor("lightgrey")
    mesh = axes.pcolormesh(
        _edges(lags),
        _edges(steps),
        np.ma.masked_where(~known, norms),
        cmap=matplotlib.colormaps["viridis"],
        vmin=low,
        vmax=high,
        rasterized=True,
    )
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10]))
    axes.set(title=title, xlabel="lag k (steps back from the loss)", ylabel="training step")
    figure.colorbar(mesh, ax=axes, label="log10 ||dL/dh||")
    patches = [Patch(facecolor="lightgrey", edgecolor="grey", label="zero")] * bool((norms == -np.inf).any())
    broken = ~known & (norms != -np.inf)
    if broken.any():
        red = ListedColormap([NOT_FINITE])
        axes.pcolormesh(_edges(lags), _edges(steps), np.ma.masked_where(~broken, np.ones_like(norms)), cmap=red)
        patches.append(Patch(facecolor=NOT_FINITE, label="not finite"))
    if patches:
        figure.legend(handles=patches, loc="outside lower right", frameon=False, ncols=2)  # not over the data
    png = io.BytesIO()
    FigureCanvasAgg(figure).print_png(png)
    return png.getvalue()


def settings_text(flat: Mapping[str, str]) -> str:
    """A Markdown table of dotted path and value; what would be markup in a value is shown as it is written."""
    rows = [f"| {_plain(path)} | {_plain(value)} |" for path, value in flat.items()]
    return "\n".join(["| setting | value |", "| --- | --- |", *rows])


def _setting(value: Setting, domain: Sequence[Setting]) -> Setting:
    # TensorBoard wants one type a column, and cannot send inf or NaN to the browser: such a column becomes text.
    if all(isinstance(v, bool) for v in domain) or all(isinstance(v, str) for v in domain):
        return value
    if all(isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in domain):
        return float(value)
    return str(value)


def _edges(centres: np.ndarray) -> np.ndarray:
    """Borders half-way between `centres`, which need not be evenly spaced; nothing is drawn beyond the last."""
    if len(centres) == 1:
        return np.array([centres[0] - 0.5, centres[0] + 0.5])
    return np.concatenate([centres[:1], (centres[1:] + centres[:-1]) / 2, centres[-1:]])


def _plain(text: str) -> str:
    marks = {"\n": " "} | {mark: f"&#{ord(mark)};" for mark in "&<>|*`\\[]"}
    return str(text).translate(str.maketrans(marks))

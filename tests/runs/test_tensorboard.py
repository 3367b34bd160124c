"""TensorBoard shows what a run wrote: asked of its own parsers, and of a real server over HTTP."""

import contextlib
import html
import io
import json
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import matplotlib.image
import numpy as np
import pytest
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.plugins.hparams import api_pb2
from tensorboard.plugins.hparams import metadata as hyper
from tensorboard.util.tensor_util import make_ndarray

from rnnlab.runs import tensorboard
from rnnlab.runs.event_files import EventFile
from rnnlab.runs.recorder import METRICS
from rnnlab.runs.tensorboard_tags import description

EVENTS = "events.out.tfevents.rnnlab"
NOW = 1.7e9
SESSIONS = {
    "allowedStatuses": ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"],
    "colParams": [{"metric": {"tag": "eval/loss"}}],
    "aggregationType": "AGGREGATION_AVG",
    "sliceSize": 10,
}
MARKUP = "<b>a|b</b> *c* `d`\ne [f](http://g) &amp;"
DOMAINS = {"cell": ["LSTM", "VanillaRNN"], "task.length": [50, 200], "clip": [1.0, float("inf")]}


def test_the_layout_parses_back_with_every_chart():
    """The layout is the Custom Scalars plugin's own message under the plugin's own tag."""
    [value] = tensorboard.default_layout().value
    layout = Layout.FromString(make_ndarray(value.tensor).item())
    assert value.tag == "custom_scalars__config__" and value.metadata.plugin_data.plugin_name == "custom_scalars"
    got = {c.title: {chart.title: list(chart.multiline.tag) for chart in c.chart} for c in layout.category}
    assert got == tensorboard.DEFAULT_CHARTS and list(got) == ["learning", "speed"]


def test_a_heat_map_is_grey_where_a_gradient_is_zero_and_red_where_it_is_not_finite():
    """So that neither is mistaken for a small gradient, nor for the other."""
    norms = np.full((2, 4), -3.0)
    norms[0, :2], norms[1, 2:] = -np.inf, np.nan
    norms[1, 0] = 0.0
    png = tensorboard.heat_map_png(norms, [0, 100], range(4), "LSTM")
    picture = matplotlib.image.imread(io.BytesIO(png))
    height, width = picture.shape[:2]
    at = {
        name: picture[int(y * height), int(x * width), :3]
        for name, (x, y) in {"zero": (0.2, 0.6), "nan": (0.7, 0.3), "top": (0.12, 0.3), "low": (0.7, 0.6)}.items()
    }
    grey, red = np.full(3, 211 / 255), matplotlib.colors.to_rgb(tensorboard.NOT_FINITE)
    assert np.allclose(at["zero"], grey, atol=0.01) and np.allclose(at["nan"], red, atol=0.01)
    assert not np.allclose(at["top"], grey, atol=0.1) and not np.allclose(at["low"], grey, atol=0.1)
    assert not np.allclose(at["top"], at["low"], atol=0.3)


@pytest.mark.parametrize("norms", [np.zeros((1, 1)), np.full((2, 3), np.nan), np.zeros((3, 5000), np.float32)])
def test_a_heat_map_of_any_shape_is_drawn(norms):
    """One point, nothing finite, more lags than pixels: no warning (warnings are errors) and a picture."""
    png = tensorboard.heat_map_png(norms, np.arange(norms.shape[0]), np.arange(norms.shape[1]), "VanillaRNN")
    assert png.startswith(b"\x89PNG")


def test_a_heat_map_needs_increasing_axes():
    """pcolormesh would fold the picture over itself."""
    with pytest.raises(ValueError, match="LSTM: steps and lags must increase"):
        tensorboard.heat_map_png(np.zeros((2, 2)), [5, 5], [0, 1], "LSTM")
    with pytest.raises(ValueError, match=r"LSTM: norms of shape \(0, 2\)"):
        tensorboard.heat_map_png(np.zeros((0, 2)), [], [0, 1], "LSTM")


def test_settings_are_one_row_each():
    """Also where a value holds what separates cells or rows."""
    table = tensorboard.settings_text({"task.batch_size": "32", "note": MARKUP, "empty": ""}).split("\n")
    assert table[2] == "| task.batch_size | 32 |" and len(table) == 5
    assert [row.count("|") for row in table] == [3] * 5


@pytest.mark.parametrize("status", ["SUCCESS", "FAILURE", "RUNNING"])
def test_a_session_carries_its_status(status):
    """The end of a session is the HParams plugin's own message."""
    [value] = tensorboard.session_end(status, at=NOW).value
    end = hyper.parse_session_end_info_plugin_data(value.metadata.plugin_data.content)
    assert value.tag == "_hparams_/session_end_info" and end.end_time_secs == NOW
    assert api_pb2.Status.Name(end.status) == f"STATUS_{status}"


def test_an_unknown_status_is_answered_with_the_nearest():
    """The error names the value and the right one."""
    with pytest.raises(ValueError, match=r"'succes'.*nearest is 'SUCCESS'"):
        tensorboard.session_end("succes", at=NOW)


def test_settings_are_numbers_or_text_as_their_domain_says():
    """A column has one type in TensorBoard, and inf cannot travel to a browser: clip=1.0 beside clip=inf is text."""
    [value] = tensorboard.hparams_experiment(DOMAINS, ["eval/loss"], at=NOW).value
    experiment = hyper.parse_experiment_plugin_data(value.metadata.plugin_data.content)
    domains = {info.name: list(info.domain_discrete) for info in experiment.hparam_infos}
    assert domains == {"cell": ["LSTM", "VanillaRNN"], "task.length": [50.0, 200.0], "clip": ["1.0", "inf"]}
    assert [m.name.tag for m in experiment.metric_infos] == ["eval/loss"]

    settings = {"cell": "LSTM", "task.length": 50, "clip": 1.0, "seed": 3, "scale": float("nan"), "tied": True}
    [value] = tensorboard.session_start(settings, DOMAINS, at=NOW, group="LSTM-50").value
    start = hyper.parse_session_start_info_plugin_data(value.metadata.plugin_data.content)
    got = {name: getattr(v, v.WhichOneof("kind")) for name, v in start.hparams.items()}
    assert got == {"cell": "LSTM", "task.length": 50.0, "clip": "1.0", "seed": 3.0, "scale": "nan", "tied": True}
    assert start.group_name == "LSTM-50" and start.start_time_secs == NOW


def test_every_charted_tag_is_described_and_an_own_probe_is_not_taken_for_a_gate():
    charted = [
        tag.rstrip("$") for charts in tensorboard.DEFAULT_CHARTS.values() for tags in charts.values() for tag in tags
    ]
    assert all(map(description, [*charted, *METRICS, "gates/f"]))
    assert description("gates/tau") == description("lyapunov/top") == ""


def test_the_first_end_of_a_session_counts(tmp_path):
    """Why RUNNING is not written beforehand: TensorBoard keeps the first metadata that it reads for a tag."""
    events = EventFile(tmp_path / EVENTS)
    events.summary(tensorboard.session_end("RUNNING", at=NOW), 0)
    events.summary(tensorboard.session_end("SUCCESS", at=NOW), 0)
    events.close()
    read = EventAccumulator(str(tmp_path)).Reload().PluginTagToContent("hparams")
    end = hyper.parse_session_end_info_plugin_data(read["_hparams_/session_end_info"])
    assert end.status == api_pb2.STATUS_RUNNING


def write_runs(folder):
    """A root that describes the experiment, and two trials: an LSTM that ended well and an RNN that did not."""
    root = EventFile(folder / EVENTS)
    root.summary(tensorboard.hparams_experiment(DOMAINS, ["eval/loss"], at=NOW), 0)
    root.close()
    for cell, status in [("LSTM", "SUCCESS"), ("VanillaRNN", "FAILURE")]:
        events = EventFile(folder / cell / EVENTS, describe=description)
        settings = {"cell": cell, "task.length": 50, "clip": float("inf")}
        events.summary(tensorboard.default_layout(), 0)
        events.summary(tensorboard.session_start(settings, DOMAINS, at=NOW, group=cell), 0)
        events.text("settings", tensorboard.settings_text({"cell": cell, "note": MARKUP}), 0)
        for step in range(3):
            metrics = {"eval/loss": 0.5 - 0.1 * step, "eval/chance": 0.7, "grad/norm": 2.0, "grad/norm_clipped": 1.0}
            events.scalars(metrics, 100 * step)
        events.image("flow/map", tensorboard.heat_map_png(-np.ones((2, 5)), [0, 100], range(5), cell), 100)
        events.histogram("gates/f", np.array([0.1, 0.9, np.nan]), 100)
        events.summary(tensorboard.session_end(status, at=NOW + 60), 200)
        events.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """`ask(path, **query)` of a TensorBoard that serves two trials; it ends with the tests."""
    folder = tmp_path_factory.mktemp("runs")
    write_runs(folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = folder / "tensorboard.log"
    command = [
        sys.executable,
        "-m",
        "tensorboard.main",
        f"--logdir={folder}",
        "--host=127.0.0.1",
        f"--port={port}",
        "--load_fast=false",
        "--reload_interval=1",
    ]
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # 127.0.0.1 is no matter for a proxy

    def ask(path, body=None, **query):
        address = f"http://127.0.0.1:{port}/data/plugin/{path}?{urllib.parse.urlencode(query)}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(address, data, {"Content-Type": "application/json"})
        with direct.open(request, timeout=10) as answer:
            content = answer.read()
            return json.loads(content) if "json" in answer.headers["Content-Type"] else content

    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        for _ in range(200):
            assert process.poll() is None, log.read_text()
            with contextlib.suppress(urllib.error.URLError):
                # The end of a session is the last record of a trial: once its status is known, all of it has arrived.
                groups = ask("hparams/session_groups", body=SESSIONS).get("sessionGroups", [])
                if sum(group["sessions"][0]["status"] != "STATUS_UNKNOWN" for group in groups) == 2:
                    break
            time.sleep(0.1)
        else:
            pytest.fail(log.read_text())
        yield ask
    finally:
        process.terminate()
        process.wait(timeout=20)


def test_a_real_tensorboard_shows_everything(server):
    """Both trials on every page: scalars, custom scalars, histograms, pictures, texts, hyperparameters."""
    trials = {"LSTM", "VanillaRNN"}
    scalars = {"eval/loss", "eval/chance", "grad/norm", "grad/norm_clipped"}
    pages = {"scalars": scalars, "images": {"flow/map"}, "histograms": {"gates/f"}, "text": {"settings"}}
    for page, expected in pages.items():
        shown = {run: set(tags) for run, tags in server(f"{page}/tags").items()}
        assert shown == {run: expected for run in trials}, page
    for page in ("scalars", "histograms"):
        for tag, info in server(f"{page}/tags")["LSTM"].items():
            said = description(tag).replace("**", "").replace("`", "")
            assert said and said in html.unescape(re.sub("<[^>]*>", "", info["description"])), tag

    table = server("text/text", run="LSTM", tag="settings")[0]["text"]
    assert "<td>cell</td>\n<td>LSTM</td>" in table and "<a" not in table
    assert f"<td>{MARKUP}</td>".replace("\n", " ") in html.unescape(table)  # a value's own markup is no markup
    [picture] = server("images/images", run="LSTM", tag="flow/map")
    assert picture["step"] == 100
    [(name, key)] = urllib.parse.parse_qsl(picture["query"])
    assert server("images/individualImage", **{name: key}).startswith(b"\x89PNG")

    # The layouts of both trials are one: each chart is there once.
    layout = server("custom_scalars/layout")["category"]
    got = {c["title"]: {chart["title"]: chart["multiline"]["tag"] for chart in c["chart"]} for c in layout}
    assert got == tensorboard.DEFAULT_CHARTS and [len(c["chart"]) for c in layout] == [3, 1]
    for run in trials:
        charted = server("custom_scalars/scalars", run=run, tag="grad/norm$")
        assert charted["regex_valid"] and list(charted["tag_to_events"]) == ["grad/norm"]

    experiment = server("hparams/experiment", body={"experimentName": "", "includeMetrics": True})
    assert {info["name"] for info in experiment["hparamInfos"]} == set(DOMAINS)
    groups = server("hparams/session_groups", body=SESSIONS)["sessionGroups"]
    assert {g["name"]: g["sessions"][0]["status"] for g in groups} == {
        "LSTM": "STATUS_SUCCESS",
        "VanillaRNN": "STATUS_FAILURE",
    }
    for group in groups:
        assert group["hparams"] == {"cell": group["name"], "task.length": 50.0, "clip": "inf"}
        assert group["metricValues"][0]["value"] == pytest.approx(0.3)
    assert experiment["metricInfos"][0]["description"] == description("eval/loss")

"""A killed run loses no point and doubles none, and what is written is read back as it was."""

import json
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader, RawEventFileLoader
from tensorboard.util.tensor_util import make_ndarray

from rnnlab.runs.event_files import EventFile
from rnnlab.runs.files import JsonLines, read_json, read_jsonl, write_json

EVENTS = "events.out.tfevents.rnnlab"


def tiny_png(width=3, height=2):
    """A grey picture, by the PNG standard: signature, header, data, end."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"".join(b"\0" + bytes(width) for _ in range(height)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def accumulated(path):
    """The file through TensorBoard's own reader, nothing thinned."""
    accumulator = EventAccumulator(str(path), size_guidance={"scalars": 0, "tensors": 0})
    return accumulator.Reload()


def points(path, tag="train/loss"):
    """(step, value) of a scalar."""
    return [(e.step, e.value) for e in accumulated(path).Scalars(tag)]


def test_json_lines_are_strict_json_and_read_back(tmp_path):
    """NaN and inf are not JSON, so they travel as strings and arrive as the same floats."""
    path = tmp_path / "new" / "metrics.jsonl"
    lines = JsonLines(path)
    record = {
        "step": np.int64(3),
        "a": float("nan"),
        "b": np.float32("inf"),
        "c": [-np.inf, 0.5],
        "ok": np.bool_(True),
        "deep": {"x": None, "name": "größe\u2028|"},
        "array": np.arange(3.0),
        "jax": jnp.float32(0.25),
    }
    lines.write(record)
    size = lines.flush()
    lines.close()
    assert size == path.stat().st_size

    def refuse(token):
        raise AssertionError(f"{token} is not strict JSON")

    assert json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)["c"] == ["-inf", 0.5]
    [back] = read_jsonl(path)
    assert np.isnan(back.pop("a"))
    assert back == {
        "step": 3,
        "b": np.inf,
        "c": [-np.inf, 0.5],
        "ok": True,
        "deep": record["deep"],
        "array": [0.0, 1.0, 2.0],
        "jax": 0.25,
    }
    assert list(back) == [key for key in record if key != "a"]


@pytest.mark.parametrize("number", [jnp.bfloat16(1.5), ml_dtypes.bfloat16(1.5), np.float16(1.5), jnp.float32(1.5)])
def test_every_float_type_is_a_number(tmp_path, number):
    """A metric arrives from the device in any float type, bfloat16 among them."""
    lines, events = JsonLines(tmp_path / "m.jsonl"), EventFile(tmp_path / EVENTS)
    lines.write({"x": number})
    events.scalar("x", number, 0)
    events.scalar("x", np.asarray(number)[None], 1)
    lines.close()
    events.close()
    assert read_jsonl(tmp_path / "m.jsonl") == [{"x": 1.5}]
    assert points(tmp_path / EVENTS, "x") == [(0, 1.5), (1, 1.5)]


def test_what_json_cannot_hold_is_named_and_nothing_is_written(tmp_path):
    """The error says where in the record the value stands."""
    lines = JsonLines(tmp_path / "m.jsonl")
    with pytest.raises(TypeError, match=r"flow\.norms\[1\].*complex"):
        lines.write({"step": 1, "flow": {"norms": [1.0, 2j]}})
    with pytest.raises(TypeError, match="string, not 7"):
        lines.write({"by_lag": {7: 1.0}})
    with pytest.raises(TypeError, match="longdouble"):
        lines.write({"x": np.longdouble(1.0)})
    assert lines.flush() == 0
    lines.close()


def test_a_description_goes_with_the_first_record_of_its_tag_also_in_a_resumed_file(tmp_path, monkeypatch):
    """TensorBoard keeps the first record's; a file that was cut back and resumed is the unbroken one's bytes."""
    monkeypatch.setattr("rnnlab.runs.event_files.time.time", lambda: 1.7e9)

    def write(events, steps):
        for step in steps:
            events.scalars({"loss": step, "rate": 0.1}, step)
            events.histogram("gate", np.arange(3.0), step)

    def opened(name, size=0):
        return EventFile(tmp_path / name / EVENTS, size, {"loss": "What it costs.", "gate": "How open."}.get)

    whole, broken = opened("whole"), opened("broken")
    write(whole, range(4))
    write(broken, range(1))
    size = broken.flush()
    write(broken, range(1, 3))
    broken.close()
    broken = opened("broken", size)
    write(broken, range(1, 4))
    whole.close()
    broken.close()
    assert (tmp_path / "whole" / EVENTS).read_bytes() == (tmp_path / "broken" / EVENTS).read_bytes()
    said = [
        (value.tag, value.metadata.summary_description)
        for event in LegacyEventFileLoader(str(tmp_path / "whole" / EVENTS)).Load()
        for value in event.summary.value
        if value.metadata.summary_description
    ]
    assert said == [("loss", "What it costs."), ("gate", "How open.")]


def open_lines(path, size=0):
    """A JsonLines, and how to write point number i."""
    lines = JsonLines(path, size)
    return lines, lambda i: lines.write({"train/loss": float(i), "step": i})


def open_events(path, size=0):
    """An EventFile, and how to write point number i."""
    events = EventFile(path, size)
    return events, lambda i: events.scalar("train/loss", i, i)


@pytest.mark.parametrize("opened", [open_lines, open_events])
@pytest.mark.parametrize("torn", [0, 5])
def test_a_resumed_file_holds_every_point_once(tmp_path, opened, torn):
    """10 points, a checkpoint, 5 points that no checkpoint knows (the last torn by the kill), a resume, 3 points."""
    path = tmp_path / EVENTS
    writer, write = opened(path)
    for i in range(10):
        write(i)
    size = writer.flush()
    assert size == path.stat().st_size
    for i in range(10, 15):
        write(100 + i)
    end = writer.flush()
    writer.close()
    os.truncate(path, end - torn)

    writer, write = opened(path, size)
    for i in range(10, 13):
        write(i)
    assert writer.flush() == path.stat().st_size
    writer.close()
    if opened is open_lines:
        got = [(r["step"], r["train/loss"]) for r in read_jsonl(path)]
    else:
        got = points(path)
        raw = list(LegacyEventFileLoader(str(path)).Load())
        assert [e.file_version for e in raw] == ["brain.Event:2"] + [""] * 13
    assert got == [(i, float(i)) for i in range(13)]


def test_a_killed_process_is_resumed(tmp_path):
    """SIGKILL between two flushes leaves at least what was flushed, and the rest is cut off."""
    path = tmp_path / EVENTS
    code = (
        "import os, sys; from pathlib import Path; from rnnlab.runs.event_files import EventFile\n"
        "events = EventFile(Path(sys.argv[1]))\n"
        "for i in range(10): events.scalar('train/loss', i, i)\n"
        "print(events.flush(), flush=True)\n"
        "for i in range(5000): events.scalar('train/loss', -1, 10 + i)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    root = Path(__file__).parents[2]
    killed = subprocess.run([sys.executable, "-c", code, path], cwd=root, capture_output=True, text=True, timeout=60)
    assert killed.returncode == -9, killed.stderr
    size = int(killed.stdout)
    assert path.stat().st_size > size
    events = EventFile(path, size)
    events.scalar("train/loss", 10, 10)
    events.close()
    assert points(path) == [(i, float(i)) for i in range(11)]


@pytest.mark.parametrize("opened", [open_lines, open_events])
def test_a_file_shorter_than_the_checkpoint_says_so(tmp_path, opened):
    """Padding a short file with zeros would corrupt it silently; the error names file, size found and size needed."""
    path = tmp_path / EVENTS
    with pytest.raises(ValueError, match=rf"{EVENTS} is missing.* 40 bytes"):
        opened(path, 40)
    assert not path.exists()
    path.write_bytes(b"x" * 30)
    with pytest.raises(ValueError, match=rf"{EVENTS} holds 30 bytes.* 40 bytes"):
        opened(path, 40)
    assert path.read_bytes() == b"x" * 30


def test_size_zero_starts_anew_and_a_torn_last_line_is_no_record(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_bytes(b'{"a": 1}\n{"a": 2}\n{"a"')
    assert read_jsonl(path) == [{"a": 1}, {"a": 2}]
    JsonLines(path).close()
    assert path.read_bytes() == b"" and read_jsonl(path) == []
    path.write_bytes(b'{"a": 1}\n{"a": \n{"a": 3}\n')
    with pytest.raises(ValueError, match="line 2"):
        read_jsonl(path)


def test_the_name_of_an_event_file_is_one_that_tensorboard_reads(tmp_path):
    """TensorBoard passes over any other file without a word."""
    with pytest.raises(ValueError, match="tfevents"):
        EventFile(tmp_path / "events.log")


def test_scalars_share_a_step_and_non_finite_values_pass(tmp_path):
    """TensorBoard draws NaN and inf as marks, so they are written; one value a tag, at the same step."""
    events = EventFile(tmp_path / EVENTS)
    events.scalars({"a/x": np.float64(0.5), "a/y": float("nan"), "a/z": -np.inf}, 7)
    events.close()
    assert len(list(RawEventFileLoader(str(tmp_path / EVENTS)).Load())) == 2
    assert points(tmp_path / EVENTS, "a/x") == [(7, 0.5)]
    assert np.isnan(points(tmp_path / EVENTS, "a/y")[0][1])
    assert points(tmp_path / EVENTS, "a/z") == [(7, -np.inf)]


def test_an_array_is_not_a_scalar(tmp_path):
    """The error names the tag and the shape."""
    events = EventFile(tmp_path / EVENTS)
    with pytest.raises(ValueError, match=r"grad/norm.*\(2,\)"):
        events.scalar("grad/norm", np.ones(2), 0)
    events.close()


def test_a_histogram_leaves_out_what_is_not_finite(tmp_path):
    """NaN would make every bucket edge NaN; an array with nothing finite gives an empty histogram."""
    events = EventFile(tmp_path / EVENTS)
    events.histogram("gates/f", jnp.array([[0.0, 1.0, jnp.nan], [0.5, jnp.inf, 1.0]], jnp.bfloat16), 1)
    events.histogram("gates/f", np.full(4, np.nan), 2)
    events.close()
    first, second = (make_ndarray(e.tensor_proto) for e in accumulated(tmp_path / EVENTS).Tensors("gates/f"))
    assert first[:, 2].sum() == 4 and first[0, 0] == 0.0 and first[-1, 1] == 1.0
    assert second[:, 2].sum() == 0 and np.isfinite(second).all()


def test_pictures_and_texts_come_back(tmp_path):
    """A picture is stored as width, height and the PNG's own bytes."""
    events = EventFile(tmp_path / EVENTS)
    events.image("flow/map", tiny_png(3, 2), 4)
    events.text("settings", "| a | b |", 0)
    with pytest.raises(ValueError, match="flow/map: not a PNG"):
        events.image("flow/map", b"GIF89a", 5)
    events.close()
    read = accumulated(tmp_path / EVENTS)
    [picture] = read.Tensors("flow/map")
    assert make_ndarray(picture.tensor_proto).tolist() == [b"3", b"2", tiny_png(3, 2)] and picture.step == 4
    assert read.SummaryMetadata("flow/map").plugin_data.plugin_name == "images"
    assert make_ndarray(read.Tensors("settings")[0].tensor_proto).item() == b"| a | b |"
    assert read.SummaryMetadata("settings").plugin_data.plugin_name == "text"


def test_write_json_replaces_whole_or_not_at_all(tmp_path, monkeypatch):
    """Whether the value cannot be written or the disk fails, the old file stays and no other is left behind."""
    path = tmp_path / "results.json"
    write_json(path, {"z": 1, "a": float("nan"), "list": (1, 2)})
    assert path.read_text().startswith('{\n "z": 1,\n "a": "nan"')
    old = path.read_bytes()
    with pytest.raises(TypeError, match=r"arms\.LSTM: JSON cannot hold"):
        write_json(path, {"arms": {"LSTM": object()}})

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rnnlab.runs.files.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_json(path, {"z": 2})
    monkeypatch.undo()
    assert path.read_bytes() == old and os.listdir(tmp_path) == ["results.json"]
    assert np.isnan(read_json(path)["a"])
    write_json(path, [1])
    assert read_json(path) == [1]

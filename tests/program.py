"""The programs as a user starts them, and a tiny experiment for them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rnnlab.runs.files import read_json

ROOT = Path(__file__).parents[1]

TINY = '''"""Does a tiny network learn anything?

For the tests:
its trials last seconds.
"""

import jax.numpy as jnp
from rnnlab.cells import LSTM, VanillaRNN
from rnnlab.reports import figures
from rnnlab.reports.report import Report
from rnnlab.tasks import Adding


def config(tier):
    return {"task": Adding, "task.length": 8, "cell.features": 4, "seeds": 2, "train.steps": 40, "train.window": 4,
            "train.eval_size": 8, "train.batch_size": 4, "train.checkpoint_seconds": 0.0, "flow.examples": 2,
            "probe_every": 8}


def arms(tier):
    return {"Adding 8/RNN": {"cell": VanillaRNN}, "Adding 8/LSTM": {"cell": LSTM}}


def probes(spec):
    return {"state": state}


def state(model, inputs, losses, answers):
    return {"norm": jnp.linalg.norm(model(inputs)), "last": model(inputs)[-1, :, 0]}


def report(results):
    return Report("Tiny.", {"flow": figures.flow})
'''


MY_CELL = """
import chz
from rnnlab.cells.vanilla_rnn import VanillaRNNCell

FACTOR = 2


@chz.chz
class MyCell(VanillaRNN):
    \"""h_t = tanh(z_t) / 2.\"""

    def build(self, in_features, *, rngs):
        plain = super().build(in_features, rngs=rngs)
        return MyCellCell(self, in_features, plain.w_x[...], plain.w_h[...], plain.b[...])


class MyCellCell(VanillaRNNCell):
    def update(self, carry, z):
        h = super().update(carry, z)[1] / FACTOR
        return h, h


def config"""
WITH_MY_CELL = TINY.replace("\n\ndef config", MY_CELL, 1)


def environment(cache):
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PLATFORMS": "cpu",
        "TF_CPP_MIN_LOG_LEVEL": "3",  # XLA's remarks on programs it reads from that cache
        "COLUMNS": "200",
    }


def start(place, cache, *words, cores=None, **variables):
    """The command in a process of its own: on these cores alone, and with these variables in its environment."""
    return subprocess.Popen(
        [sys.executable, "-m", "rnnlab.run", *words],
        cwd=place, env=environment(cache) | variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=cores and (lambda: os.sched_setaffinity(0, cores)),
    )  # fmt: skip


def run(place, cache, *words, **how):
    process = start(place, cache, *words, **how)
    out, err = process.communicate(timeout=240)
    return process.returncode, out, err


def here(place, words, monkeypatch, capsys):
    """(exit status, output, errors) of the command in this process, which has imported everything."""
    from rnnlab import run as command_line

    monkeypatch.chdir(place)
    command_line.FLAGS.unparse_flags()
    for name in command_line.OURS:
        command_line.FLAGS[name].unparse()
    with pytest.raises(SystemExit) as ended:
        sys.exit(command_line.main(command_line.parse(["run", *words])))
    return ended.value.code or 0, *capsys.readouterr()


def contents(folder):
    """What a resumed run must end with, to the bit: metrics, TensorBoard's points, and the results but for times."""
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
    from tensorboard.compat.proto.event_pb2 import Event

    points = {}
    for path in sorted(folder.rglob("*tfevents*")):
        found = []
        for raw in RawEventFileLoader(str(path)).Load():
            event = Event.FromString(raw)
            for value in event.summary.value:
                timed = "steps_per_second" in value.tag or value.tag.startswith("_hparams_")
                found.append((event.step, value.tag, b"" if timed else value.SerializeToString()))
        points[str(path.relative_to(folder))] = found
    results = read_json(folder / "results.json")
    kept = {key: results[key] for key in ("trials", "arms", "question", "verdict", "claims")}
    return (folder / "metrics.jsonl").read_bytes(), points, json.dumps(kept)


def written(folder):
    """Bytes of metrics that the trials of a run have written."""
    return sum(path.stat().st_size for path in folder.glob("trials/*/*/*/metrics.jsonl"))

"""A checkpoint is whole or it is not used."""

import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from rnnlab.cells import LSTM
from rnnlab.tasks import Adding
from rnnlab.training.checkpoint import Checkpoints
from rnnlab.training.layout import stack
from rnnlab.training.spec import TrainSpec, TrialSpec
from rnnlab.training.state import initial_state


@pytest.fixture(scope="module")
def state():
    spec = TrialSpec(cell=LSTM(features=4), task=Adding(length=6), train=TrainSpec())
    return stack([jax.device_get(initial_state(spec, seed)) for seed in (0, 1)])


def moved(state, by):
    return jax.tree.map(lambda x: x + np.asarray(by, x.dtype), state)


def assert_same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for one, two in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert one.dtype == two.dtype
        np.testing.assert_array_equal(one, two)


def test_a_state_is_restored_bit_exactly_with_its_host_part(tmp_path, state):
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.restore(lambda host: state, pytest.fail) is None
    for step in (1, 2, 3):
        checkpoints.save(step, moved(state, step), {"sizes": {"metrics": step}})
    assert checkpoints.steps() == [2, 3]  # the newest two are kept
    restored, host = Checkpoints(tmp_path).restore(lambda host: state, pytest.fail)
    assert_same(restored, moved(state, 3))
    assert host == {"sizes": {"metrics": 3}}


def damage(folder, how):
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    data = [p for p in files if p.parent.name == "d" and p.stat().st_size > 200] or files
    if how == "cut":
        data[0].write_bytes(data[0].read_bytes()[: data[0].stat().st_size // 2])
    elif how == "flipped":
        raw = bytearray(data[0].read_bytes())
        raw[len(raw) // 2] ^= 0xFF
        data[0].write_bytes(bytes(raw))
    else:
        data[0].unlink()


# Orbax leaves its event loop to the garbage collector when a read fails
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("how", ["cut", "flipped", "missing"])
def test_a_damaged_newest_checkpoint_is_reported_and_the_one_before_it_used(tmp_path, state, how):
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2):
        checkpoints.save(step, moved(state, step), {"n": step})
    damage(tmp_path / "000000002", how)
    reported = []
    restored, host = checkpoints.restore(lambda host: state, reported.append)
    assert_same(restored, moved(state, 1))
    assert host == {"n": 1} and len(reported) == 1 and "000000002 is damaged" in reported[0] and "\n" not in reported[0]
    checkpoints.save(2, moved(state, 2), {"n": 2})  # its name is free again
    assert_same(checkpoints.restore(lambda host: state, pytest.fail)[0], moved(state, 2))


def test_a_half_written_checkpoint_is_not_seen(tmp_path, state):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, state, {})
    (tmp_path / "000000002.orbax-checkpoint-tmp").mkdir()
    assert checkpoints.steps() == [1]


def test_a_disk_that_really_refuses_to_write_is_an_os_error(tmp_path):
    """A limit on the size of files makes the writes themselves fail, as a full disk does."""
    code = (
        "import resource, signal, sys, numpy as np; from pathlib import Path; "
        "from rnnlab.training.checkpoint import Checkpoints; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "try: Checkpoints(Path(sys.argv[1])).save(1, [np.random.default_rng(0).random(100_000)], {})\n"
        "except OSError as error: print('OSError', error.filename)"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "c")], cwd=root, capture_output=True, text=True, timeout=100
    )
    assert "OSError" in done.stdout, done.stderr[-2000:]
    assert Checkpoints(tmp_path / "c").steps() == []

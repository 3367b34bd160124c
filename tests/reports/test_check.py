"""What a user's own code does wrong is told before anything is trained: file, line, and what is expected."""

import jaxtyping
import pytest
from program import TINY, WITH_MY_CELL, here

import rnnlab
from rnnlab.settings.errors import SettingError

pytestmark = pytest.mark.slow

MY_TASK = """
import chz, jax
import numpy as np
from rnnlab.tasks.base import Batch, Task

@chz.chz
class MyTask(Task):
    in_features = property(lambda self: 1)
    out_features = property(lambda self: 1)
    chance = property(lambda self: 1.0)

    def sample(self, key, batch_size):
        xs = jax.random.normal(key, (self.length, batch_size, 1))
        return Batch(xs, jnp.sign(xs[:1]))

    def losses(self, outputs, batch):
        return jnp.mean((outputs - batch.targets) ** 2, axis=(0, 2))

    def right(self, outputs, batch):
        return jnp.mean(jnp.sign(outputs) == batch.targets, axis=(0, 2))


def config"""
WITH_MY_TASK = TINY.replace("\n\ndef config", MY_TASK, 1).replace('"task": Adding', '"task": MyTask')
WITH_MY_TASK = WITH_MY_TASK.replace("Adding 8/", "MyTask 8/")
WITH_MY_CELL = WITH_MY_CELL.replace('{"cell": LSTM}', '{"cell": MyCell}')
NORMAL = "jax.random.normal(key, (self.length, batch_size, 1))"
NUMPY = "jnp.asarray(np.random.{}normal(size=(self.length, batch_size, 1)), jnp.float32)"


@pytest.fixture(autouse=True)
def annotations_are_not_checked(monkeypatch):
    """As users have it: the tests' own check of annotations would speak first."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def checked(place, text, monkeypatch):
    """What is said of this experiment, from its line on."""
    (place / "experiments" / "mine.py").write_text(text)
    monkeypatch.chdir(place)
    with pytest.raises(SettingError) as raised:
        rnnlab.check("mine")
    said = str(raised.value)
    assert said.startswith(f"{place}/experiments/mine.py") and "\n" not in said
    return said.removeprefix(f"{place}/experiments/mine.py")


@pytest.mark.parametrize("text", [WITH_MY_TASK, WITH_MY_CELL, TINY.replace('"Adding 8/RNN"', '"RNN"')])
def test_what_is_right_passes(place, text, monkeypatch):
    """Also an arm whose name has one part."""
    (place / "experiments" / "mine.py").write_text(text)
    monkeypatch.chdir(place)
    rnnlab.check("mine")


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        (NORMAL, NUMPY.format(""), "in MyTask.sample: draws by other means than its key (numpy.random?)"),
        ("def sample(self, key, batch_size)", "def sample(self, batch_size)", "in MyTask: TypeError: "),
        ("outputs - batch.targets", "outputs - outputs.mean() - batch.targets", "does it read other sequences?"),
        ("batch_size, 1))", "batch_size))", "in MyTask.sample: gave inputs of shape [8, 4] for 4 sequences, where [T,"),
        ("return Batch(xs", "Batch(xs", "in MyTask.sample: gave NoneType, where a Batch(inputs [T, B, D], targets"),
        ("Batch(xs, jnp.sign(xs[:1]))", "Batch(xs, jnp.sign(xs[0]))", "in MyTask.sample: gave targets of shape [4, 1]"),
        ("jnp.sign(xs[:1])", "jnp.sign(xs[:1, :, 0])", "do outputs [1, 4, 1] and targets [1, 4] broadcast"),
        (
            "    def losses",
            "    def metrics(self, outputs, batch):\n        pass\n\n    def losses",
            "(is a return missing?)",
        ),
        ("    def losses", "    files = '/data'\n\n    def losses", "gave '/data', where a tuple of paths is needed"),
        ("    def losses", "    files = ('/absent',)\n\n    def losses", "names /absent, which is no file here"),
        (" ** 2, axis=(0, 2))", " ** 2)", "in MyTask.losses: gave shape [] for 4 sequences, where one number"),
        ("(outputs - batch.targets)", "(jnp.sign(outputs) - batch.targets)", "in MyTask.losses: has no gradient"),
        ("(outputs - batch.targets)", "outputs", "in MyTask.losses: does not read batch.targets"),
        ("== batch.targets, ", "+ 5 + batch.targets, ", "in MyTask.right: gave ["),
        ("    chance = property(lambda self: 1.0)\n", "", "in MyTask: no chance, the loss of the best predictor"),
        ("jnp.sign(xs[:1])", "jnp.sing(xs[:1])", "in MyTask.sample: AttributeError: module 'jax.numpy' has no"),
    ],
)
def test_a_task(place, right, wrong, told, monkeypatch):
    assert right in WITH_MY_TASK
    assert told in checked(place, WITH_MY_TASK.replace(right, wrong, 1), monkeypatch)


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        ("return h, h", "return (h, h), h", "in MyCellCell.update: gave a carry (float32[3, 4], float32[3, 4]), where"),
        (
            "return h, h",
            "return h[:, :2], h",
            "in MyCellCell.update: gave a carry with float32[3, 2], where float32[3,",
        ),
        (
            "return h, h",
            "return h.astype(jnp.bfloat16), h",
            "gave a carry with bfloat16[3, 4], where float32[3, 4] came",
        ),
        ("return h, h", "return h, 2 * h", "gave a y that is not the last component of its carry"),
        ("return h, h", "return h, h - h.mean(0)", "a step must treat each by itself"),
        ("return h, h", "h, h", "in MyCellCell.update: gave None (is a return missing?), where (carry, y) is needed"),
        ("return MyCellCell", "MyCellCell", "in MyCell.build: gave None (is a return missing?), where a Flax module"),
        (
            "plain.w_x[...]",
            "plain.w_x[...].T",
            "in MyCell.build: gave w_x, w_h, b of shapes [4, 2], [4, 4], [4]",
        ),
    ],
)
def test_a_cell(place, right, wrong, told, monkeypatch):
    assert right in WITH_MY_CELL
    (place / "experiments" / "mine.py").write_text(WITH_MY_CELL.replace(right, wrong, 1))
    monkeypatch.chdir(place)
    with pytest.raises(SettingError) as raised:
        rnnlab.check("mine")
    assert told in str(raised.value) and ".py, line " in str(raised.value)


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        ("return Report(", "results.arms['RNN']\n    return Report(", "in report: KeyError: 'RNN'"),
        (
            "def state(model, inputs, losses, answers)",
            "def state(model, inputs)",
            "in state: takes other arguments",
        ),
        ('return {"norm"', '{"norm"', "in state: gave NoneType (is a return missing?), where a dict"),
        ("return Report(", "Report(", ": report gave NoneType, where a rnnlab.reports.report.Report is needed (is a"),
        ('{"flow": figures.flow}', "[figures.flow]", "Report: figures must be functions by name"),
        ('{"flow": figures.flow}', "{}, ['x']", "Report: claims holds str, where Claim is needed"),
        ("[-1, :, 0]", "[-1, :, 0, 0]", "in state: IndexError: Too many indices"),
    ],
)
def test_a_report_and_probes(place, right, wrong, told, monkeypatch):
    assert told in checked(place, TINY.replace(right, wrong, 1), monkeypatch)


def test_a_report_that_fails_for_made_up_numbers_alone_is_a_warning(place, monkeypatch, capsys):
    """It may fit those that come."""
    fails = "if max(t.steps for t in results.trials) < 30:\n        [][0]\n    return Report("
    (place / "experiments" / "mine.py").write_text(TINY.replace("return Report(", fails, 1))
    monkeypatch.chdir(place)
    assert rnnlab.run("mine", arms="*RNN", settings={"seeds": 1}).verdict == "Tiny."
    out = capsys.readouterr().out
    assert "warning: " in out and "IndexError: list index out of range; tried on made-up results" in out


@pytest.mark.parametrize(
    ("text", "right", "wrong", "told"),
    [
        (WITH_MY_TASK, NORMAL, NUMPY.format("default_rng(0)."), "in MyTask.sample: gave the same batch for two keys"),
        (WITH_MY_CELL, "rngs=rngs)", "rngs=__import__('flax').nnx.Rngs(0))", "gave the same weights for two seeds"),
    ],
)
def test_what_may_be_meant_is_a_warning(place, text, right, wrong, told, monkeypatch, capsys):
    """A data set taken whole at every update; weights that are fixed by design."""
    assert right in text
    (place / "experiments" / "mine.py").write_text(text.replace(right, wrong, 1))
    status, out, _ = here(place, ["--exp=mine", "--dry_run"], monkeypatch, capsys)
    assert status == 0 and "warning: " in out and told in out


UNUSUAL = {
    "the value itself recalled": ("jnp.sign(xs[:1]))", "xs[:1])"),
    "targets that are whole numbers": ("jnp.sign(xs[:1]))", "(xs[:1] > 0).astype(jnp.int32))"),
    "a chance of JAX's": ("lambda self: 1.0", "lambda self: jnp.log(2.0)"),
    "a chance that is not known": ("lambda self: 1.0", "lambda self: float('nan')"),
    "gaps in a constant": (NORMAL, NORMAL + " + jnp.nan_to_num(np.array([[[np.nan]]]))"),
}


@pytest.mark.parametrize("case", UNUSUAL)
def test_unusual_tasks_that_are_right_pass(place, case, monkeypatch):
    right, wrong = UNUSUAL[case]
    assert right in WITH_MY_TASK
    (place / "experiments" / "mine.py").write_text(WITH_MY_TASK.replace(right, wrong, 1))
    monkeypatch.chdir(place)
    rnnlab.check("mine")


def test_a_report_may_read_all_that_a_run_has(place, monkeypatch):
    """Guesses, fits, the environment, curves at any point, the first update below a loss."""
    reads = """assert all(t.guesses.best < 1 and t.curve["eval/loss"][5] for t in results.trials)
    assert all(arm.fit.decay_rate.n and results.environment["devices"] for arm in results.arms.values())
    next(t for t in results.trials if t.final_loss < 0.1)
    return Report("""
    (place / "experiments" / "mine.py").write_text(TINY.replace("return Report(", reads, 1))
    monkeypatch.chdir(place)
    rnnlab.check("mine")


def test_a_breach_ends_the_command_before_anything_is_made(place, monkeypatch, capsys):
    (place / "experiments" / "mine.py").write_text(WITH_MY_TASK.replace(" ** 2, axis=(0, 2))", " ** 2)"))
    status, out, err = here(place, ["--exp=mine"], monkeypatch, capsys)
    assert (status, out) == (2, "") and err.count("\n") == 1 and "in MyTask.losses: gave shape []" in err
    assert not (place / "runs").exists()


def test_what_cannot_be_checked_is_refused():
    with pytest.raises(SettingError, match=r"check\(LSTM\): needs a cell's spec or a task, as in check\(LSTM\(\)\)"):
        rnnlab.check(rnnlab.cells.LSTM)

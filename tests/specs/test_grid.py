"""A sweep is a dict of arms; whichever way it is written, the same settings have the same name and none is lost."""

import types

import numpy as np
import pytest
import scipy.stats

from rnnlab.cells import GRU, LSTM, VanillaRNN
from rnnlab.runs.folder import slug
from rnnlab.settings import errors, resolve
from rnnlab.settings.language import how_many, parse_sweep
from rnnlab.specs import grid
from rnnlab.tasks import Adding, CopyMemory


def bench(config=None, arms=None):
    """An experiment whose configuration alone is complete."""
    config = {"task": Adding, "task.length": 200, "cell": LSTM, "cell.features": 8} | (config or {})
    arms = arms or {"Adding 200/LSTM": {}, "Adding 200/RNN": {"cell": VanillaRNN}}
    module = types.ModuleType("bench")
    module.config, module.arms = lambda tier: config, lambda tier: arms
    return module


def typed(arms):
    """The arms of a program, as a command line has them."""
    return {n: {p: v if p in grid.TRIALS else grid.shown(v) for p, v in arm.items()} for n, arm in arms.items()}


def test_a_grid_is_every_combination_named_by_its_settings():
    found = grid.grid({"cell": [VanillaRNN, LSTM], "task.length": [100, 500], "seed": range(3)})
    trials = {"seeds": 3, "first_seed": 0}
    assert found == {
        "length=100/VanillaRNN": {"cell": VanillaRNN, "task.length": 100} | trials,
        "length=500/VanillaRNN": {"cell": VanillaRNN, "task.length": 500} | trials,
        "length=100/LSTM": {"cell": LSTM, "task.length": 100} | trials,
        "length=500/LSTM": {"cell": LSTM, "task.length": 500} | trials,
    }


@pytest.mark.parametrize(
    ("text", "arms"),
    [
        (
            "cell=VanillaRNN,LSTM task.length=100,500 seed=0:10",
            grid.grid({"cell": [VanillaRNN, LSTM], "task.length": [100, 500], "seed": range(10)}),
        ),
        ("cell.features=16:64:16 seed=5:8", grid.grid({"cell.features": [16, 32, 48], "seed": range(5, 8)})),
        (
            "zip(cell.features=16, 32 train.batch_size=64,32) cell=LSTM,GRU",
            grid.cross(
                grid.zipped({"cell.features": [16, 32], "train.batch_size": [64, 32]}),
                grid.grid({"cell": [LSTM, GRU]}),
            ),
        ),
        (
            "train.learning_rate=log(1e-4, 1e-1) random=20 cell.features=log_integers(8,64)",
            grid.random(
                20, {"train.learning_rate": grid.log_uniform(1e-4, 1e-1), "cell.features": grid.log_integers(8, 64)}
            ),
        ),
        ("task.markers=(0,.5,.5,1),(0,.2,.6,1)", grid.grid({"task.markers": ["0,.5,.5,1", "0,.2,.6,1"]})),
        ("cell.without=forget gate,nothing", grid.grid({"cell.without": ["forget gate", "nothing"]})),
    ],
)
def test_a_command_line_and_a_program_mean_the_same_arms(text, arms):
    assert parse_sweep(text) == typed(arms)
    assert list(parse_sweep(text)) == list(arms)


def test_names_are_readable_and_their_files_differ_where_the_settings_do():
    """Signs and exponents survive in a file's name, and paths with the same last word are told apart."""
    assert list(grid.grid({"task": [CopyMemory], "task.length": [120], "cell": [LSTM], "cell.bias": ["chrono"]})) == [
        "CopyMemory 120/LSTM bias=chrono"
    ]
    found = grid.grid({"cell.forget_bias": [-1.0, 1.0, 1e6, 1e-6, 0.1 + 0.2, 0.3]})
    assert len({slug(name) for name in found}) == 6
    assert list(grid.grid({"a.features": [1], "cell.features": [2]})) == ["a.features=1 cell.features=2"]


def test_a_random_design_fills_space_and_its_beginning_is_a_smaller_one():
    """64 points of Halton's sequence leave less discrepancy than 64 independent ones; log-uniform is uniform in log."""
    axes = {"a": grid.log_uniform(1e-4, 1e-1), "b": grid.uniform(0, 5)}
    found = grid.random(64, axes, seed=3)
    assert list(grid.random(16, axes, seed=3).items()) == list(found.items())[:16]
    assert grid.random(16, axes, seed=4) != grid.random(16, axes, seed=3)
    unit = np.array([[(np.log10(arm["a"]) + 4) / 3, arm["b"] / 5] for arm in found.values()])
    independent = [
        scipy.stats.qmc.discrepancy(np.random.default_rng(k).random((64, 2)), method="L2-star") for k in range(20)
    ]
    assert scipy.stats.qmc.discrepancy(unit, method="L2-star") < min(independent)
    assert all(float(f"{arm['a']:.3g}") == arm["a"] for arm in found.values())


def test_distributions_reach_both_ends_and_nothing_beyond():
    u = np.linspace(0, 1, 10_001)[:-1]
    for draw, low, high in [
        (grid.uniform(-1.23456, 2.3456), -1.23456, 2.3456),
        (grid.log_uniform(1.23456e-4, 0.1), 1.23456e-4, 0.1),
        (grid.integers(-2, 3), -2, 3),
        (grid.log_integers(1, 9), 1, 9),
    ]:
        values = [draw(x) for x in u]
        assert (min(values), values[-1]) == pytest.approx((low, high), rel=5e-3)
        assert low <= min(values) and max(values) <= high and values == sorted(values)
    counts = np.bincount([grid.integers(0, 4)(x) for x in u])
    np.testing.assert_array_equal(counts, 2000)
    logs = np.bincount([grid.log_integers(1, 9)(x) for x in u])[1:]
    expected = np.diff(np.log(np.arange(0.5, 10))) / np.log(19)  # each whole number's share of a log-uniform axis
    np.testing.assert_allclose(logs / len(u), expected, atol=2e-4)
    assert [grid.choice(["a", "b"])(x) for x in (0, 0.49, 0.5, 0.99)] == ["a", "a", "b", "b"]


def test_unions_lose_nothing():
    one, two = grid.grid({"cell": [LSTM, GRU]}), grid.grid({"cell": [GRU, VanillaRNN]})
    assert list(one | two) == ["LSTM", "GRU", "VanillaRNN"]
    with pytest.raises(ValueError, match="'LSTM': one name for cell=LSTM and for cell=GRU"):
        one | {"LSTM": {"cell": GRU}}
    with pytest.raises(ValueError, match="'mine': one name"):
        {"mine": {"cell": LSTM}} | grid.product({"mine": {"cell": GRU}})
    with pytest.raises(ValueError, match="cell=GRU: one setting under two names, 'GRU' and 'gated'"):
        one | {"gated": {"cell": GRU}}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: grid.grid({}), "a sweep needs a path"),
        (lambda: grid.grid({"seed": range(3)}), "a sweep needs a path"),
        (lambda: grid.grid({"cell": []}), "cell: no values"),
        (lambda: grid.grid({"cell": [LSTM, LSTM]}), "cell=LSTM: twice"),
        (lambda: grid.grid({"cell": [LSTM], "seed": [1, 3]}), "seed=1,3: must be whole numbers in a row"),
        (lambda: grid.zipped({"a": [1, 2], "b": [1]}), "zipped: as many values for every path, but a has 2, b has 1"),
        (lambda: grid.cross(grid.grid({"a": [1]}), grid.grid({"a": [2]})), "a: a path is swept once"),
        (lambda: grid.random(0, {"a": grid.uniform(0, 1)}), "random: 0 points"),
        (lambda: grid.random(4, {"a": grid.integers(0, 1)}), "twice in one design"),
        (lambda: grid.log_uniform(0, 1), r"log_uniform\(0, 1\): must rise from low to high, above 0"),
        (lambda: grid.uniform(2, 1), r"uniform\(2, 1\): must rise"),
        (lambda: grid.choice([]), "choice: no values"),
    ],
)
def test_a_bad_design_is_one_clear_line(make, message):
    with pytest.raises(ValueError, match=message):
        make()


BAD = [
    ("", "a sweep needs a path and its values"),
    ("foo", "foo: axes are written path=values"),
    ("cell=", "cell: no values"),
    ("cell=LSTM,,GRU", "no value before or after a comma"),
    ("cell=LSTM cell=GRU", "cell: a path is swept once"),
    ("zip(cell.features=1,2 cell.features=3,4)", "cell.features: a path is swept once"),
    ("zip(cell.features=1,2) cell.features=3", "cell.features: a path is swept once"),
    ("cell=(LSTM", "parentheses do not match"),
    ("cell=LSTM)", "parentheses do not match"),
    ("cell.features=5:5", "cell.features=5:5: no number lies in this range"),
    ("cell.features=5:9:0", "no number lies in this range"),
    ("seed=0:3", "no axis but seed; without a sweep, write seeds=N"),
    ("cell=LSTM,GRU seed=x", "seed=x: must be whole numbers in a row"),
    ("random=4", "no path is drawn"),
    ("cell=LSTM,GRU random=3", "random=3: there are only 2 points; leave random out for all of them"),
    ("cell=LSTM seed=4294967296:4294967298", "seed=4294967296:4294967298: must be at most 2147483648"),
    ("cell.features=integers(4,8)", "how many points are to be drawn"),
    ("cell.features=integers(4,8) random=few", "random=few: not a whole number"),
    ("cell.features=integers(4,8.5) random=2", "needs two whole numbers"),
    ("train.learning_rate=log(1) random=2", "needs two numbers"),
    ("train.learning_rate=lug(1,2) random=2", "no such distribution; the nearest is log"),
    ("train.learning_rate=log(0,2) random=2", "must rise from low to high, above 0"),
    ("cell=VanilaRNN", "cell=VanilaRNN: no such cell; the nearest is VanillaRNN"),
    ("task.lenght=5,6", "task.lenght=5: no such setting of task=Adding; the nearest is task.length"),
    ("cell.spectral_radius=1,2", "cell.spectral_radius=1: no such setting of cell=LSTM"),
    ("cell.features=8,0", "cell.features=0: must be at least 1"),
    ("cell.features=8,many", "cell.features=many: not a whole number"),
    ("cell.forget_bias=1,1.0", "--sweep: Adding 200/forget_bias=1 and Adding 200/forget_bias=1.0 are the same setting"),
]


@pytest.mark.parametrize(("text", "message"), BAD, ids=[text or "nothing" for text, _ in BAD])
def test_a_bad_sweep_is_one_clear_line_with_the_nearest_right_answer(text, message):
    with pytest.raises(errors.SettingError) as error:
        resolve.resolve(bench(), "quick", {}, sweep=parse_sweep(text))
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_sweep_replaces_the_experiments_own_arms():
    """experiment < command line < sweep; names are completed to TASK LENGTH/CELL, as reports read them."""
    found = resolve.resolve(bench(), "quick", {"cell.features": "5"}, sweep=parse_sweep("cell=GRU,LSTM seed=4:6"))
    assert list(found) == ["Adding 200/GRU", "Adding 200/LSTM"]
    assert found["Adding 200/GRU"].cell == GRU(features=5)
    assert list(found["Adding 200/GRU"].trial_seeds()) == [4, 5]
    lengths = resolve.resolve(bench(), "quick", {}, "*300*", parse_sweep("task.length=100:400:100"))
    assert list(lengths) == ["Adding 300/LSTM"] and lengths["Adding 300/LSTM"].task == Adding(length=300)
    own = resolve.resolve(bench(), "quick", {}, sweep={"wide": {"cell.features": "64"}})
    assert list(own) == ["wide"]  # a name that was given stays


def test_a_path_that_is_swept_and_set_is_an_error():
    with pytest.raises(errors.SettingError, match=r"task.length=7: --sweep sets it too \(100, 500\); keep one"):
        resolve.resolve(bench(), "quick", {"task.length": "7"}, sweep=parse_sweep("task.length=100,500"))
    with pytest.raises(errors.SettingError, match="--arms=GUR: matches no arm"):
        resolve.resolve(bench(), "quick", {}, "GUR", parse_sweep("cell=GRU,LSTM"))
    with pytest.raises(errors.SettingError, match="--tier=quik: no such tier; the nearest is quick"):
        resolve.resolve(bench(), "quik", {}, sweep=parse_sweep("cell=GRU,LSTM"))


def test_what_is_resolved_can_be_written_down_and_read_back():
    text = "cell.forget_bias=uniform(-2,3) train.clip_norm=log(.1,10) random=9"
    for spec in resolve.resolve(bench(), "quick", {}, sweep=parse_sweep(text)).values():
        assert resolve.from_flat(resolve.flat(spec)) == spec


def test_random_alone_draws_every_path_and_a_larger_draw_keeps_the_smaller():
    """Of a grid's points, none twice; beside a distribution what is listed multiplies the draws, as the plan says."""
    text = "cell=LSTM,GRU task.length=50,100,200 random={}"
    two, five = (parse_sweep(text.format(n)) for n in (2, 5))
    assert list(five)[:2] == list(two) and len(five) == 5 and set(five) < set(parse_sweep(text[: -len(" random={}")]))
    assert how_many(text.format(2)) == "2 of the 6 points of 2 of cell x 3 of task.length"
    mixed = "cell.features=32,64 train.learning_rate=log(1e-3,1e-1) random=5"
    assert len(parse_sweep(mixed)) == 10 and how_many(mixed) == "2 of cell.features x 5 draws of train.learning_rate"

"""Every shipped experiment runs to a whole report, also where --arms leaves out most of it."""

import fnmatch
import html
import io

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console

from rnnlab.reports import report
from rnnlab.runs.arms import run_arms
from rnnlab.runs.environment import environment
from rnnlab.runs.files import write_json
from rnnlab.runs.folder import RunFolder
from rnnlab.runs.gather_results import gather
from rnnlab.runs.job import make_job
from rnnlab.runs.ledger import Ledger
from rnnlab.runs.progress import Progress
from rnnlab.runs.results_file import results_from
from rnnlab.settings import experiments

pytestmark = pytest.mark.slow

TINY = {"cell.features": "4", "flow.examples": "2", "seeds": "2", "train.batch_size": "4", "train.eval_size": "8"}
CHOSEN = {  # arms that share few programs, and what they are made smaller by
    "exploding_gradient": ("*1.*", {}),
    "forget_bias": ("*bias [15]", {}),
    "forecasting": ("*", {"train.steps": "4", "train.window": "2", "task.length": "12"}),
    "long_memory": ("Adding*/LSTM*", {"train.steps": "4", "train.window": "2"}),
    "lyapunov": ("*VanillaRNN*", {"cell.features": "8", "train.steps": "4", "train.window": "2", "probe_every": "2"}),
    "parallel_in_time": ("*g=*", {}),
    "speech": ("*", {"train.steps": "4", "train.window": "2"}),
    "text": ("*", {}),
    "translation": (
        "*",
        {"task.size": "400", "task.numbers": "1000", "task.length": "20", "task.source_length": "10", "embedding": "4"},
    ),
    "vanishing_gradient": ("*5", {}),
}
THEORY = ("theory", "mean field")  # how the label of a line begins that no run measured


@pytest.fixture(scope="module", params=CHOSEN)
def ran(request, tmp_path_factory):
    """(module, content of results.json) of an experiment's smallest tier, made smaller still."""
    name, (pattern, smaller) = request.param, CHOSEN[request.param]
    module = experiments.load_experiment(name)
    smaller = TINY | smaller
    job = make_job(name, "smoke", smaller, pattern, workdir=tmp_path_factory.mktemp(name))
    write_json(job.workdir / "environment.json", environment())
    ledger = Ledger(RunFolder.to_read(job.workdir))
    progress = Progress(Console(file=io.StringIO()), {arm: spec.seeds for arm, spec in job.arms.items()})
    assert run_arms(job.arms, ledger, progress, lambda: False, job.probes)
    return module, gather(job, ledger)


def only(found, pattern, seeds=2):
    """The content of results.json of a run with this --arms and so many seeds."""
    arms = {name: arm for name, arm in found["arms"].items() if fnmatch.fnmatchcase(name, pattern)}
    trials = [trial for trial in found["trials"] if trial["arm"] in arms and trial["seed"] < seeds]
    return found | {"arms": arms, "trials": trials}


def measured(axes: Axes) -> bool:
    """Whether the axes show something finite of a run; a line across the frame or a theory's does not count."""
    lines = [line for line in axes.get_lines() if line.get_transform() == axes.transData]
    lines = [np.asarray(line.get_xydata(), float) for line in lines if not line.get_label().startswith(THEORY)]
    areas = [path for collection in axes.collections for path in collection.get_paths()]
    counted = [text for text in axes.texts if "\N{UPWARDS ARROW}" in text.get_text()]
    return any(np.isfinite(points).all(axis=1).any() for points in lines) or bool(areas or axes.patches or counted)


def empty(figure: Figure) -> list[str]:
    """The panels of a figure that show nothing."""
    panels = [axes for axes in figure.axes if axes.get_visible() and axes.get_label() != "<colorbar>"]
    return [axes.get_title() for axes in panels if not measured(axes)]


def check(module, found, what):
    """An answer, tables with rows, figures with captions and data in every panel; the report and its figures."""
    results = results_from(found)
    made = module.report(results)
    assert made.answer.strip().endswith(".") and "nan" not in made.answer, what
    tables = report.all_tables(results, made)
    assert len(tables[0].columns) <= 7 and all(table.rows for table in tables), what
    drawn = {name: figure for name, draw in made.figures.items() if (figure := draw(results)) is not None}
    assert drawn and all(figure.get_label() for figure in drawn.values()), what
    assert {name: panels for name, figure in drawn.items() if (panels := empty(figure))} == {}, what
    return made, drawn


def test_a_report_is_whole(ran, tmp_path):
    """Its page shows the answer and every figure; a smoke run's says that it means nothing."""
    module, found = ran
    made, drawn = check(module, found, "all arms")
    results = results_from(found)
    assert set(report.write(results, made, tmp_path, report.all_tables(results, made), pytest.fail)) == set(drawn)
    page = (tmp_path / "report.html").read_text()
    assert all(f'<figure id="{name}">' in page for name in drawn)
    assert made.answer in html.unescape(page)
    assert len({trial.arm for trial in results.trials}) == len(results.arms)
    smoke = report.asked(module, results, tmp_path)
    assert "mean nothing" in smoke.answer and not smoke.claims


def test_an_arm_alone_with_one_seed_has_a_report(ran):
    """--arms and seeds=1, of each kind of arm, judged as a longer tier is."""
    module, found = ran
    first, *_, last = found["arms"]
    for arm in (first, last):
        check(module, only(found, arm, seeds=1) | {"tier": "quick"}, arm)


def test_what_never_trained_or_diverged_is_not_drawn_as_trained(ran):
    module, found = ran
    diverged = [trial | {"status": "diverged", "reason": "loss is nan"} for trial in found["trials"]]
    nothing = {"steps": 0, "eval": {}, "map": None, "curve": {"step": [], "eval/loss": []}}
    untrained = [trial | nothing | {"probes": trial["probes"][:1]} for trial in found["trials"]]
    _, drawn = check(module, found | {"trials": diverged}, "diverged")
    assert not any("trained" in name for name in drawn)
    if found["experiment"] != "exploding_gradient":  # its arms say which are trained
        _, drawn = check(module, found | {"trials": untrained}, "untrained")
        assert not any("trained" in name or name in ("learning", "map") for name in drawn)


def test_an_experiments_own_numbers_obey_their_law(ran):
    """Shares of a gradient's paths sum to 1, exponents come in order, a cell path is the product of forget gates, a
    larger radius slows the decay, chrono gates too, a network that forgets takes few iterations, with diagonals more.
    """
    module, content = ran
    probed = [found for trial in content["trials"] for found in trial["probes"]]
    match content["experiment"]:
        case "forget_bias":
            for found in probed:
                shares = [share for name, share in found["paths"].items() if name != "lag"]
                np.testing.assert_allclose(np.sum(shares, axis=0), 1, atol=1e-5)
        case "lyapunov":
            tops = [found["lyapunov"]["exponents"] for found in probed]
            assert {len(top) for top in tops} == {module.K} and (np.diff(np.mean(tops, axis=0)) < 0).all()
        case "parallel_in_time":
            for found in (found["iterations"] for found in probed):
                assert 2 <= found["deer"] <= found["quasi-deer"] <= 20 and 2 <= found["predicted"] <= 20
                assert found["exponent"] < 0
                if found["deer"] < 6:
                    assert abs(found["deer"] - found["predicted"]) <= 1
        case "vanishing_gradient":
            [claim] = [c for c in module.report(results_from(content)).claims if c.says.startswith("LSTM bias 5")]
            assert claim.met
            _, drawn = check(module, only(content, "*LSTM*"), "LSTMs alone")
            assert list(drawn) == ["flow"]
        case "exploding_gradient":
            flows = [trial for trial in content["trials"] if not trial["steps"]]
            rates = {trial["arm"]: trial["reach"]["init"]["h"]["decay_rate"] for trial in flows}
            assert rates["Linear 30/g=1.1"] < rates["Linear 30/g=1.2"]
        case "long_memory":
            [plain, *_, chrono] = content["trials"]
            fall = [trial["reach"]["init"]["c cell path"]["decay_rate"] for trial in (plain, chrono)]
            assert fall[0] < fall[1] < 0 and plain["arm"].endswith("LSTM")
            longer = {n.replace("30", "50"): a | {"task": "Adding 50"} for n, a in content["arms"].items()}
            for arm in longer.values():
                arm["settings"] = arm["settings"] | {"task.length": "50"}
            both = [t | {"arm": t["arm"].replace("30", length)} for length in ("30", "50") for t in content["trials"]]
            made = module.report(results_from(content | {"trials": both, "arms": content["arms"] | longer}))
            assert made.answer.startswith("At initialisation on Adding 50 the gradient ")

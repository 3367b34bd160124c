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
from rnnlab.runs.arms import gather, run_arms
from rnnlab.runs.files import write_json
from rnnlab.runs.folder import RunFolder, environment
from rnnlab.runs.ledger import Ledger
from rnnlab.runs.progress import Progress
from rnnlab.settings import experiments, resolve

TINY = {"cell.features": "4", "flow.examples": "2", "seeds": "2", "train.batch_size": "4", "train.eval_size": "8"}
CHOSEN = {  # arms that share few programs, and what they are made smaller by
    "exploding_gradient": ("*1.*", {}),
    "forget_bias": ("*bias [15]", {}),
    "long_memory": ("Adding*/LSTM*", {"train.steps": "4", "train.window": "2"}),
    "lyapunov": ("*VanillaRNN*", {"cell.features": "8", "train.steps": "4", "train.window": "2", "probe_every": "2"}),
    "vanishing_gradient": ("*5", {}),
}
THEORY = ("theory", "mean field")  # how the label of a line begins that no run measured


@pytest.fixture(scope="module", params=CHOSEN)
def ran(request, tmp_path_factory):
    """(module, results) of an experiment's smallest tier, made smaller still."""
    name, (pattern, smaller) = request.param, CHOSEN[request.param]
    module = experiments.load_experiment(name)
    arms = resolve.resolve(module, "smoke", TINY | smaller, pattern)
    place = tmp_path_factory.mktemp(name)
    write_json(place / "environment.json", environment())
    ledger = Ledger(RunFolder.to_read(place))
    progress = Progress(Console(file=io.StringIO()), {arm: spec.seeds for arm, spec in arms.items()})
    own = {"probes": module.probes} if hasattr(module, "probes") else {}
    assert run_arms(arms, ledger, progress, lambda: False, **own)
    return module, gather(module, name, "smoke", arms, ledger)


def only(results, pattern, seeds=2):
    """The results of a run with this --arms and so many seeds."""
    arms = [arm for arm in results["settings"] if fnmatch.fnmatchcase(arm, pattern)]
    tasks = {arm.rpartition("/")[0] for arm in arms}
    of_arms = {key: {arm: results[key][arm] for arm in arms} for key in ("settings", "chance", "fits")}
    of_tasks = {key: {t: v for t, v in results[key].items() if t in tasks} for key in ("needed_lag", "rule")}
    trials = [trial for trial in results["trials"] if trial["arm"] in arms and trial["seed"] < seeds]
    return results | of_arms | of_tasks | {"trials": trials}


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


def check(module, results, what):
    """A sentence, tables with rows, figures with captions and data in every panel; the verdict."""
    verdict = module.report(results)
    assert verdict.sentence.strip().endswith("."), what
    assert all(table.rows for table in verdict.tables), what
    drawn = {name: figure for name, figure in verdict.figures.items() if figure is not None}
    assert drawn and all(figure.get_label() for figure in drawn.values()), what
    assert {name: panels for name, figure in drawn.items() if (panels := empty(figure))} == {}, what
    return verdict, drawn


def test_a_report_is_whole(ran, tmp_path):
    """Its page shows the verdict and every figure."""
    module, results = ran
    verdict, drawn = check(module, results, "all arms")
    assert set(report.write(results, verdict, tmp_path)) == set(drawn)
    page = (tmp_path / "report.html").read_text()
    assert all(f'<figure id="{name}">' in page for name in drawn)
    assert verdict.sentence in html.unescape(page)
    assert len({trial["arm"] for trial in results["trials"]}) == len(results["settings"])


def test_an_arm_alone_with_one_seed_has_a_report(ran):
    """--arms and seeds=1, of each kind of arm, judged as a longer tier is."""
    module, results = ran
    first, *_, last = results["settings"]
    for arm in (first, last):
        check(module, only(results, arm, seeds=1) | {"tier": "quick"}, arm)


def test_what_never_trained_or_diverged_is_not_drawn_as_trained(ran):
    module, results = ran
    diverged = [trial | {"status": "diverged", "reason": "loss is nan"} for trial in results["trials"]]
    nothing = {"steps": 0, "eval": {}, "map": None, "curve": {"step": [], "eval/loss": []}}
    untrained = [trial | nothing | {"probes": trial["probes"][:1]} for trial in results["trials"]]
    _, drawn = check(module, results | {"trials": diverged}, "diverged")
    assert not any("trained" in name for name in drawn)
    if results["experiment"] != "exploding_gradient":  # its arms say which are trained
        _, drawn = check(module, results | {"trials": untrained}, "untrained")
        assert not any("trained" in name or name in ("learning", "map") for name in drawn)


def test_an_experiments_own_numbers_obey_their_law(ran):
    """Shares of a gradient's paths sum to 1, exponents come in order, a cell path is the product of forget gates, a
    larger radius slows the decay, chrono gates too.
    """
    module, results = ran
    probed = [found for trial in results["trials"] for found in trial["probes"]]
    match results["experiment"]:
        case "forget_bias":
            for found in probed:
                shares = [share for name, share in found["paths"].items() if name != "lag"]
                np.testing.assert_allclose(np.sum(shares, axis=0), 1, atol=1e-5)
        case "lyapunov":
            tops = [found["lyapunov"]["exponents"] for found in probed]
            assert {len(top) for top in tops} == {module.K} and (np.diff(np.mean(tops, axis=0)) < 0).all()
        case "vanishing_gradient":
            verdict = module.report(results)
            [row] = [row for row in verdict.tables[0].rows if row[0].startswith("LSTM bias 5")]
            assert row[-1] == "met"
            verdict = module.report(only(results, "*LSTM*"))
            assert [name for name, figure in verdict.figures.items() if figure] == ["flow"]
        case "exploding_gradient":
            flows = [trial for trial in results["trials"] if not trial["steps"]]
            rates = {trial["arm"]: trial["reach"]["init"]["h"]["decay_rate"] for trial in flows}
            assert rates["Flow 30/g = 1.1"] < rates["Flow 30/g = 1.5"]
        case "long_memory":
            [plain, *_, chrono] = results["trials"]
            fall = [trial["reach"]["init"]["c cell path"]["decay_rate"] for trial in (plain, chrono)]
            assert fall[0] < fall[1] < 0 and plain["arm"].endswith("LSTM")
            both = [t | {"arm": t["arm"].replace("30", length)} for length in ("30", "50") for t in results["trials"]]
            verdict = module.report(results | {"trials": both, "chance": {t["arm"]: 1 / 6 for t in both}})
            assert verdict.sentence.startswith("At initialisation, on Adding 50, the gradient norm: ")

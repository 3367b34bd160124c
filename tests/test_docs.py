"""What README and docs/ show runs as it stands."""

import json
import os
import re
import shlex
import subprocess
import sys
from importlib.metadata import metadata
from pathlib import Path

import pytest
from made_recordings import write_folder
from program import environment

from rnnlab import run as command
from rnnlab.runs.job import make_job
from rnnlab.settings.resolve import parse_overrides

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
CHECKS = {  # what an example must do besides running
    "class SubLSTM": (
        "from flax import nnx\nimport rnnlab\n"
        "model = rnnlab.SequenceModel(SubLSTM(features=4), 2, 1, rngs=nnx.Rngs(0))\n"
        "flow = rnnlab.gradient_flow(model, jnp.ones((9, 2, 2)), lambda outputs: outputs[-1, :, 0])\n"
        "assert 'layer0/c cell path' in flow\n"
    ),
    "class Leaky": (
        "import rnnlab\nrnnlab.check(FlaxCell(module='Leaky', features=4))\n"
        "flow = rnnlab.gradient_flow(model, jnp.ones((9, 2, 2)), lambda outputs: outputs[-1, :, 0])\n"
        "assert list(flow) == ['layer0/h']\n"
    ),
    "class FirstBit": (
        "task = FirstBit(length=9)\nbatch = task.sample(jax.random.key(0), 4)\n"
        "assert task.metrics(batch.targets.astype(float), batch)['accuracy'] == 1\n"
        "assert task.metrics(0 * batch.targets, batch)['loss'] == task.chance\n"
    ),
    "remember longer": "assert sorted({name.split('/')[1] for name in arms('smoke')}) == ['LSTM', 'ReLU']\n",
    "paths[": "shares = paths['layer0/c'].shares()\nassert abs(sum(shares.values()) - 1).max() < 1e-4\n",
}


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """One folder for all pages: what one has run, the next opens."""
    return tmp_path_factory.mktemp("docs")


def run_code(programs, place, cache):
    """Runs programs, by name, in one process of their own, so that their cells are no part of the other tests."""
    for name, code in programs.items():
        (place / name).write_text(code)
    code = f"import runpy\nfor name in {list(programs)}: runpy.run_path(name, run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=place, env=environment(cache), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.stem)
def test_the_examples_of_a_page_run(page, place, cache):
    """The error of one that fails names its number on the page."""
    programs = {}
    for number, code in enumerate(blocks(page, "python"), start=1):
        if "def report" not in code:
            checks = "".join(check for part, check in CHECKS.items() if part in code)
            programs[f"{page.stem}_{number}.py"] = f"{code}\n{checks}"
    run_code(programs, place, cache)


def test_the_notebook_runs(place, cache):
    """Cell after cell, as its kernel would, without one."""
    cells = json.loads((ROOT / "docs" / "long_memory.ipynb").read_text())["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    run_code({"notebook.py": code}, place, cache)


def test_the_experiment_that_the_docs_show_runs_to_its_report(tmp_path, cache):
    [code] = [code for code in blocks(ROOT / "docs" / "your_own.md", "python") if "def report" in code]
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "mine.py").write_text(code)
    words = ["run", "--exp=mine", "--tier=smoke", "seeds=1"]
    done = subprocess.run(
        [sys.executable, "-m", "rnnlab", *words], cwd=tmp_path, env=environment(cache), capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "") and (tmp_path / "runs/mine-smoke/report.html").exists()


def commands():
    """The words behind `run` of every command that the pages show."""
    found = []
    for page in PAGES:
        for line in "\n".join(blocks(page, "")).splitlines():
            match = re.search(r"(?:scripts/run|rnnlab run|python -m rnnlab\.run) (--[^`]*)", line)
            if match and "NAME" not in match[1] and "..." not in match[1]:
                found.append(shlex.split(match[1], comments=True))
    return found


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_the_command_is_understood(words, tmp_path, monkeypatch):
    """Its flags exist, and its settings, arms and sweep are those of an experiment."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "book.txt").write_text("A text of one's own. " * 2000)
    verses = [f"verse {n % 7} {n % 11} {n % 13} {n}\tverso {n % 7} {n % 11} {n % 13}" for n in range(1000)]
    (tmp_path / "verses.tsv").write_text("\n".join(verses))
    if "task.folder=recordings" in words:
        write_folder(tmp_path / "recordings", ["abc"[: 1 + n % 3] for n in range(80)])
    flags = {word.partition("=")[0][2:]: word.partition("=")[2] for word in words if word.startswith("--")}
    assert set(flags) <= {*command.OURS, "help"}
    if "exp" in flags:
        overrides = parse_overrides(word for word in words if not word.startswith("--"))
        job = make_job(flags["exp"], flags.get("tier", "quick"), overrides, flags.get("arms"), flags.get("sweep"))
        assert job.arms


def test_every_link_leads_to_a_file():
    for page in [*PAGES, ROOT / "CONTRIBUTING.md", *(ROOT / "experiments").glob("*.md")]:
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert link.startswith("http") or os.path.exists(page.parent / link), f"{page}: {link}"


def test_what_readme_installs_for_accelerators_is_an_extra_of_jax():
    """pip only warns of an extra that does not exist, and JAX then runs on the CPU."""
    start = (ROOT / "README.md").read_text().split("## Start")[1].split("\n## ")[0]
    named = set(re.findall(r"jax\[(\w+)\]", start))
    assert {"cuda13", "tpu"} <= named <= set(metadata("jax").get_all("Provides-Extra"))

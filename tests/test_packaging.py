"""What is declared is what is installed, locked and shipped."""

import configparser
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import rnnlab

ROOT = Path(__file__).parent.parent
REFUSED = ("0.10.2", "0.11.0", "0.11.1")


@pytest.fixture(scope="module")
def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def requirements(text: str) -> list[Requirement]:
    return [Requirement(line) for line in text.splitlines() if line.strip() and not line.startswith("#")]


@pytest.fixture(scope="module")
def locked() -> list[Requirement]:
    return requirements((ROOT / "requirements.lock").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["jax", "jaxlib"])
def test_releases_that_compute_wrongly_or_slowly_are_refused(setup_cfg, name):
    declared = {r.name: r.specifier for r in requirements(setup_cfg["options"]["install_requires"])}
    assert not [version for version in REFUSED if version in declared[name]]
    assert metadata.version(name) in declared[name]


def test_lock_holds_no_address():
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert text.startswith("# uv pip compile "), "the first line says how to make the file again"
    assert "://" not in text
    assert "-url" not in text.partition("\n")[2]


def test_lock_pins_everything_exactly(locked):
    loose = [str(r) for r in locked if [s.operator for s in r.specifier] != ["=="] or r.url]
    assert not loose


@pytest.mark.parametrize("python", ["3.11.7", "3.12.1", "3.13.0"])
def test_lock_answers_every_requirement_on_every_python(setup_cfg, locked, python):
    environment = {"python_version": python.rpartition(".")[0], "python_full_version": python}
    pins = {
        canonicalize_name(r.name): next(iter(r.specifier)).version
        for r in locked
        if r.marker is None or r.marker.evaluate(environment)
    }
    declared = setup_cfg["options"]["install_requires"] + setup_cfg["options.extras_require"]["test"]
    for requirement in requirements(declared):
        assert pins.get(canonicalize_name(requirement.name), "missing") in requirement.specifier, requirement


def test_annotations_are_checked_by_the_tests():
    """jaxtyping can only instrument what it finds on the path, which an editable install alone does not grant."""
    assert "jaxtyping" in type(rnnlab.__spec__.loader).__module__


def test_every_package_folder_is_declared(setup_cfg):
    declared = set(setup_cfg["options"]["packages"].split())
    found = {".".join(p.parent.relative_to(ROOT).parts) for p in (ROOT / "rnnlab").rglob("__init__.py")}
    assert declared == found | {"rnnlab.experiments"}


@pytest.fixture(scope="module")
def wheel_files(tmp_path_factory) -> list[str]:
    """The names in a wheel built from a copy of the tree: a build in place would leave its folders behind."""
    tree, out = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("wheel")
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, tree)
    for name in ("rnnlab", "experiments"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = subprocess.run(
        [*pip, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", out, tree],
        capture_output=True,
        text=True,
    )
    assert build.returncode == 0, build.stdout + build.stderr
    (wheel,) = out.glob("*.whl")
    return zipfile.ZipFile(wheel).namelist()


@pytest.mark.slow
def test_experiments_travel_inside_the_package(wheel_files):
    notes = {p.name for p in (ROOT / "experiments").iterdir() if p.suffix in (".py", ".md")}
    prefix = "rnnlab/experiments/"
    assert {f.removeprefix(prefix) for f in wheel_files if f.startswith(prefix)} == notes


def test_wheel_holds_one_top_level_package(wheel_files):
    assert {f.partition("/")[0] for f in wheel_files if ".dist-info/" not in f} == {"rnnlab"}


def test_wheel_holds_the_whole_package(wheel_files):
    files = {p.relative_to(ROOT).as_posix() for p in (ROOT / "rnnlab").rglob("*") if p.is_file()}
    assert {f for f in files if "__pycache__" not in f} <= set(wheel_files)

"""The lab notes: where experiments are found, and what makes a file one."""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from rnnlab.settings import SettingError, nearest


def experiment_folders() -> list[Path]:
    """Where experiments are looked for: the user's own ./experiments, an installed package's, a checkout's."""
    package = Path(__file__).parent
    return [Path.cwd() / "experiments", package / "experiments", package.parent / "experiments"]


def experiment_files() -> dict[str, Path]:
    """Every experiment by name; a user's own comes before a shipped one of the same name."""
    found: dict[str, Path] = {}
    for folder in experiment_folders():
        for path in sorted(folder.glob("[!_]*.py")):
            found.setdefault(path.stem, path)
    return found


def load_experiment(name: str) -> ModuleType:
    """The experiment's module. Raises SettingError for a name that is no file, or a file that is no experiment."""
    files = experiment_files()
    if name not in files:
        raise SettingError(f"--exp={name}: no such experiment{nearest(name, files)}")
    spec = importlib.util.spec_from_file_location(f"rnnlab_experiment_{name}", files[name])
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where a class defined in it looks for its module
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise SettingError(f"{files[name]}, line {error.lineno}: {error.msg}") from error
    except ImportError as error:
        raise SettingError(f"{files[name]}: {error}") from error
    missing = [part for part in ("config", "arms", "report") if not hasattr(module, part)]
    if missing or not module.__doc__:
        raise SettingError(f"{files[name]}: an experiment has a docstring, config, arms and report; {missing} missing")
    return module


def question(path: Path) -> str:
    """The first line of an experiment's docstring, read without running it."""
    try:
        doc = ast.get_docstring(ast.parse(path.read_text()))
    except SyntaxError as error:
        return f"(cannot be read: line {error.lineno}: {error.msg})"
    return (doc or "").strip().split("\n")[0]

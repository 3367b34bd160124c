"""Experiments: where they are found, what makes a file one, and where in it an error stands."""

from __future__ import annotations

import ast
import functools
import importlib.util
import inspect
import sys
import sysconfig
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from rnnlab.settings.errors import SettingError, nearest
from rnnlab.specs.discover import EXPERIMENT
from rnnlab.specs.errors import UserError

MODULE = EXPERIMENT
PARTS = {"config": "tier", "arms": "tier", "report": "results"}  # functions, and what each is given


def experiment_folders() -> list[Path]:
    """Where experiments are looked for: the user's own ./experiments, an installed package's, a checkout's."""
    package = Path(__file__).parents[1]
    return [Path.cwd() / "experiments", package / "experiments", package.parent / "experiments"]


def is_shipped(module: ModuleType) -> bool:
    """Whether an experiment stands where those do that come with rnnlab: in a checkout one's own may do so too."""
    return Path(module.__file__ or "").resolve().parent in [folder.resolve() for folder in experiment_folders()[1:]]


def experiment_files() -> dict[str, Path]:
    """Every experiment by name; a user's own comes before a shipped one of the same name."""
    found: dict[str, Path] = {}
    for folder in experiment_folders():
        for path in sorted(folder.glob("[!_]*.py")):
            found.setdefault(path.stem, path)
    return found


def load_experiment(name: str) -> ModuleType:
    """The experiment's module, executed anew where its file has changed.

    Raises SettingError for a name that is no file, or a file that is no experiment.
    """
    files = experiment_files()
    if name not in files:
        raise SettingError(f"--exp={name}: {_hint(name, files)}")
    version = (files[name], files[name].stat().st_mtime_ns, files[name].stat().st_size)
    before = sys.modules.get(MODULE + name)
    if getattr(before, "_version", None) == version:
        return before
    for value in vars(before).values() if before else ():
        if isinstance(value, type) and value.__module__ == MODULE + name:
            value.__name__ += " before the file was changed"  # a class is found by its name among all that live
    spec = importlib.util.spec_from_file_location(MODULE + name, files[name])
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where a class defined in it looks for its module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise SettingError(own_error(error) or f"{files[name]}: {error}") from error
    lacking = [f"{part}({given})" for part, given in PARTS.items() if not _takes_one(getattr(module, part, None))]
    lacking += ["docstring"] * (not module.__doc__)
    if lacking:
        told = "an experiment has a docstring, config(tier), arms(tier) and report(results)"
        raise SettingError(f"{files[name]}: {told}; here is no {', no '.join(lacking)}")
    for part in ("config", "arms"):
        setattr(module, part, _giving_dicts(part, getattr(module, part), files[name]))
    module._version = version
    return module


def _hint(name: str, files: Mapping[str, Path]) -> str:
    """What to write in place of a name that is no experiment's: a path, or a wrong one."""
    path, short = Path(name), Path(name).name.removesuffix(".py")
    if path.suffix == ".py" and path.is_file() and short not in files and not short.startswith("_"):
        return f"experiments are found by name in ./experiments: move it there and write --exp={short}"
    if short in files:
        return f"an experiment goes by its name; write --exp={short}"
    return f"no such experiment{nearest(short, files)}"


def _takes_one(function: Any) -> bool:
    try:
        inspect.signature(function).bind(None)
    except (TypeError, ValueError):
        return False
    return True


def _giving_dicts(part: str, function: Callable[..., Any], file: Path) -> Callable[..., Any]:
    """A function of an experiment, of which a forgotten `return` is an error that names it."""

    @functools.wraps(function)
    def checked(*args, **kwargs):
        found = function(*args, **kwargs)
        arms = found.values() if part == "arms" and isinstance(found, Mapping) else ()
        for value in (found, *arms):
            if not isinstance(value, Mapping):
                raise SettingError(f"{file}: {part} gave {type(value).__name__}, where a dict of settings is needed")
        return found

    return checked


def is_own(file: Path) -> bool:
    """Whether a file of code is the user's: no package's and not the interpreter's."""
    installed = {"site-packages", "dist-packages"} & set(file.parts)
    return file.suffix == ".py" and not installed and not _others() & set(file.parents)


@functools.cache
def _others() -> frozenset[Path]:
    """The folders of the interpreter's own code and of rnnlab's."""
    return frozenset([Path(__file__).parents[1], *(Path(sysconfig.get_path(n)) for n in ("stdlib", "platstdlib"))])


def own_error(error: Exception, *, checked: bool = False) -> str | None:
    """An error in an experiment's own code as one line, with its file and line; None for one that arose elsewhere.

    What arose in rnnlab, called from there, is given a note that says from where; of code that is `checked` it is an
    error of that code, since it alone is new.
    """
    if isinstance(error, UserError):
        return str(error)
    files = {module.__file__ for name, module in list(sys.modules.items()) if name.startswith(MODULE)}
    if checked:
        files |= {code.co_filename for code in _codes(error) if is_own(Path(code.co_filename))}
    said = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}".removesuffix(": ")
    if isinstance(error, SyntaxError) and error.filename in files:
        return f"{error.filename}, line {error.lineno}: {error.msg}"
    calls = [(frame.f_code, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    calls = [call for call in calls if call[0].co_filename != __file__]
    own = [place for place, (code, _) in enumerate(calls) if code.co_filename in files]
    if not own:
        return None
    *callers, (code, line) = [calls[place] for place in own]
    where = f"{code.co_filename}, line {line}" + f", in {code.co_qualname}" * (code.co_name != "<module>")
    where += "".join(f", called in line {at}" for _, at in callers[-1:])
    deeper = calls[own[-1] + 1 :]
    if not checked and any(Path(__file__).parents[1] in Path(inner.co_filename).parents for inner, _ in deeper):
        if (note := f"called in {where}") not in getattr(error, "__notes__", ()):
            error.add_note(note)  # a traceback is kept: the fault may be rnnlab's
        return None
    return f"{where}: {said}" + "".join(f" (raised in {inner.co_filename}, line {at})" for inner, at in deeper[-1:])


def _codes(error: Exception) -> list[CodeType]:
    return [frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__)]


def question(path: Path) -> str:
    """The first line of an experiment's docstring, read without running it."""
    try:
        doc = ast.get_docstring(ast.parse(path.read_text()))
    except SyntaxError as error:
        return f"(cannot be read: line {error.lineno}: {error.msg})"
    return (doc or "").strip().split("\n")[0]

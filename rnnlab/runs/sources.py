"""What a trial's numbers depend on: a digest of each file of code and data, JAX's settings; of an experiment only what
is measured by it.

Comments, docstrings and what an experiment's `report`, `config` and `arms` alone need do not count: to change them
changes no number, or the settings, which a run knows by themselves.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import itertools
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType

from rnnlab.cells.flax_cell import cell_class
from rnnlab.runs.numerics import numerics
from rnnlab.settings.experiments import MODULE, is_own
from rnnlab.settings.resolve import ArmSpec

PACKAGE = Path(__file__).parents[1]
# What every trial runs through; its cell's and task's own files come to these, and the probes that an experiment
# imports. A file that is added changes nothing.
COMMON = (
    "model/*.py", "scan/*.py", "scan/*.cc", "scan/*.h", "probes/gradients/*.py", "probes/training/omega.py",
    "probes/training/flossing.py",
    "cells/base.py", "cells/weights.py", "tasks/base.py", "training/guessing.py", "training/layout.py",
    "training/loop.py", "training/norms.py", "training/online.py", "training/optimisers.py", "training/spec.py",
    "training/state.py", "training/truncated.py", "training/updates.py", "runs/measure.py", "runs/program_group.py",
    "runs/recorder.py", "runs/trial_result.py",
)  # fmt: skip
FOLLOWED = ("rnnlab.cells.", "rnnlab.data.", "rnnlab.probes.", "rnnlab.tasks.")  # what is imported of these is read too
PYTHON = "python"  # its digests are compared within one version, whose syntax trees are alike


def sources(spec: ArmSpec, module: ModuleType) -> dict[str, str]:
    """Of an arm of an experiment: digests of rnnlab's files, of its cell's and task's, of the experiment's, and of its
    task's data; JAX's settings as they are."""
    return sources_of({"": spec}, module)[""]


def sources_of(arms: Mapping[str, ArmSpec], module: ModuleType) -> dict[str, dict[str, str]]:
    """`sources` of every arm; most arms of a sweep share their code, which is read once."""
    code = functools.cache(functools.partial(_code, module))
    found = {}
    for arm, spec in arms.items():
        kinds = tuple(dict.fromkeys((type(spec.cell), cell_class(spec.cell), type(spec.task))))
        found[arm] = code(kinds) | data_digests(spec.task.files) | numerics()
    return found


def _code(module: ModuleType, kinds: tuple[type, ...]) -> dict[str, str]:
    """Digests of the files that trials of these classes run by."""
    files = [file for pattern in COMMON for file in sorted(PACKAGE.glob(pattern))]
    roots = {module.__name__: {"probes"}}
    for value in (*itertools.chain(*(kind.__mro__ for kind in kinds)), getattr(module, "probes", None)):
        kind = value if hasattr(value, "__qualname__") else type(value)
        home = sys.modules.get(getattr(kind, "__module__", ""))
        file = Path(getattr(home, "__file__", None) or "/")
        if home is not None and home.__name__.startswith(MODULE):
            roots.setdefault(home.__name__, set()).add(kind.__qualname__.partition(".")[0])
        elif PACKAGE in file.parents or is_own(file):
            files.append(file)
    parts: dict[str, list[str]] = {}
    for name, names in roots.items():
        text, imported = _needed(sys.modules[name], names)
        parts.setdefault(_key(Path(sys.modules[name].__file__)), []).append(_hash(text))
        files += imported
    seen: set[Path] = set()
    while files:
        file = files.pop()
        if file not in seen:
            seen.add(file)
            own, imported = _of_file(file)
            parts.setdefault(_key(file), []).append(own)
            files += imported
    found = {name: own[0] if len(own) == 1 else _hash(" ".join(sorted(own))) for name, own in sorted(parts.items())}
    return {PYTHON: "{}.{}".format(*sys.version_info)} | found


def data_digests(files: Iterable[str | Path]) -> dict[str, str]:
    """Of a task's data: digests of its files as they are now, by path."""
    return {str(path): _of_data(path, path.stat().st_mtime_ns) if path.is_file() else "missing"
            for path in map(Path, files)}  # fmt: skip


@functools.cache
def _of_data(path: Path, written: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]


def digest(found: Mapping[str, str]) -> str:
    """One of all of them."""
    return _hash(json.dumps(found, sort_keys=True))


def changed(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The files of both that differ; none between versions of Python, which the environment tells."""
    if before.get(PYTHON) != now.get(PYTHON):
        return []
    return [name for name in before if name in now and before[name] != now[name]]


def _key(file: Path) -> str:
    """The same wherever a folder lies."""
    return str(file.relative_to(PACKAGE.parent)) if PACKAGE in file.parents else "/".join(file.parts[-2:])


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@functools.cache  # as first read: a module that has been imported is not imported again where its file changes
def _of_file(file: Path) -> tuple[str, tuple[Path, ...]]:
    """A file's digest, and the user's own files and rnnlab's cells, data, probes and tasks that it imports."""
    text = file.read_text(encoding="utf-8")
    if file.suffix != ".py":
        return _hash(text), ()
    tree = _bare(text)
    home = _by_file(tuple(map(id, list(sys.modules.values())))).get(str(file))
    return _hash(ast.dump(tree)), tuple(_imports(tree, getattr(home, "__package__", None)))


@functools.lru_cache(1)
def _by_file(imported: tuple[int, ...]) -> dict[str, ModuleType]:
    """The modules that are `imported`, the first of each file."""
    del imported
    found: dict[str, ModuleType] = {}
    for module in list(sys.modules.values()):
        found.setdefault(getattr(module, "__file__", None) or "", module)
    return found


def _bare(text: str) -> ast.Module:
    """The syntax tree without docstrings."""
    tree = ast.parse(text)
    for node in _statements(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return tree


def _statements(tree: ast.AST) -> Iterator[ast.AST]:
    """A tree and the statements in it, at any depth: a thirteenth of what `ast.walk` goes through."""
    left = [tree]
    while left:
        yield (node := left.pop())
        for inner in ("body", "orelse", "finalbody", "handlers", "cases"):
            left += getattr(node, inner, ())


def _imports(tree: ast.AST, package: str | None) -> list[Path]:
    found = []
    for node in _statements(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            base = (
                importlib.util.resolve_name("." * node.level + (node.module or ""), package)
                if node.level
                else node.module
            )
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        for name in names:
            file = getattr(sys.modules.get(name), "__file__", None)
            if file and (name.startswith(FOLLOWED) or is_own(Path(file))):
                found.append(Path(file))
    return found


def _needed(module: ModuleType, roots: Iterable[str]) -> tuple[str, list[Path]]:
    """What these names of an experiment need of it, as text, and the files that it imports for them.

    Functions, classes and constants count where they are needed; every other statement does.
    """
    by_name: dict[str, list[ast.stmt]] = {}
    left = list(roots)
    needed: list[ast.stmt] = []
    tree = _bare(Path(module.__file__).read_text(encoding="utf-8"))
    for statement in tree.body:
        names = _defined(statement)
        for name in names:
            by_name.setdefault(name, []).append(statement)
        if not names:
            needed.append(statement)
    left += [node.id for statement in needed for node in ast.walk(statement) if isinstance(node, ast.Name)]
    while left:
        for statement in by_name.pop(left.pop(), []):
            needed.append(statement)
            left += [node.id for node in ast.walk(statement) if isinstance(node, ast.Name)]
    imported = [file for statement in needed for file in _imports(statement, module.__package__)]
    for value in vars(module).values():  # another experiment, whose cells or probes it may use
        if isinstance(value, ModuleType) and value.__name__.startswith(MODULE) and value is not module:
            imported.append(Path(value.__file__))
    ordered = sorted({id(s): s for s in needed}.values(), key=lambda statement: statement.lineno)
    return "\n".join(map(ast.dump, ordered)), imported


def _defined(statement: ast.stmt) -> list[str]:
    """The names that a function, a class, an import or a plain assignment defines; none of any other statement."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return [(alias.asname or alias.name).partition(".")[0] for alias in statement.names]
    targets = getattr(statement, "targets", [getattr(statement, "target", None)])
    if isinstance(statement, ast.Assign | ast.AnnAssign) and all(isinstance(t, ast.Name | ast.Tuple) for t in targets):
        return [node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]
    return []

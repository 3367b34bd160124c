"""The code that a trial's numbers depend on: a digest of each file, of an experiment's own only what is measured by it.

Comments, docstrings and an experiment's `report` do not count: to change them changes no number.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import io
import json
import sys
import tokenize
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType

from rnnlab.settings.resolve import ArmSpec

PACKAGE = Path(__file__).parents[1]
# What every trial runs through; its cell's and task's own files come to these. A file that is added changes nothing.
COMMON = ("scan", "probes", "training", "model.py", "cells/base.py", "cells/weights.py", "tasks/base.py",
          "runs/measure.py", "runs/trial_result.py")  # fmt: skip

Sources = Mapping[str, str]  # digests by file


def sources(spec: ArmSpec, module: ModuleType) -> dict[str, str]:
    """Of an arm of an experiment: digests of rnnlab's files, of its cell's and task's, and of the experiment's."""
    files = [file for name in COMMON for file in sorted(_python(PACKAGE / name))]
    classes = [*type(spec.cell).__mro__, *type(spec.task).__mro__, type(spec.cell).build]
    own: dict[str, set[str]] = {module.__name__: {"probes"}}
    for value in [*classes, getattr(module, "probes", None)]:
        home = sys.modules.get(getattr(value, "__module__", ""))
        file = Path(getattr(home, "__file__", None) or "/")
        if PACKAGE in file.parents:
            files.append(file)
        elif home is not None and _is_own(file):
            own.setdefault(home.__name__, set()).add(value.__qualname__.partition(".")[0])
    found = {str(file.relative_to(PACKAGE.parent)): _of_file(file) for file in files}
    for name, names in own.items():
        found |= _of_names(sys.modules[name], names)
    return found


def digest(found: Sources) -> str:
    """One of all of them."""
    return _hash(json.dumps(found, sort_keys=True))


def changed(before: Sources, now: Sources) -> list[str]:
    """The files of both that differ."""
    return [name for name in before if name in now and before[name] != now[name]]


def _python(path: Path) -> Iterable[Path]:
    return [path] if path.suffix == ".py" else path.rglob("*.py")


def _is_own(file: Path) -> bool:
    """Whether a file is the user's: no package's and not the interpreter's."""
    return file.suffix == ".py" and "site-packages" not in file.parts and Path(sys.base_prefix) not in file.parents


def _key(file: Path) -> str:
    """The same wherever the folder lies."""
    return f"{file.parent.name}/{file.name}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@functools.cache  # a process runs the code that it imported
def _of_file(file: Path) -> str:
    return _hash("\n".join(filter(None, _meant(file.read_text()))))


def _meant(text: str) -> list[str]:
    """The lines, empty where there is nothing but comments and docstrings."""
    lines = text.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            lines[token.start[0] - 1] = lines[token.start[0] - 1][: token.start[1]]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node, clean=False):
            doc = node.body[0]
            lines[doc.lineno - 1 : doc.end_lineno] = [""] * (doc.end_lineno - doc.lineno + 1)
    return [line.rstrip() for line in lines]


def _of_names(module: ModuleType, roots: Iterable[str]) -> dict[str, str]:
    """Of what these names of a module need of it, and of the user's own modules that it imports for them."""
    file = Path(module.__file__)
    text = file.read_text()
    lines, tree = _meant(text), ast.parse(text)
    by_name: dict[str, list[ast.stmt]] = {}
    for statement in tree.body:
        for name in _defined(statement):
            by_name.setdefault(name, []).append(statement)
    needed, left = {}, [name for name in roots if name in by_name]
    while left:
        for statement in by_name.pop(left.pop(), []):
            needed[statement.lineno] = statement
            left += [node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and node.id in by_name]
    parts, found = [], {}
    for _, statement in sorted(needed.items()):
        first = min([statement.lineno, *(d.lineno for d in getattr(statement, "decorator_list", ()))])
        parts += filter(None, lines[first - 1 : statement.end_lineno])
        for name in _imported(statement):
            other = getattr(sys.modules.get(name), "__file__", None)
            if other and _is_own(Path(other)) and PACKAGE not in Path(other).parents:
                found[_key(Path(other))] = _of_file(Path(other))
    return found | {_key(file): _hash("\n".join(parts))}


def _defined(statement: ast.stmt) -> list[str]:
    """The names that a statement of a module defines."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return [(alias.asname or alias.name).partition(".")[0] for alias in statement.names]
    return [node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]


def _imported(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.ImportFrom):
        return [statement.module or "", *(f"{statement.module}.{alias.name}" for alias in statement.names)]
    return [alias.name for alias in statement.names] if isinstance(statement, ast.Import) else []

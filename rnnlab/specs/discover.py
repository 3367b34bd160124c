"""Discovery by file name: import every module of a package."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

EXPERIMENT = "rnnlab_experiment_"  # before an experiment's name: the module that its file becomes


def export_all(package: str, namespace: dict[str, Any], bases: tuple[type, ...]) -> list[str]:
    """Imports every module of `package` and puts the subclasses of `bases` that they define into `namespace`."""
    names = []
    for info in pkgutil.iter_modules(namespace["__path__"]):
        module = importlib.import_module(f"{package}.{info.name}")
        for name, value in vars(module).items():
            if isinstance(value, type) and issubclass(value, bases) and value.__module__ == module.__name__:
                namespace[name] = value
                names.append(name)
    return names


def subclasses(base: type) -> dict[str, type]:
    """Every subclass of `base` imported so far, by name: what a user may write for it."""
    found = {}
    for child in base.__subclasses__():
        found[child.__name__] = child
        found.update(subclasses(child))
    return found

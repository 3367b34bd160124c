"""A command's module that is also a function: `python -m rnnlab.run` on a command line, `rnnlab.run(...)` in Python."""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Callable
from typing import Any


def callable_as(name: str, function: Callable[..., Any]) -> None:
    """Makes the module of this name call `function`, with its signature and docstring for help and editors."""
    module = sys.modules[name]
    module.__class__ = type("CallableModule", (types.ModuleType,), {"__call__": staticmethod(function)})
    module.__signature__ = inspect.signature(function)
    module.__doc__ = f"{module.__doc__}\n\n{inspect.getdoc(function)}"

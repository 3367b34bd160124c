"""Drawing that no matplotlibrc of a user changes, and whose failure is a line and not the end of a run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import matplotlib

from rnnlab.settings.experiments import own_error

Made = TypeVar("Made")


@contextlib.contextmanager
def style(settings: Mapping[str, Any]) -> Iterator[None]:
    """A context, or a decorator, within which figures start from matplotlib's own defaults and these settings."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(settings)
        yield


def drawn_or_said(what: str, draw: Callable[[], Made], warn: Callable[[str], None]) -> Made | None:
    """What `draw` gives; where it fails `warn` is told why in one line, since no result waits for a picture."""
    try:
        return draw()
    except Exception as error:
        why = own_error(error) or " ".join(f"{type(error).__name__}: {error}".split())[:300]
        warn(f"{what} could not be drawn: {why}")
        return None

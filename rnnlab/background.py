"""Waiting for what computes without being deaf to a request to stop."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

POLL = 0.1  # seconds between two looks at whether to stop


class Interrupted(Exception):
    """The work was stopped on request."""


def start(function: Callable[..., Any], *args: Any) -> Future:
    """`function(*args)` in a thread of its own."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(function, *args)
    pool.shutdown(wait=False)
    return future


def wait(future: Future, stopping: Callable[[], bool]) -> Any:
    """The future's result. Raises Interrupted as soon as `stopping()`, and leaves the work to itself then."""
    while not stopping():
        if concurrent.futures.wait([future], POLL).done:
            return future.result()
    raise Interrupted

"""Work in a background thread, waited for in such a way that a request to stop is heard."""

from __future__ import annotations

import concurrent.futures
import signal
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax

POLL = 0.1  # seconds between two checks for a request to stop


class Interrupted(Exception):
    """The work was stopped on request."""


def start(function: Callable[..., Any], *args: Any) -> Future:
    """`function(*args)` in a thread of its own, in which float64 is enabled as it is in this one."""
    enabled = jax.config.jax_enable_x64

    def run():
        with jax.enable_x64(enabled):
            return function(*args)

    pool = ThreadPoolExecutor(1)
    future = pool.submit(run)
    pool.shutdown(wait=False)
    return future


def wait(future: Future, stopping: Callable[[], bool]) -> Any:
    """The future's result. Raises Interrupted as soon as `stopping()`, and the work then goes on unobserved."""
    while not stopping():
        if concurrent.futures.wait([future], POLL).done:
            return future.result()
    raise Interrupted


def stop_on_signals() -> list[int]:
    """A list that the first SIGTERM or Ctrl-C is appended to, on which a run saves and stops; a second one ends the
    process at once.

    The handler writes nothing, as it may interrupt a write.
    """
    received: list[int] = []

    def handle(number, frame):
        received.append(number)
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)
    return received

"""Compiled programs hold their task's data as constants: where a file changes within one process, they are old."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rnnlab.runs.measure import flow_probe, guess_program, own_probes
from rnnlab.tasks import Task
from rnnlab.training.updates import compile_windows

_seen: dict[str, tuple[int, int]] = {}  # when a file was last changed, and its size, as programs were made of it


def forget_programs_of_changed_data(tasks: Iterable[Task]) -> None:
    """Drops all programs where a file of these tasks is another than at the last call."""
    files = {str(path): Path(path).stat() for task in tasks for path in task.files if Path(path).is_file()}
    now = {path: (about.st_mtime_ns, about.st_size) for path, about in files.items()}
    if any(_seen.get(path, stamp) != stamp for path, stamp in now.items()):
        for programs in (compile_windows, flow_probe, guess_program, own_probes):
            programs.cache_clear()
    _seen.update(now)

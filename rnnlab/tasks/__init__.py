"""The tasks. A file here is a task: its presence is its registration."""

from rnnlab.specs.discover import export_all
from rnnlab.tasks.base import Batch, Task

__all__ = ["Batch", "Task", *export_all(__name__, globals(), (Task,))]

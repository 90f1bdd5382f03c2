"""Tasks: what workers train. `load_task` finds one by name; `Task` is what your own must be."""

from gradwire_common.metrics import Metric
from gradwire_worker.tasks.classification import Classification
from gradwire_worker.tasks.load import load_task
from gradwire_worker.tasks.task import Batch, Indices, Task

__all__ = ["Batch", "Classification", "Indices", "Metric", "Task", "load_task"]

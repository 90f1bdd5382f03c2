"""Evaluation of a model on a part of a task's test samples, and the metrics that come of it."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from gradwire_common.errors import TaskError, UsageError
from gradwire_common.metrics import MAX_COUNT, Metric, merge
from gradwire_worker.arguments import loss_number, whole_number
from gradwire_worker.tasks import Batch, Indices, Task

BATCH = 256  # samples looked at together


class EvaluationsDue:
    """Which versions a worker evaluates: those that are a multiple of `every`, or passed one, and the last.

    Args:
        every: rounds between evaluations; 0 for none.
        rounds: the version that the run ends at; 0 for a run without end.
        version: the newest one that the worker need not evaluate.
    """

    def __init__(self, every: int, rounds: int, version: int):
        self._every = every
        self._rounds = rounds
        self._looked = version

    def now(self, version: int) -> bool:
        """Whether `version` is to be evaluated: once for each."""
        looked, self._looked = self._looked, version
        if not self._every or version <= looked:
            return False
        return version // self._every > looked // self._every or version == self._rounds


def evaluate(task: Task, model: nn.Module, indices: Indices, device: torch.device) -> dict[str, Metric]:
    """Return the model's metrics on the test samples `indices`, in the task's order; its mode is left as it was.

    Raises:
        TaskError: the task returns something else than numbers by name.
    """
    was_training = model.training
    model.eval()
    parts: defaultdict[str, list[Metric]] = defaultdict(list)
    try:
        with torch.no_grad():
            for start in range(0, len(indices), BATCH):
                batch = indices[start : start + BATCH]
                values = task.evaluate(model, to_device(task.test_batch(batch), device))
                for name, metric in _of_task(task, len(batch), values).items():
                    parts[name].append(metric)
    finally:
        model.train(was_training)
    return {name: merge(parts[name]) for name in parts}


def named_metrics(samples: object, values: Mapping[str, Any]) -> dict[str, Metric]:
    """Return metrics of values that are means over `samples`, or Metrics with a count of their own.

    Raises:
        UsageError: `samples` is no whole number from 1 to 2**53, or a value is neither.
    """
    count = whole_number("samples", samples, 1, MAX_COUNT)
    return {name: _metric(name, value, count) for name, value in values.items()}


def to_device(batch: Batch, device: torch.device) -> Batch:
    """Return the batch on `device`."""
    return tuple(tensor.to(device) for tensor in batch)


def _metric(name: str, value: object, count: int) -> Metric:
    if isinstance(value, Metric):
        own = whole_number(f"count of {name}", value.count, 1, MAX_COUNT)
        return replace(value, sum=loss_number(value.sum, f"sum of {name}"), count=own)
    if is_torchmetrics(value):
        from gradwire_worker.frameworks.torchmetrics import merged_metric

        return merged_metric(name, value, count)
    if value is None:
        raise UsageError(f"{name}: got None, want one number, such as the mean over the samples, or a gradwire.Metric")
    return Metric.of_mean(loss_number(value, name), count)


def is_torchmetrics(value: object) -> bool:
    """Whether `value` is a metric of torchmetrics, which need not be installed."""
    return any(kind.__module__ == "torchmetrics.metric" and kind.__name__ == "Metric" for kind in type(value).__mro__)


def _of_task(task: Task, samples: int, values: object) -> dict[str, Metric]:
    if not isinstance(values, Mapping) or not values or not all(isinstance(name, str) for name in values):
        raise TaskError(f"task {task.name}: evaluate returned {values!r:.200}, want numbers by name, such as a loss")
    try:
        return named_metrics(samples, values)
    except UsageError as error:
        raise TaskError(f"task {task.name}: evaluate returned a value that cannot be: {error}") from None

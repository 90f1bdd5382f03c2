"""Samples counted by a model's own forward passes, for loops that cannot say `step(samples=...)`."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn


class SampleCount:
    """Counts the samples that a module is given while it trains: the length of the first tensor among its inputs.

    Attributes:
        samples: counted since the last step.

    Args:
        module: whose forward passes are counted; None where samples are added by hand.
    """

    def __init__(self, module: nn.Module | None):
        self.samples = 0
        self._before = 1
        self._hook = None if module is None else module.register_forward_pre_hook(self._count, with_kwargs=True)

    def pop(self) -> int:
        """Return how many there were since the last call; as many as before where there were none, at first 1."""
        self._before, self.samples = self.samples or self._before, 0
        return self._before

    def close(self) -> None:
        """Count no more."""
        if self._hook is not None:
            self._hook.remove()

    def _count(self, module: nn.Module, inputs: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        if module.training and torch.is_grad_enabled():
            self.samples += batch_size((*inputs, *named.values()))


def batch_size(batch: Any) -> int:
    """Return the length of the first tensor in a batch of nested lists, tuples and mappings; 0 where there is none."""
    return next((len(each) for each in _tensors(batch) if each.ndim), 0)


def _tensors(batch: Any) -> Iterator[torch.Tensor]:
    if isinstance(batch, torch.Tensor):
        yield batch
    elif isinstance(batch, Mapping):
        for each in batch.values():
            yield from _tensors(each)
    elif isinstance(batch, list | tuple):
        for each in batch:
            yield from _tensors(each)

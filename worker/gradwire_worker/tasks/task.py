"""What a worker trains: a model, its data by index, its loss and its metrics."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from gradwire_common.metrics import Metric

Batch = tuple[torch.Tensor, ...]
Indices = npt.NDArray[np.int64]


@runtime_checkable
class Task(Protocol):
    """What `gradwire worker` trains.

    The runner decides which worker gets which samples in which order; a task only knows samples by their index. All
    methods must be functions of their arguments, so that runs repeat bit for bit.

    Attributes:
        name: one word.
        description: one line for people.
        n_train, n_test: how many samples there are; n_test may be 0.
        labels: (n_train,) class of each training sample, for uneven shards by class; None where there are none.
    """

    name: str
    description: str
    n_train: int
    n_test: int
    labels: Indices | None

    def model(self) -> nn.Module:
        """Build the model, its initial weights drawn from torch's global generator."""

    def train_batch(self, indices: Indices, rng: np.random.Generator) -> Batch:
        """Return training samples on the host, augmented with `rng`."""

    def test_batch(self, indices: Indices) -> Batch:
        """Return test samples on the host."""

    def loss(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """Return the mean loss of a batch that is on the model's device."""

    def evaluate(self, model: nn.Module, batch: Batch) -> Mapping[str, float | Metric]:
        """Return named metrics of a test batch that is on the model's device; the model is in evaluation mode.

        Each is the mean over the batch's samples, or a `Metric` with a sum, a count and a direction of its own: whether
        a lower value is better follows from the name otherwise. The first of them is the one shown first.
        """

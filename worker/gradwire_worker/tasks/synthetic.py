"""A model of any size whose gradients cost next to nothing, for benchmarks."""

from typing import Any

import numpy as np
import torch
from torch import nn

from gradwire_common.errors import TaskError
from gradwire_common.metrics import Metric
from gradwire_common.settings.config import Config
from gradwire_worker.tasks.task import Batch, Indices

TENSOR_ENTRIES = 1_000_000  # of each tensor but the last
SHAPE = 0.7  # beta of the initial weights, and so of the gradients: heavy tails, as gradients have


class Synthetic:
    """A Task: every weight is pulled towards zero, a little differently in each batch.

    The loss is s * sum(w^2) / 2 with s from 0.5 to 1.5 by batch, so the gradient s * w costs one multiplication.
    """

    name = "synthetic"
    n_train = 1 << 20
    n_test = 0
    labels: Indices | None = None

    def __init__(self, parameters: int):
        self.parameters = parameters
        self.description = f"{parameters:,} parameters with pseudo-gradients"

    def model(self) -> nn.Module:
        """Build the tensors."""
        full, rest = divmod(self.parameters, TENSOR_ENTRIES)
        sizes = [TENSOR_ENTRIES] * full + [rest] * (rest > 0)
        return Bowl(sizes)

    def train_batch(self, indices: Indices, rng: np.random.Generator) -> Batch:
        """Return the batch's strength s."""
        return (torch.full((), 0.5 + float(rng.random()) + 0.0 * len(indices)),)

    def test_batch(self, indices: Indices) -> Batch:
        """Return nothing: there is no test part."""
        return (torch.zeros(len(indices)),)

    def loss(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """Return s * sum(w^2) / 2."""
        total: torch.Tensor = model(batch[0])
        return total

    def evaluate(self, model: nn.Module, batch: Batch) -> dict[str, Metric]:  # noqa: ARG002
        """Return nothing: there is no test part."""
        return {}


class Bowl(nn.Module):
    """Tensors of the given sizes, drawn from GenNorm with beta SHAPE and deviation 0.01."""

    def __init__(self, sizes: list[int]):
        super().__init__()
        rng = np.random.default_rng(int(torch.randint(2**31, ())))
        self.tensors = nn.ParameterList(nn.Parameter(torch.from_numpy(_draw(rng, size))) for size in sizes)

    def forward(self, strength: torch.Tensor) -> torch.Tensor:
        """Return strength * sum(w^2) / 2."""
        return torch.stack([_half_square(strength, tensor) for tensor in self.tensors]).sum()


class _HalfSquare(torch.autograd.Function):
    """strength * sum(w^2) / 2, with a gradient that takes one pass and no memory beside itself."""

    @staticmethod
    def forward(ctx: Any, strength: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(strength, tensor)
        return 0.5 * strength * torch.dot(tensor, tensor)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[None, torch.Tensor]:
        strength, tensor = ctx.saved_tensors
        return None, tensor * (gradients[0] * strength)


def _half_square(strength: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
    total: torch.Tensor = _HalfSquare.apply(strength, tensor)  # type: ignore[no-untyped-call]
    return total


def synthetic(config: Config) -> Synthetic:
    """Return the task.

    Raises:
        TaskError: if a model or data are asked for.
    """
    if config.model != "auto":
        raise TaskError(f"synthetic: got model {config.model!r}, want auto; --parameters gives its size")
    return Synthetic(config.parameters)


def _draw(rng: np.random.Generator, n: int) -> "np.ndarray[tuple[int], np.dtype[np.float32]]":
    magnitude = rng.standard_gamma(1 / SHAPE, n, dtype=np.float32) ** np.float32(1 / SHAPE)
    magnitude *= rng.choice(np.array([-1, 1], np.float32), n)
    return magnitude * np.float32(0.01 / max(float(magnitude.std()), 1e-9))

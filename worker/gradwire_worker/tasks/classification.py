"""Classification of images or vectors that fit in memory: the task most others are made of."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from gradwire_common.errors import TaskError
from gradwire_common.metrics import Metric
from gradwire_worker.tasks.task import Batch, Indices

Images = npt.NDArray[np.float32] | npt.NDArray[np.uint8]
Augment = Callable[[Images, np.random.Generator], Images]


def _unchanged(images: Images, rng: np.random.Generator) -> Images:  # noqa: ARG001
    return images


def _as_float(images: Images) -> npt.NDArray[np.float32]:
    return images.astype(np.float32, copy=False)


@dataclass
class Classification:
    """A Task: samples with a class each, cross-entropy, accuracy.

    Attributes:
        build_model: makes the model; its output is (batch, classes).
        x_train, x_test: (n, ...) samples.
        y_train, y_test: (n,) classes.
        augment: changes a training batch at random.
        prepare: makes float32 model input of samples, test samples too.
    """

    name: str
    description: str
    build_model: Callable[[], nn.Module]
    x_train: Images
    y_train: Indices
    x_test: Images
    y_test: Indices
    augment: Augment = _unchanged
    prepare: Callable[[Images], npt.NDArray[np.float32]] = _as_float
    n_train: int = field(init=False)
    n_test: int = field(init=False)
    labels: Indices | None = field(init=False)

    def __post_init__(self) -> None:
        for part, x, y in (("train", self.x_train, self.y_train), ("test", self.x_test, self.y_test)):
            if y.shape != (len(x),):
                raise TaskError(f"{self.name}: y_{part} has shape {y.shape}, want ({len(x)},), one class a sample")
        if not len(self.x_train):
            raise TaskError(f"{self.name}: got no training samples, want at least one")
        self.n_train, self.n_test = len(self.x_train), len(self.x_test)
        self.labels = self.y_train

    def model(self) -> nn.Module:
        """Build the model."""
        return self.build_model()

    def train_batch(self, indices: Indices, rng: np.random.Generator) -> Batch:
        """Return augmented training samples and their classes."""
        images = self.prepare(self.augment(self.x_train[indices], rng))
        return torch.from_numpy(images), torch.from_numpy(self.y_train[indices])

    def test_batch(self, indices: Indices) -> Batch:
        """Return test samples and their classes."""
        return torch.from_numpy(self.prepare(self.x_test[indices])), torch.from_numpy(self.y_test[indices])

    def loss(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """Return the mean cross-entropy."""
        images, classes = batch
        return functional.cross_entropy(model(images), classes)

    def evaluate(self, model: nn.Module, batch: Batch) -> dict[str, Metric]:
        """Return the accuracy and the cross-entropy."""
        images, classes = batch
        output = model(images)
        loss_sum = functional.cross_entropy(output, classes, reduction="sum")
        right = int((output.argmax(1) == classes).sum())
        return {"accuracy": Metric(right, len(classes)), "loss": Metric(float(loss_sum), len(classes))}

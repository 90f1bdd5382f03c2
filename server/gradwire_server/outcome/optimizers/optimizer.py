"""What a server optimizer is, and what is said of one in the settings."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt
import torch

from gradwire_common.layout.manifest import Manifest
from gradwire_common.settings.by_name import NO_SCHEDULE
from gradwire_common.settings.config import ServedRun

F32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class OptimizerSettings:
    """What the optimizer and the schedule of its learning rate are, as the configuration has it.

    Attributes:
        rounds: the run's length, which some schedules follow from; 0 for a run without end.
    """

    optimizer: str = "SGD"
    lr: float = 0.1
    optimizer_options: Mapping[str, Any] = field(default_factory=dict)
    schedule: str = NO_SCHEDULE
    schedule_options: Mapping[str, Any] = field(default_factory=dict)
    rounds: int = 0

    @classmethod
    def of(cls, settings: ServedRun) -> Self:
        """Return what the settings say of the optimizer; a rate that they leave out is torch's default."""
        told = {each.name: getattr(settings, each.name) for each in fields(cls)}
        if told["lr"] is None:
            told["lr"] = default_rate(settings.optimizer)
        return cls(**told)


def default_rate(optimizer: str) -> float:
    """Return the learning rate that torch's optimizer of this name has by default; 0.1 where it has none."""
    kind = getattr(torch.optim, optimizer, None)
    known = inspect.signature(kind).parameters if inspect.isclass(kind) else {}
    rate = known["lr"].default if "lr" in known else None
    return float(rate) if isinstance(rate, int | float) else ServedRun.model_fields["lr"].default


class Optimizer(Protocol):
    """Steps the flat vector of weights that it was made for."""

    @property
    def learning_rate(self) -> float:
        """The rate of the next step, for the records."""

    def step(self, gradient: F32, loss: float) -> None:
        """Step the weights in place.

        Args:
            gradient: (n_parameters,) or longer float32 in layout order; read.
            loss: mean training loss of the round, for schedules that follow it.
        """

    def state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Return tensors by name, and what else the next steps depend on as JSON has it. Tensors need not be copies."""

    def load_state(self, tensors: Mapping[str, torch.Tensor], meta: Mapping[str, Any]) -> None:
        """Resume from what `state` returned, bit for bit; `tensors` may hold others' too."""


OptimizerFactory = Callable[[Manifest, F32, OptimizerSettings], Optimizer]

"""What a server optimizer is, and what is said of one in the settings."""

import inspect
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch

from gradwire_common.errors import ConfigError
from gradwire_common.layout.manifest import Manifest
from gradwire_common.settings.by_name import NO_SCHEDULE
from gradwire_common.settings.config import ServedRun
from gradwire_common.step_options import RATE, Groups, OptimizerChoice, flatten

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
    def of(cls, settings: ServedRun, choice: OptimizerChoice | None = None) -> Self:
        """Return what the settings say of the optimizer, and where they say nothing the first worker's `choice`.

        A rate that both leave out is torch's default for the optimizer.

        Raises:
            ConfigError: the choice's rate is no number above 0.
        """
        told = {each.name: getattr(settings, each.name) for each in fields(cls)}
        fixed = Fixed.of(settings)
        if choice is not None:
            options = dict(choice.options)
            rate = options.pop(RATE, None)
            if not fixed.options:
                told |= {"optimizer": choice.name, "optimizer_options": options}
            if not fixed.rate_itself and told["optimizer"] == choice.name:
                told["lr"] = None if rate is None else _checked_rate(rate)
        if told["lr"] is None:
            told["lr"] = default_rate(told["optimizer"])
        return cls(**told)

    @property
    def as_choice(self) -> OptimizerChoice:
        """The optimizer as workers are told of it."""
        return OptimizerChoice(self.optimizer, {RATE: self.lr, **self.optimizer_options})


@dataclass(frozen=True)
class Fixed:
    """What a server's own settings decide, whatever workers ask for: only what was given to it counts, no default.

    Attributes:
        rate: the learning rate of every step.
        rate_itself: the rate that the run begins with.
        options: the optimizer and its other options.
    """

    rate: bool
    rate_itself: bool
    options: bool

    @classmethod
    def of(cls, settings: ServedRun) -> Self:
        """Return what the settings decide."""
        given = settings.model_fields_set
        rate_itself = "lr" in given and settings.lr is not None
        return cls(
            rate=rate_itself or settings.schedule != NO_SCHEDULE,
            rate_itself=rate_itself,
            options=bool({"optimizer", "optimizer_options"} & given),
        )

    def differences(self, run: OptimizerSettings, choice: OptimizerChoice) -> tuple[list[str], list[str]]:
        """Return how a worker's choice differs from the run's optimizer: where the settings decide, and elsewhere."""
        got, want = _complete(choice), _complete(run.as_choice)
        overruled: list[str] = []
        disagreed: list[str] = []
        if choice.name != run.optimizer:
            (overruled if self.options else disagreed).append(f"optimizer: got {choice.name}, want {run.optimizer}")
            got = {name: value for name, value in got.items() if name == RATE}
            want = {name: value for name, value in want.items() if name == RATE}
        for name in sorted({*got, *want}):
            if got.get(name) != want.get(name):
                decided = self.rate_itself if name == RATE else self.options
                line = f"{name}: got {got.get(name, 'nothing')}, want {want.get(name, 'nothing')}"
                (overruled if decided else disagreed).append(line)
        return overruled, disagreed


def _complete(choice: OptimizerChoice) -> dict[str, Any]:
    """Return the options as JSON has them, with torch's defaults where they are left out."""
    kind = getattr(torch.optim, choice.name, None)
    known = inspect.signature(kind).parameters if inspect.isclass(kind) else {}
    defaults = {name: each.default for name, each in known.items() if flatten({name: each.default})}
    complete: dict[str, Any] = json.loads(json.dumps({**defaults, **choice.options}))
    return complete


def _checked_rate(rate: object) -> float:
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < math.inf:
        raise ConfigError(f"lr: got {rate!r} from the first worker, want a number above 0")
    return float(rate)


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


@runtime_checkable
class Adjustable(Protocol):
    """What an optimizer has besides, or an outcome, if the options of its groups may change from step to step."""

    def options(self) -> Groups:
        """Return all options that are numbers, of each group of the manifest, as they are at the next step."""

    def check_options(self, groups: Groups) -> None:
        """Raise UsageError unless options, given for some or all names, are such as the optimizer takes."""

    def set_options(self, groups: Groups) -> None:
        """Let options have these values from the next step on; `check_options` has passed them."""


OptimizerFactory = Callable[[Manifest, F32, OptimizerSettings], Optimizer]

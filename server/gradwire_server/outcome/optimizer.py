"""Any optimizer of torch.optim and any schedule of torch.optim.lr_scheduler, by name, on the server's flat weights."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.optim import lr_scheduler

from gradwire_common.errors import ConfigError
from gradwire_common.layout.manifest import Manifest, Role, TensorSpec
from gradwire_common.settings.by_name import (
    NO_SCHEDULE,
    check_options,
    complete_schedule,
    find,
    first_line,
    make,
    plain_schedules,
    subclasses,
)

F32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class OptimizerSettings:
    """What the optimizer and the schedule are, as the configuration has it."""

    optimizer: str = "SGD"
    lr: float = 0.1
    optimizer_options: Mapping[str, Any] = field(default_factory=dict)
    schedule: str = NO_SCHEDULE
    schedule_options: Mapping[str, Any] = field(default_factory=dict)
    rounds: int = 0

    def check(self) -> None:
        """Raise ConfigError unless these settings make an optimizer that can step a matrix."""
        tiny = Manifest((TensorSpec("matrix", (2, 2)),))
        optimizer = ServerOptimizer(tiny, np.ones(4, np.float32), np.ones(4, np.float32), self)
        try:
            optimizer.step(1.0)
        except Exception as error:
            raise ConfigError(
                f"optimizer {self.optimizer}, schedule {self.schedule}: cannot step on dense gradients without a "
                f"closure: {first_line(error)}"
            ) from error


class ServerOptimizer:
    """A torch optimizer over views of a flat vector of weights, with gradients that are views of another.

    Args:
        manifest: says which tensors there are, and which options their groups override.
        values: (layout.size,) float32 in layout order; stepped in place.
        gradient: (n_parameters,) or longer float32, read at every step.
        settings: names and options.

    Raises:
        ConfigError: no such optimizer, schedule or option, or a value that it does not take.
    """

    def __init__(self, manifest: Manifest, values: F32, gradient: F32, settings: OptimizerSettings):
        self.settings = settings
        kind = find("optimizer", settings.optimizer, optimizers())
        options = {"lr": settings.lr, **settings.optimizer_options}
        check_options(f"optimizer {settings.optimizer}", kind, options)
        groups = _groups(manifest, values, gradient, kind)
        self.optimizer: torch.optim.Optimizer = make(f"optimizer {settings.optimizer}", kind, groups, options)
        self.schedule = _make_schedule(self.optimizer, settings)

    @property
    def learning_rate(self) -> float:
        """The learning rate of the first parameter group at the next step."""
        return float(self.optimizer.param_groups[0]["lr"])

    def step(self, loss: float) -> None:
        """Step the weights by the gradient, then the schedule; `loss` is for schedules that look at it."""
        self.optimizer.step()
        if isinstance(self.schedule, lr_scheduler.ReduceLROnPlateau):
            self.schedule.step(loss)
        elif self.schedule is not None:
            self.schedule.step()

    def state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Return the optimizer's tensors by name, and copies of what else it and its schedule have come to, as JSON."""
        found = self.optimizer.state_dict()
        tensors: dict[str, torch.Tensor] = {}
        numbers: dict[str, dict[str, Any]] = {}
        for index, state in found["state"].items():
            numbers[str(index)] = {}
            for name, value in state.items():
                if isinstance(value, torch.Tensor):
                    tensors[f"optimizer.{index}.{name}"] = value.detach()
                else:
                    numbers[str(index)][name] = value
        schedule = {} if self.schedule is None else _plain(self.schedule.state_dict())
        return tensors, {"state": numbers, "param_groups": found["param_groups"], "schedule": schedule}

    def load_state(self, tensors: Mapping[str, torch.Tensor], meta: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        state = {int(index): dict(values) for index, values in meta["state"].items()}
        for name, tensor in tensors.items():
            kind, _, rest = name.partition(".")
            if kind == "optimizer":
                index, _, entry = rest.partition(".")
                state[int(index)][entry] = tensor
        self.optimizer.load_state_dict({"state": state, "param_groups": meta["param_groups"]})
        if self.schedule is not None:
            self.schedule.load_state_dict({**self.schedule.state_dict(), **meta["schedule"]})


def optimizers() -> dict[str, Any]:
    """Return the optimizers of torch.optim by name."""
    return subclasses(torch.optim, torch.optim.Optimizer)


def schedules() -> dict[str, Any]:
    """Return the schedules of torch.optim.lr_scheduler by name, but for those made of objects or functions."""
    return plain_schedules(lr_scheduler)


def _groups(manifest: Manifest, values: F32, gradient: F32, kind: Any) -> list[dict[str, Any]]:
    """Return the parameter groups: views of the weights, with their gradients, and what each group overrides."""
    groups: list[dict[str, Any]] = []
    by_group: dict[int, list[TensorSpec]] = {}
    for spec in manifest.tensors:
        if spec.role is Role.PARAMETER:
            by_group.setdefault(spec.group, []).append(spec)
    for index, overrides in enumerate(manifest.groups):
        check_options(f"parameter group {index}", kind, overrides)
        if index in by_group:
            parameters = [_parameter(spec, manifest, values, gradient) for spec in by_group[index]]
            groups.append({"params": parameters, **_as_declared(kind, overrides)})
    return groups


def _parameter(spec: TensorSpec, manifest: Manifest, values: F32, gradient: F32) -> torch.Tensor:
    place = manifest.layout.slots[spec.name]
    parameter = torch.from_numpy(values[place]).view(spec.shape)
    parameter.grad = torch.from_numpy(gradient[place]).view(spec.shape)
    return parameter


def _as_declared(kind: Any, overrides: Mapping[str, float]) -> dict[str, Any]:
    """Turn the numbers that a manifest carries into what the optimizer declares: nesterov=1.0 is True."""
    declared = inspect.signature(kind).parameters
    return {
        name: bool(value) if isinstance(declared[name].default, bool) else value for name, value in overrides.items()
    }


def _make_schedule(optimizer: torch.optim.Optimizer, settings: OptimizerSettings) -> Any:
    """Return the schedule; options that follow from the run are filled in where they are not given."""
    if settings.schedule == NO_SCHEDULE:
        return None
    kind = find("schedule", settings.schedule, {NO_SCHEDULE: None, **schedules()})
    rates = [group["lr"] for group in optimizer.param_groups]
    options = complete_schedule(settings.schedule, kind, settings.schedule_options, rates, settings.rounds)
    return make(f"schedule {settings.schedule}", kind, optimizer, options)


def _plain(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a schedule's state changes: numbers and lists of them; the rest follows from the settings."""
    kinds = (bool, int, float)
    return {
        name: value
        for name, value in state.items()
        if isinstance(value, kinds) or (isinstance(value, list) and all(isinstance(each, kinds) for each in value))
    }

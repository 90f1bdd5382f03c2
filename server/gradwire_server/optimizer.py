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
from gradwire_common.manifest import Manifest, Role, TensorSpec

F32 = npt.NDArray[np.float32]

NO_SCHEDULE = "none"
FILLED_WITH_ROUNDS = {  # options that are the length of the run where they are not given
    "OneCycleLR": ("total_steps",),
    "CosineAnnealingLR": ("T_max",),
    "PolynomialLR": ("total_iters",),
}


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
                f"closure: {_first_line(error)}"
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
        kind = _find("optimizer", settings.optimizer, optimizers())
        options = {"lr": settings.lr, **settings.optimizer_options}
        _check_options(f"optimizer {settings.optimizer}", kind, options)
        groups = _groups(manifest, values, gradient, kind)
        self.optimizer: torch.optim.Optimizer = _make(f"optimizer {settings.optimizer}", kind, groups, options)
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
        """Return copies of the optimizer's tensors by name, and what else it and its schedule have come to, as JSON."""
        found = self.optimizer.state_dict()
        tensors: dict[str, torch.Tensor] = {}
        numbers: dict[str, dict[str, Any]] = {}
        for index, state in found["state"].items():
            numbers[str(index)] = {}
            for name, value in state.items():
                if isinstance(value, torch.Tensor):
                    tensors[f"optimizer.{index}.{name}"] = value.detach().clone().contiguous()
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
    return _subclasses(torch.optim, torch.optim.Optimizer)


def schedules() -> dict[str, Any]:
    """Return the schedules of torch.optim.lr_scheduler by name, but for those made of objects or functions."""
    found = _subclasses(lr_scheduler, lr_scheduler.LRScheduler)
    return {
        name: kind
        for name, kind in found.items()
        if not {"schedulers", "lr_lambda"} & set(inspect.signature(kind).parameters)
    }


def _subclasses(module: Any, base: type) -> dict[str, Any]:
    return {
        name: kind
        for name, kind in vars(module).items()
        if inspect.isclass(kind) and issubclass(kind, base) and kind is not base and not name.startswith("_")
    }


def _find(what: str, name: str, available: Mapping[str, Any]) -> Any:
    if name not in available:
        raise ConfigError(f"{what}: got {name!r}, want one of {', '.join(sorted(available))}")
    return available[name]


def _check_options(what: str, kind: Any, options: Mapping[str, Any]) -> None:
    """Refuse options that `kind` does not know."""
    known = [name for name in inspect.signature(kind).parameters if name not in ("self", "params", "optimizer")]
    for name in options:
        if name not in known:
            raise ConfigError(f"{what}: unknown option {name!r}; want one of {', '.join(known)}")


def _make(what: str, kind: Any, subject: Any, options: Mapping[str, Any]) -> Any:
    try:
        return kind(subject, **options)
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        given = ", ".join(f"{name}={value!r}" for name, value in options.items())
        raise ConfigError(f"{what}({given}): {_first_line(error)}") from error


def _groups(manifest: Manifest, values: F32, gradient: F32, kind: Any) -> list[dict[str, Any]]:
    """Return the parameter groups: views of the weights, with their gradients, and what each group overrides."""
    groups: list[dict[str, Any]] = []
    for index, overrides in enumerate(manifest.groups):
        _check_options(f"parameter group {index}", kind, overrides)
        members = [s for s in manifest.tensors if s.role is Role.PARAMETER and s.group == index]
        if members:
            parameters = [_parameter(spec, manifest, values, gradient) for spec in members]
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
    kind = _find("schedule", settings.schedule, {NO_SCHEDULE: None, **schedules()})
    what = f"schedule {settings.schedule}"
    options = dict(settings.schedule_options)
    _check_options(what, kind, options)
    if not {"epochs", "steps_per_epoch"} <= set(options):
        for name in FILLED_WITH_ROUNDS.get(settings.schedule, ()):
            if settings.rounds == 0 and name not in options:
                raise ConfigError(f"{what}: option {name!r} is missing, and a run without end has no rounds to fill in")
            options.setdefault(name, settings.rounds)
    for name, parameter in inspect.signature(kind).parameters.items():
        if name == "max_lr":
            options.setdefault(name, [group["lr"] for group in optimizer.param_groups])
        if parameter.default is parameter.empty and name not in ("self", "optimizer", *options):
            raise ConfigError(f"{what}: option {name!r} is missing")
    return _make(what, kind, optimizer, options)


def _plain(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a schedule's state changes: numbers and lists of them; the rest follows from the settings."""
    kinds = (bool, int, float)
    return {
        name: value
        for name, value in state.items()
        if isinstance(value, kinds) or (isinstance(value, list) and all(isinstance(each, kinds) for each in value))
    }


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__

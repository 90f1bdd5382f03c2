"""Any optimizer of torch.optim and any schedule of torch.optim.lr_scheduler, by name, on the server's flat weights."""

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch.optim import lr_scheduler

from gradwire_common.errors import ConfigError, UsageError
from gradwire_common.foreign_text import printable
from gradwire_common.layout.manifest import Manifest, Role, TensorSpec
from gradwire_common.settings.by_name import (
    NO_SCHEDULE,
    check_options,
    complete_schedule,
    find,
    make,
    plain_schedules,
    subclasses,
)
from gradwire_common.step_options import IMPLEMENTATION, MAX_SHOWN, Groups, flatten, unflatten
from gradwire_server.outcome.optimizers.optimizer import F32, OptimizerSettings

MAX_GROWTH = 1.0  # factors above it, step after step, make any weight infinite


def load_torch() -> None:
    """Load what torch loads with the first optimizer of a process: a second's work that no round should wait for."""
    torch.optim.SGD([torch.zeros(1)])


class TorchOptimizer:
    """A torch optimizer over views of a flat vector of weights.

    Args:
        manifest: says which tensors there are, and which options their groups override.
        weights: (layout.size,) float32 in layout order; stepped in place.
        settings: names and options.

    Raises:
        ConfigError: no such optimizer, schedule or option, or a value that it does not take.
    """

    def __init__(self, manifest: Manifest, weights: F32, settings: OptimizerSettings):
        kind = find("optimizer", settings.optimizer, optimizers())
        options = {"lr": settings.lr, **settings.optimizer_options}
        check_options(f"optimizer {settings.optimizer}", kind, options)
        self._parameters = {
            spec: torch.from_numpy(weights[manifest.layout.slots[spec.name]]).view(spec.shape)
            for spec in manifest.tensors
            if spec.role is Role.PARAMETER
        }
        self._slots = manifest.layout.slots
        self._gradient: F32 | None = None  # what the parameters' gradients are views of
        for index, overrides in enumerate(manifest.groups):
            _check_growth(f"optimizer {settings.optimizer}, parameter group {index}", {**options, **overrides})
        groups = _groups(manifest, self._parameters, kind)
        self._kind, self._n_groups = kind, len(manifest.groups)
        self._places = sorted({spec.group for spec in self._parameters})  # of torch's groups: some may have no tensor
        self.optimizer: torch.optim.Optimizer = make(f"optimizer {settings.optimizer}", kind, groups, options)
        self.schedule = _make_schedule(self.optimizer, settings)

    @property
    def learning_rate(self) -> float:
        """The learning rate of the first parameter group at the next step."""
        return float(self.optimizer.param_groups[0]["lr"])

    def step(self, gradient: F32, loss: float) -> None:
        """Step the weights by the gradient, then the schedule; `loss` is for schedules that look at it."""
        if gradient is not self._gradient:
            for spec, parameter in self._parameters.items():
                parameter.grad = torch.from_numpy(gradient[self._slots[spec.name]]).view(spec.shape)
            self._gradient = gradient
        self.optimizer.step()
        if isinstance(self.schedule, lr_scheduler.ReduceLROnPlateau):
            self.schedule.step(loss)
        elif self.schedule is not None:
            self.schedule.step()

    def options(self) -> Groups:
        """Return all options that are numbers, of each group of the manifest; {} for one without parameters."""
        groups: list[dict[str, float]] = [{} for _ in range(self._n_groups)]
        for place, group in zip(self._places, self.optimizer.param_groups, strict=True):
            declared = {name: group[name] for name in inspect.signature(self._kind).parameters if name in group}
            groups[place] = flatten({name: value for name, value in declared.items() if name not in IMPLEMENTATION})
        return tuple(groups)

    def check_options(self, groups: Groups) -> None:
        """Raise UsageError unless torch takes these options."""
        if len(groups) != self._n_groups:
            raise UsageError(f"param_groups: got options of {len(groups)} groups, want {self._n_groups}")
        for index, (now, given) in enumerate(zip(self.options(), groups, strict=True)):
            if not now:
                continue
            if unknown := sorted(given.keys() - now.keys()):
                raise UsageError(
                    f"param_groups[{index}]: got the option {printable(unknown[0], MAX_SHOWN)!r}, want {', '.join(now)}"
                )
            whole = _as_declared(self._kind, {**now, **given})
            try:
                _check_growth(f"param_groups[{index}]", whole)
                make(f"param_groups[{index}]: {self._kind.__name__}", self._kind, [torch.zeros(1)], whole)
            except ConfigError as error:
                raise UsageError(str(error)) from None

    def set_options(self, groups: Groups) -> None:
        """Let options have these values from the next step on."""
        for place, group in zip(self._places, self.optimizer.param_groups, strict=True):
            if groups[place]:
                names = {name.partition(".")[0] for name in groups[place]}
                now = flatten({name: group[name] for name in names})
                group.update(_as_declared(self._kind, {**now, **groups[place]}))

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
        """Resume from what `state` returned."""
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


def _groups(manifest: Manifest, parameters: Mapping[TensorSpec, torch.Tensor], kind: Any) -> list[dict[str, Any]]:
    """Return the parameter groups, with what each of them overrides."""
    groups: list[dict[str, Any]] = []
    by_group: dict[int, list[torch.Tensor]] = {}
    for spec, parameter in parameters.items():
        by_group.setdefault(spec.group, []).append(parameter)
    for index, overrides in enumerate(manifest.groups):
        check_options(f"parameter group {index}", kind, unflatten(overrides))
        if index in by_group:
            groups.append({"params": by_group[index], **_as_declared(kind, overrides)})
    return groups


def _check_growth(what: str, options: Mapping[str, Any]) -> None:
    """Raise ConfigError where options would multiply weights or momentum, step by step, to infinity."""
    known = {name: value for name, value in options.items() if isinstance(value, int | float)}
    rate = known.get("lr", 0.0)
    for name, got in (
        ("momentum", known.get("momentum", 0.0)),
        ("lr * weight_decay", rate * known.get("weight_decay", 0.0)),
        ("lr * lambd", rate * known.get("lambd", 0.0)),
    ):
        if not abs(got) <= MAX_GROWTH:
            raise ConfigError(f"{what}: {name}: got {got:g}, want at most {MAX_GROWTH:g}, or the weights would grow")


def _as_declared(kind: Any, overrides: Mapping[str, float]) -> dict[str, Any]:
    """Turn the numbers that a manifest carries into what the optimizer declares: nesterov=1.0 is True."""
    declared = inspect.signature(kind).parameters
    return {
        name: bool(value) if name in declared and isinstance(declared[name].default, bool) else value
        for name, value in unflatten(overrides).items()
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

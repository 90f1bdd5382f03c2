"""Local steps: a worker takes several steps of an optimizer of its own, then pushes what they changed.

What is pushed is old weights - new weights, so that it takes the place of a gradient: the server's SGD with lr 1 makes
the weighted mean of the workers' weights (FedAvg: McMahan et al., 2017), its momentum on top makes DiLoCo's outer steps
(Douillard et al., 2023), its Adam FedAdam (Reddi et al., 2021).
"""

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch.optim import lr_scheduler

from gradwire_common.errors import NonFiniteError
from gradwire_common.methods.method import EncodeReport
from gradwire_common.settings.by_name import (
    NO_SCHEDULE,
    check_options,
    complete_schedule,
    find,
    make,
    plain_schedules,
    subclasses,
)
from gradwire_worker.arguments import whole_number
from gradwire_worker.compute.groups import Group
from gradwire_worker.sources.frame_source import F32, Bytes, Due, FrameSource, Joined, Source

UNFIT = ("LBFGS", "ReduceLROnPlateau")  # one wants a closure, one would give each worker a rate of its own
TRIAL_LENGTH = 1000  # steps of a schedule that is only tried, before the run's length is known
MAX_LOCAL_STEPS = 1_000_000  # more than any round has


@dataclass(frozen=True)
class LocalSteps(Source):
    """Take `steps` steps of an optimizer of one's own, by the names that torch has for it, and push what they changed.

    Attributes:
        steps: before each push, from 1 to MAX_LOCAL_STEPS.
        optimizer: of torch.optim.
        lr: its learning rate.
        options: its other parameters.
        schedule: of torch.optim.lr_scheduler, stepped by every local step; its place follows from the version, so that
            all workers have the same rate, whenever they joined.
        schedule_options: its parameters; the run's length in local steps is filled in.

    Raises:
        UsageError: the number of steps is none.
    """

    steps: int
    optimizer: str = "SGD"
    lr: float = 0.1
    options: Mapping[str, Any] = field(default_factory=dict)
    schedule: str = NO_SCHEDULE
    schedule_options: Mapping[str, Any] = field(default_factory=dict)

    own_options: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", whole_number("local_steps", self.steps, 1, MAX_LOCAL_STEPS))

    @property
    def shared(self) -> dict[str, str]:
        """Texts that are the same for the same settings."""
        schedule = "" if self.schedule == NO_SCHEDULE else f", {self.schedule}({_told(self.schedule_options)})"
        optimizer = f"{self.optimizer}({_told({'lr': self.lr, **self.options})}){schedule}"
        return {"local_steps": str(self.steps), "local_optimizer": optimizer}

    def check(self, groups: Sequence[Group], rounds: int | None = None) -> None:
        """Try the optimizer and its schedule on parameter groups like those of the model.

        Args:
            groups: as torch.optim takes them.
            rounds: the run's length, 0 for a run without end; None where it is not known yet.

        Raises:
            ConfigError: no such optimizer, schedule or option, or a value that it does not take.
        """
        trial = [{**group, "params": [torch.zeros(1, dtype=torch.float32, device="cpu")]} for group in groups]
        self.build_schedule(self.build_optimizer(trial), TRIAL_LENGTH if rounds is None else self.steps * rounds)

    def build_optimizer(self, groups: Sequence[Group]) -> torch.optim.Optimizer:
        """Return the torch optimizer of parameter groups. Raises ConfigError as `check`."""
        kinds = _without_unfit(subclasses(torch.optim, torch.optim.Optimizer))
        kind, options = find("local_optimizer", self.optimizer, kinds), {"lr": self.lr, **self.options}
        what = f"local_optimizer {self.optimizer}"
        check_options(what, kind, options)
        built: torch.optim.Optimizer = make(what, kind, [dict(group) for group in groups], options)
        return built

    def build_schedule(self, optimizer: torch.optim.Optimizer, length: int) -> Any:
        """Return the schedule of an optimizer for `length` local steps, or None. Raises ConfigError as `check`."""
        if self.schedule == NO_SCHEDULE:
            return None
        kinds = _without_unfit(plain_schedules(lr_scheduler))
        kind = find("local_schedule", self.schedule, {NO_SCHEDULE: None, **kinds})
        rates = [group["lr"] for group in optimizer.param_groups]
        options = complete_schedule(self.schedule, kind, self.schedule_options, rates, length)
        return make(f"local_schedule {self.schedule}", kind, optimizer, options)

    def open(self, joined: Joined) -> "LocalSource":
        """Return the source of the run's frames."""
        return LocalSource(self, joined)


class LocalSource(FrameSource):
    """The steps between two rounds, counted, and what they change.

    The optimizer's state (its momentum) is kept from round to round: with few steps a round it would hardly get under
    way otherwise. It never leaves the worker.

    Attributes:
        optimizer: the torch optimizer.
        taken: since the last push.
        steps: between pushes.
    """

    optimizer: torch.optim.Optimizer

    def __init__(self, settings: LocalSteps, joined: Joined):
        self.taken = 0
        self._flat, self._uplink = joined.flat, joined.uplink
        self.steps = settings.steps
        self._samples = 0
        self._loss_sum = 0.0
        self._version = -1
        self._base = self._flat.compute.new_vector(self._flat.layout.n_parameters)
        self.optimizer = settings.build_optimizer(joined.groups)
        self._schedule: Any = settings.build_schedule(self.optimizer, settings.steps * joined.rounds)

    def begin(self, version: int) -> None:
        """Start a round's steps at the weights of `version`, which the model holds."""
        self._flat.read_parameters(self._base)
        self._version = version
        self.taken = self._samples = 0
        self._loss_sum = 0.0

    def step(self, samples: int, loss: float) -> Due | None:
        """Step the model by its gradients; a push is due once all steps have been taken.

        Its loss is the mean over the steps, weighted by samples; NaN where one was not told.

        Raises:
            NonFiniteError: a gradient is not finite; names its parameter. Nothing has changed.
        """
        self._flat.check_frozen()
        self._check_finite()
        self._go_to(self._version * self.steps + self.taken)
        self.optimizer.step()
        self.taken += 1
        self._samples += samples
        self._loss_sum += samples * loss
        if self.taken < self.steps:
            return None
        return Due(self._samples, self._loss_sum / self._samples)

    def gather(self, out: F32) -> None:
        """Write old weights - new weights to `out`, (n_parameters,) or longer."""
        change = out[: self._base.size]
        self._flat.read_parameters(change)
        np.subtract(self._base, change, out=change)

    def frames(self, budget: int, chunk_bytes: int, report: EncodeReport, *, with_buffers: bool) -> Iterator[bytes]:
        """Yield the frames of the change."""
        return self._uplink.frames(budget, chunk_bytes, report, with_buffers=with_buffers)

    def state(self) -> tuple[dict[str, Bytes], str]:
        """Return the optimizer's tensors as bytes by name, and as JSON what they are and its other values."""
        tensors: dict[str, Bytes] = {}
        told: dict[str, dict[str, Any]] = {}
        for index, entries in self.optimizer.state_dict()["state"].items():
            for name, value in entries.items():
                key = f"{index}.{name}"
                if isinstance(value, torch.Tensor):
                    tensors[key] = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
                    told[key] = {"dtype": str(value.dtype).removeprefix("torch."), "shape": list(value.shape)}
                else:
                    told[key] = {"value": value}
        return tensors, json.dumps(told)

    def load_state(self, tensors: Mapping[str, Bytes], told: str) -> None:
        """Go on from what `state` returned; learning rates follow from the schedule."""
        state: dict[int, dict[str, Any]] = {}
        for key, what in json.loads(told).items():
            index, _, name = key.partition(".")
            value = what.get("value")
            if "dtype" in what:
                flat = torch.from_numpy(tensors[key].copy()).view(getattr(torch, what["dtype"]))
                value = flat.reshape(what["shape"])
            state.setdefault(int(index), {})[name] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})

    def _go_to(self, place: int) -> None:
        """Bring the schedule to the rate of local step number `place`, counted from 0."""
        if self._schedule is None or self._schedule.last_epoch >= place:
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a late worker's schedule advances before its optimizer ever stepped
            while self._schedule.last_epoch < place:
                self._schedule.step()

    def _check_finite(self) -> None:
        """Refuse gradients that are not finite, which would spoil the optimizer's state; waits for the device once."""
        found = [(name, grad) for name, grad in self._flat.gradients() if grad is not None]
        if not found:
            return
        finite = torch.stack([torch.isfinite(grad).all() for _, grad in found])
        if bool(finite.all()):
            return
        name = found[int((~finite).nonzero()[0])][0]
        raise NonFiniteError(f"{name}: its gradient is not finite, want numbers; no local step was taken")


def _told(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={options[name]!r}" for name in sorted(options))


def _without_unfit(kinds: Mapping[str, Any]) -> dict[str, Any]:
    return {name: kind for name, kind in kinds.items() if name not in UNFIT}

"""What a RemoteOptimizer has beside its step: where the run is, evaluations, schedules, leaving, state."""

import logging
import time
import warnings
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import torch
from torch import nn

from gradwire_common.errors import RunEndedError, UsageError
from gradwire_common.metrics import Metric, checked_metrics
from gradwire_worker.checkpoint.optimizer_state import load_state
from gradwire_worker.evaluation import EvaluationsDue, named_metrics
from gradwire_worker.interrupts import HELD
from gradwire_worker.place import Place
from gradwire_worker.progress import ProgressLine, where_it_lies
from gradwire_worker.samples import SampleCount
from gradwire_worker.session.session import reason_of
from gradwire_worker.steering import Steering
from gradwire_worker.step_report import StepReport

log = logging.getLogger("gradwire")


class Schedule(Protocol):
    """What torch's schedules have in common."""

    def step(self) -> None:
        """Go to the options of the next step."""


S = TypeVar("S", bound=Schedule)


class Joined(torch.optim.Optimizer):
    """An optimizer that has a place in a run."""

    _place: Place
    _counted: SampleCount
    _steering: Steering | None
    _options: list[dict[str, Any]]
    _progress: ProgressLine
    _due: EvaluationsDue
    rounds: int

    def count_samples(self, module: nn.Module | None = None) -> None:
        """Count the samples of every forward pass, for loops that cannot call step(samples=...), such as accelerate's.

        Args:
            module: whose passes are counted, by the length of the first tensor that it is given; the model when None.
        """
        self._counted.close()
        self._counted = SampleCount(self._place.flat.model if module is None else module)

    def count(self, samples: int) -> None:
        """Add to the samples that the next step is told of where it is not told how many there are."""
        self._counted.samples += samples

    @property
    def version(self) -> int:
        """The version of the weights that the model holds."""
        return self._place.loader.version

    @property
    def next_round(self) -> int:
        """The round that the next push will be for; with a delay there may be one under way."""
        return self._place.exchange.next_round

    @property
    def local(self) -> torch.optim.Optimizer | None:
        """The optimizer that takes this worker's local steps; None where gradients are pushed."""
        return self._place.source.optimizer

    @property
    def local_steps_taken(self) -> int:
        """How many local steps this worker has taken since its last push."""
        return self._place.source.taken

    @property
    def steps_taken(self) -> int:
        """How many steps, local ones included, a worker has taken by now that was there from the run's beginning."""
        return (self.next_round - 1) * self._place.source.steps + self.local_steps_taken

    @property
    def last_step(self) -> StepReport | None:
        """What the last step did; None before the first."""
        return self._place.exchange.last_step

    @property
    def ended(self) -> bool:
        """Whether the run is over: no further step can count."""
        return self._place.session.ended

    def schedule(self, make: Callable[[Self], S]) -> S:
        """Return a schedule of torch's that is where the run is: for workers that join late or were started again.

            schedule = optimizer.schedule(lambda it: torch.optim.lr_scheduler.CosineAnnealingLR(it, rounds))

        It begins with the options that the run began with, and takes a step for every version that there is. At the
        start of a run that is what `make(optimizer)` returns.

        Args:
            make: makes the schedule of an optimizer; it steps once a round.
        """
        if self._steering is not None:
            self._steering.begin_again()
        schedule = make(self)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it steps before this optimizer ever did
            for _ in range(self.version):
                schedule.step()
        return schedule

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Take the gradients away, as torch's optimizers do; what was encoded of them during backward is forgotten."""
        super().zero_grad(set_to_none)
        self._place.source.forget()

    def evaluation_due(self) -> bool:
        """Whether the server wants an evaluation of the weights held: true once for each version that it does of.

        if optimizer.evaluation_due():
            optimizer.report(len(x), accuracy=right / len(x))
        """
        return self._due.now(self.version)

    def report(self, samples: float | torch.Tensor, /, **metrics: "float | torch.Tensor | Metric") -> None:
        """Report an evaluation of the weights held, on this worker's part of the test data.

            optimizer.report(len(x), accuracy=right / len(x), mse=mse)

        The server merges what all workers report: a metric's mean is over all of their samples. A name with the word
        accuracy is a fraction from 0 to 1, shown in percent.

        Args:
            samples: test samples looked at, a whole number from 1 to 2**53.
            metrics: 1 to 32, by names of at most 64 printable characters: each the mean over `samples`, or a
                `gradwire.Metric` with a sum, a count and a direction of its own.

        Raises:
            NonFiniteError: a metric is NaN or infinite; names it. Nothing was reported.
            UsageError: samples, a name or a value that cannot be.
        """
        checked = checked_metrics(named_metrics(samples, metrics))
        self._place.check("report")
        with HELD:
            self._place.session.client.report(self.version, checked)
            self._place.stepped = time.perf_counter()  # an evaluation is no part of the next step

    def leave(self, reason: str = "done") -> None:
        """Leave the run, once, in the process that joined; no round waits for this worker any more. `with` does it."""
        self._place.leave(reason)
        self._show_end(reason)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        """Leave the run, also where the block failed. The end of the run ends the block quietly."""
        if isinstance(error, RunEndedError):
            self.leave("the run ended")
            log.warning("%s; the with block ended there", error)
            return True
        self._place.leave(reason_of(error), hurry=error is not None)
        self._show_end(reason_of(error).partition(":")[0])
        return False

    def _show_end(self, reason: str) -> None:
        """End the line of the progress: what the run came to here, where it lies, and how to load it."""
        name, of = self._place.session.client.reply.run, f" of {self.rounds}" if self.rounds else ""
        more = f"{where_it_lies(name)}; this model holds them too" if self.ended else ""
        self._progress.close(f"left run {name!r} at version {self.version}{of}: {reason}", more)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Refuse to be pickled or copied."""
        raise UsageError(
            "RemoteOptimizer: cannot be pickled or copied, since it is one process's place in a run; want its "
            "state_dict(), which another RemoteOptimizer loads"
        )

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Refuse: what a run trains is settled when the first worker joins."""
        if hasattr(self, "_options"):  # torch adds those of the constructor itself
            raise UsageError("add_param_group: the run's tensors are settled at joining; give param_groups then")
        super().add_param_group(param_group)

    def state_dict(self) -> dict[str, Any]:
        """Return torch's state, the version held, the residual memory and the local optimizer's state."""
        residual = torch.from_numpy(self._place.uplink.memory).clone()
        state = {**super().state_dict(), "version": self.version, "residual": residual}
        return state if self.local is None else {**state, "local": self.local.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the residual memory and the local optimizer's state of an earlier process of this worker.

        Weights, version and learning rates are the run's: weights of a checkpoint that are in the model give way.

        Raises:
            UsageError: it is no state of a RemoteOptimizer of this model, or not finite; nothing has changed then.
        """
        load_state(state_dict, self._place.uplink.memory, self.local)
        self._place.load_again()

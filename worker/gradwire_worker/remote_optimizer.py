"""RemoteOptimizer: a torch optimizer whose step() is a round of a parameter server."""

import logging
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, Self, TypeVar

import torch
from torch import nn

from gradwire_common.errors import RunEndedError, UsageError
from gradwire_common.metrics import Metric, checked_metrics
from gradwire_common.step_options import RATE, OptimizerChoice
from gradwire_common.transport.address import Address, parse_address
from gradwire_common.transport.bounds import MAX_SAMPLES
from gradwire_common.transport.reach import check_known
from gradwire_common.units import named
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_common.warming import warm_kernels
from gradwire_worker.arguments import loss_number, option_object, whole_number
from gradwire_worker.checkpoint.claim import kept_claim
from gradwire_worker.checkpoint.optimizer_state import load_state
from gradwire_worker.checkpoint.state import writable_file
from gradwire_worker.chosen import choice_of, choice_of_made, model_of
from gradwire_worker.coding import Coding
from gradwire_worker.compute.changes import Changes
from gradwire_worker.compute.groups import Group, ParameterGroup, check_unchanged, complete_groups, options_of
from gradwire_worker.evaluation import EvaluationsDue, named_metrics
from gradwire_worker.interrupts import HELD, done_apart
from gradwire_worker.place import Place, register, replace_earlier
from gradwire_worker.progress import ProgressLine, where_it_lies
from gradwire_worker.samples import SampleCount
from gradwire_worker.session import SessionOptions
from gradwire_worker.session.session import reason_of
from gradwire_worker.sources.frame_source import Source
from gradwire_worker.sources.in_step import InStep
from gradwire_worker.steering import Steering
from gradwire_worker.step_report import StepReport

log = logging.getLogger("gradwire")


class Schedule(Protocol):
    """What torch's schedules have in common."""

    def step(self) -> None:
        """Go to the options of the next step."""


S = TypeVar("S", bound=Schedule)


class RemoteOptimizer(torch.optim.Optimizer):
    """Pushes the model's gradients, waits for the round, loads the new weights.

        with RemoteOptimizer(model, server="host:50051", bits=2.0) as optimizer:
            for x, y in loader:
                optimizer.zero_grad()
                loss(model(x), y).backward()
                optimizer.step(samples=len(x))

    The server steps, and has the optimizer's state. Which optimizer that is may be said here, as for torch.optim:

        RemoteOptimizer(model, server, optimizer=torch.optim.AdamW, lr=1e-3, weight_decay=0.1)

    `param_groups` show what the server steps with; schedules of torch's change it, step by step. Clipping, unscaling
    and accumulation happen before step(), as usual. docs/training.md says what every case means.

    When the run ends, `ended` becomes true. A further step() raises RunEndedError, which ends the `with` block quietly.

    Attributes:
        slot, slots, rounds: this worker's shard, of how many; the run's length, 0 for a run without end.
        run: its name.
        evaluate_every: rounds between evaluations; 0 for none.
        method: how pushes are coded.
        resumed: the round whose push was repeated from this worker's own checkpoint; 0 for none.
    """

    @torch.inference_mode(mode=False)  # as for `step`
    def __init__(
        self,
        model: nn.Module,
        server: str | Address = "127.0.0.1:50051",
        *,
        param_groups: Sequence[Group] | None = None,
        bits: float | Literal["auto"] | None = None,
        state: str | Path | None = None,
        coding: Coding | None = None,
        source: Source | None = None,
        session: SessionOptions | None = None,
        optimizer: type[torch.optim.Optimizer] | str | OptimizerChoice | None = None,
        **optimizer_options: Any,
    ):
        """Join the run; upload the model's weights if the server has none, load the server's otherwise.

        Args:
            model: what is trained; on any device.
            server: "host:port", or "host" for its port 50051.
            param_groups: as for torch.optim: dicts of "params" and options that differ from the server's, such as
                weight_decay=0. Parameters in none of them are frozen.
            bits: bits per entry, or "auto" for what the link allows; implies the uniform quantiser.
            state: folder of this worker's own checkpoint, by its `worker_id`: after a kill it resumes from there, its
                residual, buffers and torch's random state included.
            coding: how pushes are coded, where that differs from what the server says.
            source: where the frames of a push come from: InStep(), the default; DuringBackward(), LocalSteps(8).
            session: how this worker takes part: worker_id, slot, settings, patience, pace.
            optimizer: what the server steps with: a class of torch.optim, or the name of an optimizer that the server
                has. The first worker's counts; the others must agree or leave it out. The server's own settings win.
            optimizer_options: of that, such as lr=1e-3, weight_decay=0.1.

        Raises:
            UsageError: a model, option or setting that cannot be; JoinError where the server refuses it.
            UnavailableError: the server could not be reached; AddressError where that would never change.
        """
        with HELD:
            done_apart(lambda: check_known(named("server", parse_address, server)))
        chosen = option_object("source", source, InStep, "open")
        options = option_object("session", session, SessionOptions)
        choice = choice_of(optimizer, optimizer_options)
        if choice is not None:
            if chosen.own_options:
                raise UsageError(
                    f"optimizer: got {choice.name} beside local steps, whose optimizer is an argument of LocalSteps; "
                    "want the server's optimizer to be a setting of the server's, such as FedAvg"
                )
            options = replace(options, optimizer=choice)
        groups = complete_groups(model, param_groups)
        replaced = option_object("coding", coding, Coding).overrides(bits)
        chosen.check(groups)
        file = None if state is None else writable_file(state, options.worker_id)
        if file is not None:
            options = replace(options, claim=kept_claim(file))
        with HELD:  # an interrupt leaves nothing half done; nor an import by torch, which could not be repeated
            super().__init__([ParameterGroup(group) for group in groups], {})
            self._options = [options_of(group) for group in self.param_groups]
            self._progress = ProgressLine()
            self._progress.tell(
                "loading the codec's kernels; the first time they are compiled, which takes half a minute"
            )
            done_apart(warm_kernels)  # before joining: no round waits for a compiler
            self._changes = Changes(model)
            replace_earlier(self)
            self._progress.tell(f"joining the run at {server}")
            show = self._progress.tell
            self._place = place = Place.join(model, server, groups, replaced, chosen, options, file, show)
            register(self, place)
            self._counted = SampleCount(None)
            reply = place.session.client.reply
            self._steering = self._steer(chosen, reply)
        if reply.overruled:
            log.warning("the server's settings win over this worker's optimizer: %s", reply.overruled)
        self.method, self.resumed, self.evaluate_every = place.method, place.resumed, reply.evaluate_every
        self.slot, self.slots, self.rounds, self.run = reply.slot, reply.slots, reply.rounds, reply.run

        held = place.loader.version - (1 if place.resumed else 0)
        self._due = EvaluationsDue(self.evaluate_every, self.rounds, held)

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

    @classmethod
    def wrap(
        cls,
        optimizer: torch.optim.Optimizer,
        server: str | Address = "127.0.0.1:50051",
        *,
        model: nn.Module | None = None,
        **arguments: Any,
    ) -> Self:
        """Join the run with an optimizer of torch.optim that exists: its class, options and groups, in its place.

            optimizer = RemoteOptimizer.wrap(torch.optim.AdamW(groups, lr=1e-3), server)

        Args:
            optimizer: one that has taken no step; it is of no use afterwards.
            server: as for RemoteOptimizer.
            model: the module whose parameters it has; found by them when None.
            arguments: as for RemoteOptimizer: bits, state, coding, source, session.

        Raises:
            UsageError: it is no new optimizer of torch.optim, or no single module has its parameters; and as above.
        """
        choice, groups = choice_of_made(optimizer)
        module = model_of(groups) if model is None else model
        return cls(module, server, param_groups=groups, optimizer=choice, **arguments)

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

    @torch.inference_mode(mode=False)  # what a step makes and writes is used by the next one, wherever that is called
    def step(
        self,
        closure: Callable[[], Any] | None = None,
        *,
        samples: float | torch.Tensor | None = None,
        loss: float | torch.Tensor | None = None,
    ) -> Any:
        """Push the gradients, wait for the round to close, load the new weights.

        With local steps, step the local optimizer; every so many times push what that changed, and wait as above.

        Args:
            closure: computes gradients and returns the loss, as for torch.optim.
            samples: how many samples the gradients are the mean of: their weight in the round, a whole number from 1 to
                2**53.
            loss: mean training loss for the server's records; the closure's where there is one.

        Returns:
            What the closure returned.

        Raises:
            NonFiniteError: a gradient or buffer is not finite; names it. Nothing was pushed.
            RunEndedError: the run is over.
            UsageError: samples or parameter groups are not what they must be, or the model not what it was at joining.
            UnavailableError: the server could not be reached for too long.
        """
        returned = None
        if closure is not None:
            with torch.enable_grad():
                returned = closure()
            loss = returned if loss is None else loss
        counted = self._counted.pop()
        samples = counted if samples is None else samples
        weight, mean_loss = whole_number("samples", samples, 1, MAX_SAMPLES), loss_number(loss)
        self._changes.check()
        steering, exchange = self._steering, self._place.exchange
        if steering is None:
            check_unchanged(self.param_groups, self._options)
        else:
            exchange.options = steering.options()
        with HELD, torch.no_grad():
            self._place.step(weight, mean_loss)
        self._progress.step(self.last_step, self.rounds, self._place.session.client.limits.rate_up)
        if steering is not None:
            steering.loaded(self._place.session.replica.options, exchange.options)
        return returned

    def _steer(self, source: Source, reply: pb.JoinReply) -> Steering | None:
        """Let the parameter groups show what the server steps with; None where loops cannot change it."""
        if source.own_options:
            return None
        if not reply.groups:
            rate = OptimizerChoice.from_message(reply.optimizer).options.get(RATE)
            for group in self.param_groups if rate is not None else ():
                group.setdefault(RATE, rate)
            self._options = [options_of(group) for group in self.param_groups]
            return None
        compared = not reply.asynchronous and not source.delay
        steering = Steering(self.param_groups, reply, self._place.session.replica.options, compared=compared)
        self.defaults = dict(steering.defaults)
        return steering

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

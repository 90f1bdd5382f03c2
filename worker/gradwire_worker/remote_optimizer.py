"""RemoteOptimizer: a torch optimizer whose step() is a round of a parameter server."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self

import torch
from torch import nn

from gradwire_common.errors import UsageError
from gradwire_common.step_options import RATE, OptimizerChoice
from gradwire_common.transport.address import Address, parse_address
from gradwire_common.transport.bounds import MAX_SAMPLES
from gradwire_common.transport.reach import check_known
from gradwire_common.units import named
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_common.warming import warm_kernels
from gradwire_worker.arguments import loss_number, option_object, whole_number
from gradwire_worker.checkpoint.claim import kept_claim
from gradwire_worker.checkpoint.state import writable_file
from gradwire_worker.chosen import choice_of, choice_of_made, model_of
from gradwire_worker.coding import Coding
from gradwire_worker.compute.changes import Changes
from gradwire_worker.compute.groups import Group, ParameterGroup, check_unchanged, complete_groups, options_of
from gradwire_worker.evaluation import EvaluationsDue
from gradwire_worker.interrupts import HELD, done_apart
from gradwire_worker.joined import Joined
from gradwire_worker.place import Place, register, replace_earlier
from gradwire_worker.progress import ProgressLine
from gradwire_worker.samples import SampleCount
from gradwire_worker.session import SessionOptions
from gradwire_worker.sources.frame_source import Source
from gradwire_worker.sources.in_step import InStep
from gradwire_worker.steering import Steering

log = logging.getLogger("gradwire")


class RemoteOptimizer(Joined):
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

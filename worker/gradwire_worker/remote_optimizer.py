"""RemoteOptimizer: a torch optimizer whose step() is a round of a parameter server."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import torch
from torch import nn

from gradwire_common.errors import RunEndedError, UsageError
from gradwire_common.metrics import Metric, checked_metrics
from gradwire_common.transport.address import Address, parse_address
from gradwire_common.transport.bounds import MAX_SAMPLES
from gradwire_common.transport.reach import check_known
from gradwire_common.units import named
from gradwire_common.warming import warm_kernels
from gradwire_worker.arguments import loss_number, option_object, whole_number
from gradwire_worker.checkpoint.claim import kept_claim
from gradwire_worker.checkpoint.optimizer_state import load_state
from gradwire_worker.checkpoint.state import writable_file
from gradwire_worker.coding import Coding
from gradwire_worker.compute.changes import Changes
from gradwire_worker.compute.groups import Group, ParameterGroup, check_unchanged, complete_groups, options_of
from gradwire_worker.evaluation import named_metrics
from gradwire_worker.interrupts import HELD, done_apart
from gradwire_worker.place import Place, register, replace_earlier
from gradwire_worker.session import SessionOptions
from gradwire_worker.sources.frame_source import Source
from gradwire_worker.sources.in_step import InStep
from gradwire_worker.step_report import StepReport

log = logging.getLogger("gradwire")


class RemoteOptimizer(torch.optim.Optimizer):
    """Pushes the model's gradients, waits for the round, loads the new weights.

        with RemoteOptimizer(model, server="host:50051", bits=2.0) as optimizer:
            for x, y in loader:
                optimizer.zero_grad()
                loss(model(x), y).backward()
                optimizer.step(samples=len(x))

    The learning rate, its schedule and the optimizer's state belong to the server. Clipping, unscaling and accumulation
    happen before step(), as usual. docs/training.md says what every case means.

    When the run ends, `ended` becomes true. A further step() raises RunEndedError, which ends the `with` block quietly.

    Attributes:
        slot, slots, rounds: this worker's shard, of how many; the run's length, 0 for a run without end.
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

        Raises:
            UsageError: a model, option or setting that cannot be; JoinError where the server refuses it.
            UnavailableError: the server could not be reached; AddressError where that would never change.
        """
        with HELD:
            done_apart(lambda: check_known(named("server", parse_address, server)))
        chosen = option_object("source", source, InStep, "open")
        options = option_object("session", session, SessionOptions)
        groups = complete_groups(model, param_groups)
        replaced = option_object("coding", coding, Coding).overrides(bits)
        chosen.check(groups)
        file = None if state is None else writable_file(state, options.worker_id)
        if file is not None:
            options = replace(options, claim=kept_claim(file))
        with HELD:  # an interrupt leaves nothing half done; nor an import by torch, which could not be repeated
            super().__init__([ParameterGroup(group) for group in groups], {})
            self._options = [options_of(group) for group in self.param_groups]
            done_apart(warm_kernels)  # before joining: no round waits for a compiler
            self._changes = Changes(model)
            replace_earlier(self)
            self._place = place = Place.join(model, server, groups, replaced, chosen, options, file)
            register(self, place)
            reply = place.session.client.reply
        self.method, self.resumed, self.evaluate_every = place.method, place.resumed, reply.evaluate_every
        self.slot, self.slots, self.rounds = reply.slot, reply.slots, reply.rounds

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
        samples: float | torch.Tensor = 1,
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
        weight, mean_loss = whole_number("samples", samples, 1, MAX_SAMPLES), loss_number(loss)
        self._changes.check()
        check_unchanged(self.param_groups, self._options)
        with HELD, torch.no_grad():
            self._place.step(weight, mean_loss)
        return returned

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Take the gradients away, as torch's optimizers do; what was encoded of them during backward is forgotten."""
        super().zero_grad(set_to_none)
        self._place.source.forget()

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
        self._place.leave("done" if error is None else f"{type(error).__name__}: {error}", hurry=error is not None)
        return False

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

        Weights, version and learning rates are the run's.

        Raises:
            UsageError: it is no state of a RemoteOptimizer of this model, or not finite; nothing has changed then.
        """
        load_state(state_dict, self._place.uplink.memory, self.local)

"""RemoteOptimizer: a torch optimizer whose step() is a round of a parameter server."""

import logging
import os
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import torch
from torch import nn

from gradwire_common.errors import RunEndedError, UsageError
from gradwire_common.layout.buffers import BufferSchedule
from gradwire_common.methods.entropy_options import Allocation, QuantizerSetting, TransformName
from gradwire_common.methods.registry import override_method
from gradwire_common.metrics import Metric, checked_metrics
from gradwire_common.settings.together import check_together
from gradwire_common.transport.address import Address, parse_address
from gradwire_common.transport.reach import check_known
from gradwire_common.units import named
from gradwire_common.warming import warm_kernels
from gradwire_worker.arguments import MAX_SAMPLES, loss_number, text_settings, whole_number
from gradwire_worker.checkpoint.optimizer_state import checked_state
from gradwire_worker.checkpoint.resuming import OwnCheckpoint
from gradwire_worker.checkpoint.state import writable_file
from gradwire_worker.compute.changes import Changes
from gradwire_worker.compute.flat_model import FlatModel, manifest_of
from gradwire_worker.compute.groups import Group, complete_groups
from gradwire_worker.compute.loader import Loader
from gradwire_worker.evaluation import named_metrics
from gradwire_worker.exchange import Exchange
from gradwire_worker.interrupts import HELD, done_apart
from gradwire_worker.options import ParameterGroup, checked_overrides, options_of
from gradwire_worker.session import Session, SessionOptions
from gradwire_worker.session.replica import Replica
from gradwire_worker.sources.during_backward import BackwardEncoder
from gradwire_worker.sources.local_steps import MAX_LOCAL_STEPS, LocalOptimizer, LocalSteps
from gradwire_worker.step_report import StepReport
from gradwire_worker.uplink import Uplink

log = logging.getLogger("gradwire")

_OPTIMIZERS: "weakref.WeakSet[RemoteOptimizer]" = weakref.WeakSet()  # of this process


class RemoteOptimizer(torch.optim.Optimizer):
    """Pushes the model's gradients, waits for the round, loads the new weights.

        with RemoteOptimizer(model, server="host:50051", bits=2.0) as optimizer:
            for x, y in loader:
                optimizer.zero_grad()
                loss(model(x), y).backward()
                optimizer.step(samples=len(x))

    The learning rate, its schedule and the optimizer's state belong to the server. Clipping, unscaling and accumulation
    happen before step(), as ever. docs/training.md says what every case means.

    When the run ends, `ended` becomes true. A further step() raises RunEndedError, which ends the `with` block quietly.

    Attributes:
        version: of the weights that the model holds.
        next_round: that the next push will be for.
        slot, slots: this worker's shard, and how many there are.
        rounds: the run ends at this version; 0 for a run without end.
        evaluate_every: rounds between evaluations that the server asks for; 0 for none.
        ended: whether the run is over.
        method: how pushes are coded.
        resumed: the round whose push was repeated from this worker's own checkpoint; 0 for none.
        last_step: what the last step did; None before the first.
    """

    @torch.inference_mode(mode=False)  # as for `step`
    def __init__(
        self,
        model: nn.Module,
        server: str | Address = "127.0.0.1:50051",
        *,
        param_groups: Sequence[Group] | None = None,
        bits: float | Literal["auto"] | None = None,
        quantizer: QuantizerSetting | None = None,
        gamma: float | None = None,
        transform: TransformName | None = None,
        allocation: Allocation | None = None,
        worker_id: str | None = None,
        slot: int | None = None,
        settings: Mapping[str, str] | None = None,
        local_steps: int = 0,
        local_optimizer: LocalOptimizer | None = None,
        overlap: bool = False,
        delay: int = 0,
        patience: float = 60.0,
        state: str | Path | None = None,
        pace: bool = True,
    ):
        """Join the run; upload the model's weights if the server has none, load the server's otherwise.

        Args:
            model: what is trained; on any device.
            server: "host:port", or "host" for its port 50051.
            param_groups: as for torch.optim: dicts of "params" and options that differ from the server's, such as
                weight_decay=0. Parameters in none of them are frozen.
            bits: bits per entry, or "auto" for what the link allows; implies the uniform quantiser.
            quantizer: as in the settings, float32 for the method raw; None for what the server says, here and in the
                next three.
            gamma: decay of the residual memory.
            transform: orthonormal transform before quantising.
            allocation: "common" or "per-tensor".
            worker_id: the same id takes the old place again; made up when None. 1 to 64 of A-Z a-z 0-9 . _ -.
            slot: the shard wanted; the lowest free one when None.
            settings: what all workers of the run must share; the first worker's count.
            local_steps: optimizer steps that this worker takes by itself before it pushes what they changed; 0 to push
                gradients. All workers of the run must have the same.
            local_optimizer: what takes them; SGD with lr 0.1 when None. The options of `param_groups` are its own then.
            overlap: whether gradients are encoded during the backward pass, each as soon as it is there. None may
                change between that and step(): no clipping, unscaling or accumulation.
            delay: 1 to let step() return before its round has closed, with the weights of the round before: the next
                forward pass is on weights one version old, and hides the link.
            state: folder of this worker's own checkpoint, by its `worker_id`: after a kill it goes on from there, its
                residual, buffers and torch's random state included.
            patience: seconds to go on trying to reach a server that does not answer.
            pace: whether to send no faster than the server's limit, rather than be slowed by it.

        Raises:
            UsageError: a model, option or setting that cannot be; JoinError where the server refuses it.
            UnavailableError: the server could not be reached; AddressError where that would never change.
        """
        address = named("server", parse_address, server)
        with HELD:
            done_apart(lambda: check_known(address))
        if not isinstance(model, nn.Module):
            raise UsageError(
                f"model: got {type(model).__name__}, want the torch.nn.Module itself, whose names and buffers matter"
            )
        overrides = checked_overrides(
            bits=bits, quantizer=quantizer, gamma=gamma, transform=transform, allocation=allocation
        )
        local_steps = whole_number("local_steps", local_steps, 0, MAX_LOCAL_STEPS)
        groups = plain = complete_groups(model, param_groups)
        if local_steps:  # the server steps what they change, all alike
            plain = [{"params": [p for group in groups for p in group["params"]]}]
        manifest = manifest_of(model, plain)
        with HELD:  # torch imports parts of itself here, and an import that was cut short cannot be repeated
            super().__init__([ParameterGroup(group) for group in groups], {})
        self._options = [options_of(group) for group in self.param_groups]

        if not isinstance(local_optimizer, LocalOptimizer | None):
            raise UsageError(f"local_optimizer: got {local_optimizer!r}, want a LocalOptimizer")
        if local_optimizer is not None and not local_steps:
            raise UsageError(f"local_optimizer: got {local_optimizer}, but no local_steps, want at least 1")
        check_together(overlap=overlap, delay=delay, local_steps=local_steps)
        own = local_optimizer or LocalOptimizer()
        settings = text_settings(settings)
        if local_steps:
            settings |= {"local_steps": str(local_steps), "local_optimizer": str(own)}
        options = SessionOptions(worker_id=worker_id or "", slot=slot, settings=settings, patience=patience, pace=pace)
        file = None if state is None else writable_file(state, options.worker_id)
        try:
            with HELD:  # an interrupt leaves nothing half done, here and below
                done_apart(warm_kernels)  # before joining: no round waits for a compiler
                self._flat, self._changes = FlatModel(model, manifest), Changes(model)
                self._local = LocalSteps(self._flat, groups, own, local_steps) if local_steps else None
                replica = Replica(manifest.layout, self._flat.new_vector(manifest.layout.size))
                self._replace_earlier()
                self._session = Session.join(server, manifest, self._flat.read_weights, options, replica)
                self._finalizer = weakref.finalize(self, self._session.leave, "its process ended")
                _OPTIMIZERS.add(self)
                reply = self._session.client.reply
                self.method = override_method(self._session.method, overrides)
                check_together(overlap=overlap, delay=delay, method=self.method, asynchronous=reply.asynchronous)
                self._uplink = Uplink(self._flat, self.method)
                self._uplink.check_limits(self._session.client.limits, str(server))
                buffers = BufferSchedule(reply.buffers_every, reply.rounds)
                self._loader = Loader(self._flat, self._session, buffers)
                self._loader.load()
                self._exchange = Exchange(self._flat, self._session, self._uplink, self._loader, buffers)
                if self._local is not None:
                    self._local.schedule(reply.rounds)
                    self._exchange.read = self._local.read_change
                self._exchange.delay, self._exchange.last_round = delay, reply.rounds
                self.resumed = 0
                if file is not None:
                    self.resumed = self._exchange.resume(
                        OwnCheckpoint(file, self._session, self._flat, self._uplink, self._loader, self._local)
                    )
                if overlap:
                    early = self._exchange.early = BackwardEncoder(self._flat, self._uplink)
                    weakref.finalize(self, early.close).atexit = False  # the model outlives its hooks
                self._begin_local_steps()
                self.slot, self.slots, self.rounds = reply.slot, reply.slots, reply.rounds
                self.evaluate_every = reply.evaluate_every
                self._stepped = time.perf_counter()
        except BaseException:
            self._leave("could not begin", hurry=True)
            raise
        log.info(
            "joined run %r at %s as slot %d of %d, at version %d",
            reply.run,
            server,
            self.slot,
            self.slots,
            self.version,
        )

    @property
    def version(self) -> int:
        """The version of the weights that the model holds."""
        return self._loader.version

    @property
    def next_round(self) -> int:
        """The round that the next push will be for; with a delay there may be one under way."""
        return self._exchange.next_round

    @property
    def local(self) -> torch.optim.Optimizer | None:
        """The optimizer that takes this worker's local steps; None where gradients are pushed."""
        return None if self._local is None else self._local.optimizer

    @property
    def local_steps_taken(self) -> int:
        """How many local steps this worker has taken since its last push."""
        return 0 if self._local is None else self._local.taken

    @property
    def last_step(self) -> StepReport | None:
        """What the last step did; None before the first."""
        return self._exchange.last_step

    @property
    def ended(self) -> bool:
        """Whether the run is over: no further step can count."""
        return self._session.ended

    @torch.inference_mode(mode=False)  # what a step makes and writes is used by the next one, wherever that is called
    def step(
        self,
        closure: Callable[[], Any] | None = None,
        *,
        samples: float | torch.Tensor = 1,
        loss: float | torch.Tensor | None = None,
    ) -> Any:
        """Push the gradients, wait for the round to close, load the new weights.

        With local steps, step the local optimizer; every so many times push what that changed, and go on as above.

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
        self._check_groups()
        with HELD, torch.no_grad():
            self._step(weight, mean_loss)
        return returned

    def _step(self, weight: int, mean_loss: float) -> None:
        if self.ended and self._session.left:
            raise self._session.run_ended()
        self._check_taking_part("step")
        if self.ended:
            if not self._exchange.finish():
                raise self._session.run_ended()
            return
        if self._local is not None:
            self._local.step(weight, mean_loss)
            if not self._local.due:
                return
            weight, mean_loss = self._local.samples, self._local.loss
        self._flat.synchronize()
        began = time.perf_counter()
        try:
            self._exchange.round(weight, mean_loss, began - self._stepped, began)
        except RunEndedError:
            if not self._exchange.finish():
                raise
        except BaseException:
            if self._exchange.took:  # what the local steps changed does not wait to be pushed any more
                self._begin_local_steps()
            raise
        self._begin_local_steps()
        self._stepped = time.perf_counter()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Take the gradients away, as torch's optimizers do; with overlap the backward pass begins again."""
        super().zero_grad(set_to_none)
        early = self._exchange.early
        if early is not None:
            early.begin_again()

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
        self._check_taking_part("report")
        with HELD:
            self._session.client.report(self.version, checked)
            self._stepped = time.perf_counter()  # an evaluation is no part of the next step

    def leave(self, reason: str = "done") -> None:
        """Leave the run; no round waits for this worker any more. `with` does it.

        Nothing happens the second time, or in a process that was forked from the one that joined.
        """
        self._leave(reason)

    def _leave(self, reason: str, *, hurry: bool = False) -> None:
        if not hasattr(self, "_session") or self._session.process != os.getpid():
            return
        with HELD:
            try:
                if hasattr(self, "_exchange"):
                    self._exchange.close(hurry=hurry)
            finally:
                self._session.leave(reason)
                self._finalizer.detach()

    def _replace_earlier(self) -> None:
        """Let another optimizer of this process that trains parameters of ours leave: it would be waited for by us."""
        own = {id(each) for group in self.param_groups for each in group["params"]}
        for other in list(_OPTIMIZERS):
            theirs = {id(each) for group in other.param_groups for each in group["params"]}
            if other._session.process == os.getpid() and not other._session.left and own & theirs:
                log.warning(
                    "worker %s leaves the run: another RemoteOptimizer of its model takes its place",
                    other._session.client.worker_id,
                )
                other._leave("another RemoteOptimizer of its model took its place", hurry=True)

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
        self._leave("done" if error is None else f"{type(error).__name__}: {error}", hurry=error is not None)
        return False

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Refuse to be pickled or copied."""
        raise UsageError(
            "RemoteOptimizer: cannot be pickled or copied, since it is one process's place in a run; want its "
            "state_dict(), which another RemoteOptimizer loads"
        )

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Refuse: what a run trains is settled when the first worker joins."""
        if hasattr(self, "_session"):
            raise UsageError(
                "add_param_group: the run's tensors are settled at joining; give param_groups at construction"
            )
        super().add_param_group(param_group)

    def state_dict(self) -> dict[str, Any]:
        """Return torch's state, the version held, the residual memory and the local optimizer's state."""
        residual = torch.from_numpy(self._uplink.memory).clone()
        state = {**super().state_dict(), "version": self.version, "residual": residual}
        return state if self.local is None else {**state, "local": self.local.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the residual memory and the local optimizer's state of an earlier process of this worker.

        Weights, version and learning rates are not taken: they are the run's.

        Raises:
            UsageError: it is no state of a RemoteOptimizer of this model, or not finite; nothing has changed then.
        """
        residual, local = checked_state(state_dict, self._uplink.memory.size, self.local)
        if self.local is not None:
            self.local.load_state_dict({**self.local.state_dict(), "state": local})
        self._uplink.memory[:] = residual

    def _check_taking_part(self, what: str) -> None:
        """Raise UsageError in a process forked from the one that joined, and after leaving."""
        if self._session.process != os.getpid():
            raise UsageError(
                f"{what}: got a call in process {os.getpid()}, which was forked from the worker, process "
                f"{self._session.process}; want it there, or a RemoteOptimizer made in this process"
            )
        if self._session.left:
            raise UsageError(
                f"{what}: this worker has left the run: {self._session.left}; want a new RemoteOptimizer to go on"
            )

    def _begin_local_steps(self) -> None:
        if self._local is not None:
            self._local.begin(self.version)

    def _check_groups(self) -> None:
        for index, (group, before) in enumerate(zip(self.param_groups, self._options, strict=True)):
            now = options_of(group)
            if now != before:
                raise UsageError(
                    f"param_groups[{index}]: options changed from {before} to {now} after joining, want the schedule "
                    "to be the server's"
                )

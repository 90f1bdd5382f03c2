"""RemoteOptimizer: a torch optimizer whose step() is a round of a parameter server."""

import logging
import math
import os
import socket
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import nn

from gradwire_common.budget import BudgetEncoder
from gradwire_common.buffers import BufferSchedule
from gradwire_common.coefficients import to_coefficients
from gradwire_common.config import AUTO
from gradwire_common.errors import RunEndedError, UsageError
from gradwire_common.manifest import Role
from gradwire_common.method import BITS_MAX, Allocation, QuantizerName, TransformName
from gradwire_common.update import EncodeReport, UpdateEncoder, add_update
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_common.warming import warm_kernels
from gradwire_common.wire import method_from_message
from gradwire_worker.budget import frames_budget, most_useful, push_budget
from gradwire_worker.client import Client
from gradwire_worker.gradients import FlatModel, Group, manifest_of
from gradwire_worker.membership import Membership
from gradwire_worker.options import ParameterGroup, checked_overrides, options_of, overridden
from gradwire_worker.pending import PendingPush
from gradwire_worker.replica import Replica
from gradwire_worker.residual import ResidualMemory
from gradwire_worker.state import SUFFIX, Pushed, WorkerState, load_or_warn
from gradwire_worker.step_report import StepReport, step_times

log = logging.getLogger("gradwire")


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
        slot, slots: this worker's shard, and how many there are.
        rounds: the run ends at this version; 0 for a run without end.
        evaluate_every: rounds between evaluations that the server asks for; 0 for none.
        ended: whether the run is over.
        method: how pushes are coded.
        resumed: the round whose push was repeated from this worker's own checkpoint; 0 for none.
        last_step: what the last step did; None before the first.
    """

    def __init__(
        self,
        model: nn.Module,
        server: str = "127.0.0.1:50051",
        *,
        param_groups: Sequence[Group] | None = None,
        bits: float | Literal["auto"] | None = None,
        quantizer: QuantizerName | None = None,
        gamma: float | None = None,
        transform: TransformName | None = None,
        allocation: Allocation | None = None,
        worker_id: str | None = None,
        slot: int | None = None,
        settings: Mapping[str, str] | None = None,
        patience: float = 60.0,
        state: str | Path | None = None,
        pace: bool = True,
    ):
        """Join the run; upload the model's weights if the server has none, load the server's otherwise.

        Args:
            model: what is trained; on any device.
            server: "host:port".
            param_groups: as for torch.optim: dicts of "params" and options that differ from the server's, such as
                weight_decay=0. Parameters in none of them are frozen.
            bits: bits per entry, or "auto" for what the link allows; implies the uniform quantiser.
            quantizer: as in the settings; None for what the server says, here and in the next three.
            gamma: decay of the residual memory.
            transform: orthonormal transform before quantising.
            allocation: "common" or "per-tensor".
            worker_id: the same id takes the old place again; made up when None.
            slot: the shard wanted; the lowest free one when None.
            settings: what all workers of the run must share; the first worker's count.
            state: folder of this worker's own checkpoint, by its `worker_id`: after a kill it goes on from there, its
                residual, buffers and torch's random state included.
            patience: seconds to go on trying to reach a server that does not answer.
            pace: whether to send no faster than the server's limit, rather than be slowed by it.

        Raises:
            UsageError: a model, option or setting that cannot be; JoinError where the server refuses it.
            UnavailableError: the server could not be reached.
        """
        if not isinstance(model, nn.Module):
            raise UsageError(
                f"model: got {type(model).__name__}, want the torch.nn.Module itself, whose names and buffers matter"
            )
        overrides = checked_overrides(
            bits=bits, quantizer=quantizer, gamma=gamma, transform=transform, allocation=allocation
        )
        if param_groups is not None:
            param_groups = [{**group, "params": list(group["params"])} for group in param_groups]
        manifest = manifest_of(model, param_groups)
        trained = {spec.name for spec in manifest.tensors if spec.role is Role.PARAMETER}
        groups = param_groups or [{"params": [p for name, p in model.named_parameters() if name in trained]}]
        super().__init__([ParameterGroup(group) for group in groups], {})
        self._options = [options_of(group) for group in self.param_groups]

        warm_kernels()  # before joining: no round waits for a compiler
        client = Client(
            server, worker_id or _new_worker_id(), manifest, settings=settings, slot=slot, patience=patience, pace=pace
        )
        self._flat = FlatModel(model, manifest)
        replica = Replica(manifest.layout, self._flat.new_vector(manifest.layout.size))
        self._member = Membership(client, replica)
        self._finalizer = weakref.finalize(self, self._member.leave, "its process ended")
        reply = self._member.enter(self._flat.read_weights)
        try:
            self.method = overridden(method_from_message(reply.method), overrides)
            self._check_limits()
            self._encoder = UpdateEncoder(manifest.layout, self.method)
            self._spender = BudgetEncoder(self._encoder)
            layout = manifest.layout
            self._u = self._flat.new_vector(layout.n_parameters + layout.n_buffers)
            self._memory = ResidualMemory(self._flat.new_vector(layout.n_parameters), self.method.gamma)
            self._loaded = dict.fromkeys(Role, -1)
            self._buffers = BufferSchedule(reply.buffers_every, reply.rounds)
            self.version, self.resumed = -1, 0
            self._load()
            self._state_file = None if state is None else Path(state) / f"{client.worker_id}{SUFFIX}"
            if self._state_file is not None:
                self._resume(self._state_file)
        except BaseException:
            self.leave("could not begin")
            raise
        self.slot, self.slots, self.rounds = reply.slot, reply.slots, reply.rounds
        self.evaluate_every = reply.evaluate_every
        self.last_step: StepReport | None = None
        self._computed = math.inf  # seconds, of the step before
        self._stepped = time.perf_counter()
        log.info(
            "joined run %r at %s as slot %d of %d, at version %d",
            reply.run,
            server,
            self.slot,
            self.slots,
            self.version,
        )

    @property
    def ended(self) -> bool:
        """Whether the run is over: no further step can count."""
        return self._member.ended

    @torch.no_grad()
    def step(
        self,
        closure: Callable[[], Any] | None = None,
        *,
        samples: int = 1,
        loss: float | torch.Tensor | None = None,
    ) -> Any:
        """Push the gradients, wait for the round to close, load the new weights.

        Args:
            closure: computes gradients and returns the loss, as for torch.optim.
            samples: how many samples the gradients are the mean of: their weight in the round, at least 1.
            loss: mean training loss for the server's records; the closure's where there is one.

        Returns:
            What the closure returned.

        Raises:
            NonFiniteError: a gradient or buffer is not finite; names it. Nothing was pushed.
            RunEndedError: the run is over.
            UsageError: samples, parameter groups or frozen parameters are not what they must be.
            UnavailableError: the server could not be reached for too long.
        """
        returned = None
        if closure is not None:
            with torch.enable_grad():
                returned = closure()
            loss = returned if loss is None else loss
        if isinstance(samples, bool) or int(samples) != samples or samples < 1:
            raise UsageError(f"samples: got {samples!r}, want a whole number of at least 1")
        self._check_groups()
        if self.ended:
            raise self._member.run_ended()
        self._flat.synchronize()
        began = time.perf_counter()
        self._round(int(samples), _number(loss), began - self._stepped, began)
        self._stepped = time.perf_counter()
        return returned

    def report(self, count: int, correct: int, loss_sum: float) -> None:
        """Report an evaluation of the weights held on this worker's part of the test data.

        Args:
            count: test samples looked at.
            correct: how many of them were right.
            loss_sum: sum of their losses.
        """
        self._member.client.report(self.version, count, correct, loss_sum)
        self._stepped = time.perf_counter()  # an evaluation is no part of the next step

    def leave(self, reason: str = "done") -> None:
        """Leave the run; no round waits for this worker any more. `with` does it."""
        self._finalizer.detach()
        self._member.leave(reason)

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
        self.leave("done" if error is None else f"{type(error).__name__}: {error}")
        return False

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Refuse: what a run trains is settled when the first worker joins."""
        if hasattr(self, "_member"):
            raise UsageError(
                "add_param_group: the run's tensors are settled at joining; give param_groups at construction"
            )
        super().add_param_group(param_group)

    def state_dict(self) -> dict[str, Any]:
        """Return torch's state, the version held and the residual memory."""
        residual = torch.from_numpy(self._memory.values).clone()
        return {**super().state_dict(), "version": self.version, "residual": residual}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the residual memory of an earlier process of this worker; weights and version are the server's.

        Raises:
            UsageError: the residual is not of this model.
        """
        residual = state_dict.get("residual")
        want = [self._memory.values.size]
        if residual is not None:
            if list(residual.shape) != want:
                raise UsageError(f"state_dict: residual has shape {list(residual.shape)}, want {want}")
            self._memory.values[:] = residual.cpu().numpy()

    def _round(self, samples: int, loss: float, compute: float, began: float) -> None:
        """Push for the next round and load what becomes of it."""
        layout, n = self._flat.layout, self._flat.layout.n_parameters
        round_ = self.version + 1
        with_buffers = bool(layout.buffers) and self._buffers.due(round_)
        self._flat.read_gradients(self._u)
        if with_buffers or (layout.buffers and self._state_file is not None):
            self._flat.read_buffers(self._u)
        copied = time.perf_counter()
        to_coefficients(self._u, layout, self.method.transform)
        self._memory.add_to(self._u[:n])
        report = EncodeReport()
        budget = self._budget(compute, with_buffers)
        frames = self._encode(budget, with_buffers, report)
        first = next(frames)  # what cannot be pushed is refused here, with nothing sent or lost

        push = PendingPush(pb.PUSH_KIND_GRADIENT, round_, self.version, samples, with_buffers, self.method.transform)
        sending = self._member.client.push(push)
        counted, weight = False, 1.0
        try:
            push.append(first)
            for frame in frames:
                push.append(frame)
            times = step_times(
                compute=compute,
                copy=copied - began,
                fit=report.fit_seconds,
                encode=report.encode_seconds,
                last=self.last_step,
            )
            if self._state_file is not None:
                self._save(push, loss)
            push.close(loss, times, budget)  # from here on it may count
            encoded = time.perf_counter()
            receipt = sending.receipt()
            counted = push.counted(receipt)
            weight = 1.0 if receipt.verdict != pb.VERDICT_LATE else self._member.client.reply.late_weight
        finally:
            if not counted:
                sending.cancel()
                self._memory.keep(self._u[:n], weight)
        received = time.perf_counter()
        self._member.wait_for(round_)
        self._load()
        if self.version < round_:
            raise self._member.run_ended()
        self.last_step = StepReport(
            round=round_,
            version=self.version,
            counted=counted,
            samples=samples,
            loss=loss,
            compute=compute,
            copy=copied - began,
            fit=report.fit_seconds,
            encode=report.encode_seconds,
            send=received - encoded,
            wait=time.perf_counter() - received,
            n_bytes=report.n_bytes,
            wire_bytes=push.wire_bytes,
            bits_per_entry=8 * push.wire_bytes / n,
            step_size=report.step,
            budget=budget,
        )

    def _budget(self, compute: float, with_buffers: bool) -> int:
        """Return the bytes on the wire that this push may take; 0 where it has no budget.

        Of this step's time to compute and the last one's the shorter counts: one that was held up is no pace.
        """
        idle, self._computed = min(compute, self._computed), compute
        if not self.method.auto:
            return 0
        client, layout = self._member.client, self._flat.layout
        most = most_useful(layout.n_parameters, layout.n_buffers if with_buffers else 0, client.chunk_bytes)
        return min(push_budget(client.limits, idle), most)

    def _encode(self, budget: int, with_buffers: bool, report: EncodeReport) -> Iterator[bytes]:
        """Yield the frames of u; whole ones that fit the budget, where there is any."""
        residual = self._memory.values
        if not budget:
            bits = BITS_MAX if self.method.auto else None
            return self._encoder.encode(self._u, residual, with_buffers=with_buffers, report=report, bits=bits)
        room = frames_budget(budget, self._member.client.chunk_bytes)
        return iter(self._spender.encode(self._u, residual, room, with_buffers=with_buffers, report=report))

    def _check_limits(self) -> None:
        if self.method.auto and not self._member.client.limits.share_up:
            raise UsageError(
                f"bits: got {AUTO!r}, but server {self._member.client.server} sets no rate_up; want one, which "
                "budgets are made of, or a number of bits per entry"
            )

    def _load(self) -> None:
        """Bring the replica's newest tensors into the model."""
        with self._member.held() as replica:
            newest = {
                Role.PARAMETER: replica.version,
                Role.BUFFER: replica.buffers_version,
                Role.FROZEN: replica.snapshot_version,
            }
            # between averages, buffers are the worker's own, whatever a snapshot holds
            if self._loaded[Role.BUFFER] >= 0:
                newest[Role.BUFFER] = self._buffers.newest(newest[Role.BUFFER])
            for role, version in newest.items():
                if version > self._loaded[role]:
                    self._flat.load(replica.values, [role])
                    self._loaded[role] = version
            self._flat.synchronize()
            self.version = replica.version

    def _save(self, push: PendingPush, loss: float) -> None:
        """Write this worker's own checkpoint; where that fails, a restarted worker goes on without its residual."""
        if self._state_file is None:
            return
        n = self._flat.layout.n_parameters
        run_id, step = self._member.client.reply.run_id, self._encoder.step
        pushed = Pushed(run_id, push.round, push.samples, push.with_buffers, push.transform, loss, step)
        state = WorkerState(
            pushed, push.frames(), self._memory.values, self._u[n:], torch.random.get_rng_state().numpy()
        )
        try:
            state.save(self._state_file)
        except OSError as error:
            log.warning("%s: not written: %s", self._state_file, error)

    def _resume(self, file: Path) -> None:
        """Go on from this worker's own checkpoint, if it is of this run: repeat its newest push, byte for byte."""
        client = self._member.client
        state = load_or_warn(file, client.reply.run_id)
        if state is None:
            return
        told, n = state.pushed, self._flat.layout.n_parameters
        want = (n, self._flat.layout.n_buffers)
        if (state.residual.size, state.buffers.size) != want or told.round > self.version + 1:
            log.warning("%s: does not fit version %d of this run and is left out", file, self.version)
            return
        self._memory.values[:] = state.residual
        self._encoder.step = told.step
        push = PendingPush(
            pb.PUSH_KIND_GRADIENT, told.round, told.round - 1, told.samples, told.with_buffers, told.transform
        )
        push.append(state.frames)
        push.close(told.loss)
        try:
            receipt = client.push(push).receipt()
            if not push.counted(receipt):
                self._u[:] = 0
                add_update(state.frames, self._flat.layout.pushed(told.with_buffers), 1.0, self._u)
                self._memory.keep(self._u[:n] + state.residual, client.reply.late_weight)
            self._member.wait_for(told.round)
        except RunEndedError as error:
            log.info("%s", error)
        self._load()
        if self._buffers.newest(self.version) < told.round and state.buffers.size:
            values = np.zeros(self._flat.layout.size, np.float32)
            values[n : n + state.buffers.size] = state.buffers
            self._flat.load(values, [Role.BUFFER])
        self.resumed = told.round
        torch.random.set_rng_state(torch.from_numpy(state.random.copy()))
        log.info("went on after the push for round %d, at version %d", told.round, self.version)

    def _check_groups(self) -> None:
        for index, (group, before) in enumerate(zip(self.param_groups, self._options, strict=True)):
            now = options_of(group)
            if now != before:
                raise UsageError(
                    f"param_groups[{index}]: options changed from {before} to {now} after joining, want the schedule "
                    "to be the server's"
                )


def _number(loss: float | torch.Tensor | None) -> float:
    if loss is None:
        return float("nan")
    return float(loss.item() if isinstance(loss, torch.Tensor) else loss)


def _new_worker_id() -> str:
    return f"{socket.gethostname()}-{os.getpid()}-{os.urandom(2).hex()}"

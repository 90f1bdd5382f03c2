"""How a worker keeps its own checkpoint, and how a process that comes after a kill goes on from it."""

import logging
from pathlib import Path

import numpy as np
import torch

from gradwire_common.errors import RunEndedError
from gradwire_common.manifest import Role
from gradwire_common.update import add_update
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_worker.gradients import FlatModel
from gradwire_worker.loader import Loader
from gradwire_worker.local_steps import LocalSteps
from gradwire_worker.membership import Membership
from gradwire_worker.pending import PendingPush
from gradwire_worker.state import Pushed, WorkerState, load_or_warn
from gradwire_worker.uplink import Uplink

log = logging.getLogger("gradwire")


class OwnCheckpoint:
    """The file in which a worker's newest push is, and what its next ones depend on."""

    def __init__(
        self, file: Path, member: Membership, flat: FlatModel, uplink: Uplink, loader: Loader, local: LocalSteps | None
    ):
        self._file = file
        self._member = member
        self._flat = flat
        self._uplink = uplink
        self._loader = loader
        self._local = local

    def save(self, push: PendingPush, loss: float) -> None:
        """Write all frames of `push`; where that fails, a restarted worker goes on without its residual."""
        run_id, uplink = self._member.client.reply.run_id, self._uplink
        coding = (uplink.step_size, uplink.overhead)
        state = WorkerState(
            Pushed(run_id, push.round, push.samples, push.with_buffers, push.transform, loss, *coding),
            push.frames(),
            self._uplink.memory.values,
            self._uplink.buffers,
            torch.random.get_rng_state().numpy(),
            *(self._local.state() if self._local is not None else ()),
        )
        try:
            state.save(self._file)
        except OSError as error:
            log.warning("%s: not written: %s", self._file, error)

    def resume(self) -> int:
        """Repeat the newest push byte for byte, and take up the state after it; return its round, 0 for none.

        A file that is missing, damaged, of another run or of another model is left out.
        """
        state = load_or_warn(self._file, self._member.client.reply.run_id)
        if state is None:
            return 0
        told, layout = state.pushed, self._flat.layout
        want = (layout.n_parameters, layout.n_buffers)
        version = self._loader.version
        if (state.residual.size, state.buffers.size) != want or told.round > version + 1:
            log.warning("%s: does not fit version %d of this run and is left out", self._file, version)
            return 0
        self._uplink.memory.values[:] = state.residual
        self._uplink.step_size, self._uplink.overhead = told.step, told.overhead
        try:
            self._member.wait_for(self._repeat(state))
        except RunEndedError as error:
            log.info("%s", error)
        self._loader.load()
        if self._loader.buffers_version < told.round and state.buffers.size:
            self._load_buffers(state)
        if self._local is not None:
            self._local.load_state(state.local, state.local_told)
        torch.random.set_rng_state(torch.from_numpy(state.random.copy()))
        log.info("went on after the push for round %d, at version %d", told.round, self._loader.version)
        return told.round

    def _repeat(self, state: WorkerState) -> int:
        """Push the same frames; where they come too late to count, they join the residual. Return what to wait for."""
        told, client = state.pushed, self._member.client
        push = PendingPush(
            pb.PUSH_KIND_GRADIENT, told.round, told.round - 1, told.samples, told.with_buffers, told.transform
        )
        push.append(state.frames)
        push.close(told.loss)
        receipt = client.push(push).receipt()
        if not push.counted(receipt):
            self._uplink.entries[:] = 0
            add_update(state.frames, self._flat.layout.pushed(told.with_buffers), 1.0, self._uplink.entries)
            self._uplink.memory.keep(self._uplink.u + state.residual, client.reply.late_weight)
        return receipt.version

    def _load_buffers(self, state: WorkerState) -> None:
        n = self._flat.layout.n_parameters
        values = np.zeros(self._flat.layout.size, np.float32)
        values[n : n + state.buffers.size] = state.buffers
        self._flat.load(values, [Role.BUFFER])

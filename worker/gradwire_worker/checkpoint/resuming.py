"""How a worker keeps its own checkpoint, and how a process that comes after a kill continues from it."""

import json
import logging
from pathlib import Path

import numpy as np
import torch

from gradwire_common.errors import RunEndedError
from gradwire_common.layout.manifest import Role
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_worker.checkpoint.state import Pushed, WorkerState, load_or_warn
from gradwire_worker.compute.compute import F32
from gradwire_worker.compute.flat_model import FlatModel
from gradwire_worker.compute.loader import Loader
from gradwire_worker.session.pending import PendingPush
from gradwire_worker.session.session import Session
from gradwire_worker.sources.frame_source import FrameSource
from gradwire_worker.uplink import Uplink

log = logging.getLogger("gradwire")


class OwnCheckpoint:
    """The file in which a worker's newest push is, and what its next ones depend on."""

    def __init__(
        self, file: Path, session: Session, flat: FlatModel, uplink: Uplink, loader: Loader, source: FrameSource
    ):
        self._file = file
        self._session = session
        self._flat = flat
        self._uplink = uplink
        self._loader = loader
        self._source = source

    def save(self, push: PendingPush, loss: float, *, in_hand: bool = False) -> None:
        """Write all frames of `push`; where that fails, a restarted worker continues without its residual.

        Args:
            push: the newest.
            loss: mean training loss of its step.
            in_hand: whether the next gradients are of the weights that the model holds now, rather than of those that
                the push is a part of.
        """
        run_id, uplink, layout = self._session.client.reply.run_id, self._uplink, self._flat.layout
        weights = np.empty(layout.n_parameters if in_hand else 0, np.float32)
        if in_hand:
            self._flat.read_parameters(weights)
            self._flat.read_buffers(uplink.entries)
        state = WorkerState(
            Pushed(
                run_id,
                push.round,
                push.samples,
                push.with_buffers,
                push.family,
                loss,
                self._loader.version,
                json.dumps(push.options),
            ),
            push.frames(),
            uplink.memory,
            uplink.buffers,
            torch.random.get_rng_state().numpy(),
            weights,
            *self._source.state(),
            uplink.encoder.state(),
        )
        try:
            state.save(self._file)
        except OSError as error:
            log.warning("%s: not written: %s", self._file, error)

    def resume(self, *, delay: int = 0) -> tuple[int, PendingPush | None]:
        """Take up the state after the newest push, which is repeated byte for byte.

        A file that is missing, damaged, of another run or of another model is left out.

        Args:
            delay: 1 where the round of a push need not be waited for.

        Returns:
            The push's round, 0 for none; and the push, where it is still to be sent, the model holding the weights from
            before it. Otherwise it has been, and the model holds the newest.
        """
        state = load_or_warn(self._file, self._session.client.reply.run_id)
        if state is None:
            return 0, None
        told, layout = state.pushed, self._flat.layout
        want = (layout.n_parameters, layout.n_buffers)
        version = self._loader.version
        sizes = (state.residual.size, state.buffers.size)
        random = torch.random.get_rng_state().numel()
        fits = sizes == want and state.random.size == random and state.weights.size in (0, layout.n_parameters)
        if not fits or told.round > version + 1:
            log.warning("%s: does not fit version %d of this run and is left out", self._file, version)
            return 0, None
        self._uplink.memory[:] = state.residual
        self._uplink.encoder.load_state(state.encoder)
        push = _push_of(state)
        under_way = delay and state.weights.size and version <= told.round != self._session.client.reply.rounds
        if under_way:
            self._uplink.recall(state.frames, with_buffers=told.with_buffers)
            self._loader.hold(self._all_of(state), told.held)
        else:
            self._wait_for(push)
            if self._loader.buffers_version < told.round and state.buffers.size:
                self._flat.load(self._all_of(state), [Role.BUFFER])
        self._source.load_state(state.local, state.local_told)
        torch.random.set_rng_state(torch.from_numpy(state.random.copy()))
        log.info("went on after the push for round %d, at version %d", told.round, self._loader.version)
        return told.round, push if under_way else None

    def _wait_for(self, push: PendingPush) -> None:
        """Send a push and load what became of its round; where it comes too late to count, it joins the residual."""
        client = self._session.client
        try:
            receipt = self._session.send(push).receipt()
            if not push.counted(receipt):
                self._uplink.recall(push.frames(), with_buffers=push.with_buffers)
                self._uplink.remember(client.reply.late_weight)
            self._session.wait_for(receipt.version)
        except RunEndedError as error:
            log.info("%s", error)
        self._loader.load()

    def _all_of(self, state: WorkerState) -> F32:
        """Return parameters and buffers of a state at their places in a vector of all weights, (size,)."""
        values = np.zeros(self._flat.layout.size, np.float32)
        n = self._flat.layout.n_parameters
        values[: state.weights.size] = state.weights
        values[n : n + state.buffers.size] = state.buffers
        return values


def _push_of(state: WorkerState) -> PendingPush:
    """Return the push of a state, complete."""
    told = state.pushed
    push = PendingPush(
        pb.PUSH_KIND_GRADIENT,
        told.round,
        told.round - 1,
        told.samples,
        told.with_buffers,
        told.family,
        tuple(json.loads(told.options)),
    )
    push.append(state.frames)
    push.close(told.loss)
    return push

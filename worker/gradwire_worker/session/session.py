"""A worker's place in a run: joined, its replica kept up to date and its heart beating by two threads of its own."""

import logging
import os
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt

from gradwire_common.errors import GradwireError, RunEndedError
from gradwire_common.layout.manifest import Manifest
from gradwire_common.methods.frames import encode_exact, rounded
from gradwire_common.methods.method import Method
from gradwire_common.transport.address import Address
from gradwire_common.transport.wire import method_from_message
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_worker import interrupts
from gradwire_worker.session.client import DONE
from gradwire_worker.session.following import Following
from gradwire_worker.session.options import AS_THEY_ARE, SessionOptions
from gradwire_worker.session.pending import PendingPush
from gradwire_worker.session.replica import NO_VERSION, Replica
from gradwire_worker.session.sending import Sending
from gradwire_worker.session.transfer import Transfer

F32 = npt.NDArray[np.float32]

log = logging.getLogger("gradwire")


def reason_of(error: BaseException | None) -> str:
    """Return why a worker leaves whose block ended with `error`, or by itself."""
    if error is None:
        return DONE
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


class Session:
    """A worker's part in a run, from joining to leaving. `join` makes one.

        with Session.join("host:50051", manifest, lambda: weights) as session:
            while not session.ended:
                gradient = ...                               # of session.replica.values, in layout order
                session.push(encoder.encode(gradient), samples=64)

    Attributes:
        client: the calls to the server, and what it last told.
        replica: the weights; written by the watching thread: read it under `held`, or while no round can close.
        process: that joined; in others, forked from it, nothing of this works.
        left: why this worker left the run; empty while it has not.
    """

    def __init__(
        self,
        server: str | Address,
        manifest: Manifest,
        options: SessionOptions,
        replica: Replica,
        show: Callable[[str], None],
    ):
        self._following = Following(server, manifest, options, replica, show)
        self._precision = options.initial_precision
        self.client = self._following.client
        self.replica = replica
        self.process = os.getpid()
        self.left = ""

    @classmethod
    def join(
        cls,
        server: str | Address,
        manifest: Manifest,
        initial_weights: Callable[[], F32],
        options: SessionOptions | None = None,
        replica: Replica | None = None,
        show: Callable[[str], None] = lambda _: None,
    ) -> Self:
        """Join the run at `server`; upload `initial_weights()` where it has none, else get what differs of its weights.

        Args:
            server: "host:port", or "host" for its port 50051.
            manifest: names and shapes of what is trained.
            initial_weights: gives (manifest.layout.size,) float32 in layout order.
            options: how the worker takes part.
            replica: what holds the weights; one with memory of its own when None.
            show: is given lines for people while weights travel: bytes of bytes, rate, time left.

        Raises:
            GradwireError: why the worker cannot take part.
        """
        session = cls(server, manifest, options or SessionOptions(), replica or Replica(manifest.layout), show)
        with interrupts.HELD:
            session._enter(initial_weights)
        return session

    @property
    def version(self) -> int:
        """The newest version that the replica holds, or held before the update that is being applied."""
        return self.replica.base

    @cached_property
    def method(self) -> Method:
        """How the server wants pushes to be coded. Raises ConfigError where it is not registered here."""
        return method_from_message(self.client.reply.method)

    def send(self, push: PendingPush) -> Sending:
        """Begin to send a push, whose frames may still be appended."""
        return Sending(self.client, push)

    def push(self, frames: Iterable[bytes], samples: int = 1, *, loss: float = float("nan")) -> pb.Receipt:
        """Push `frames`, one for each unit of parameters, for the next round, and wait for the version after it.

        Args:
            frames: the change to apply, coded as the run's method has it; a gradient where the server's outcome steps.
            samples: weight in the mean.
            loss: mean training loss for the server's records.

        Returns:
            The receipt, which says whether the push counted.

        Raises:
            GradwireError: what the push was refused with, or keeps further updates from coming.
            RunEndedError: the run ended without this round.
        """
        with interrupts.HELD:
            version = self.version
            push = PendingPush(pb.PUSH_KIND_GRADIENT, version + 1, version, samples, family=self.method.family)
            for frame in frames:
                push.append(frame)
            push.close(loss)
            receipt = self.send(push).receipt()
            self.wait_for(receipt.version)
            if self.version < receipt.version:
                raise self.run_ended()
            return receipt

    def wait_for(self, version: int) -> None:
        """Wait until the replica holds `version` or a later one, or the run has ended.

        Raises:
            GradwireError: what keeps further updates from coming.
        """
        self._following.wait(lambda: self.replica.version >= version)

    def wait_for_begin(self, version: int) -> None:
        """Wait until the server has begun to send `version` or a later one: frames for the round after may leave.

        Raises:
            GradwireError: what keeps further updates from coming.
        """
        self._following.wait(lambda: self.replica.announced >= version)

    def wait_for_the_end(self) -> None:
        """Wait until the replica holds the run's last version, or nothing further comes."""
        self._following.wait_for_the_end()

    def held(self) -> AbstractContextManager[Replica]:
        """Keep the replica as it is while the caller reads it: whole, unless nothing further comes."""
        return self._following.held()

    @property
    def ended(self) -> bool:
        """Whether no further push can count."""
        return self._following.ended

    def run_ended(self) -> RunEndedError:
        """Return the error for a worker that wants to take a further step."""
        reason = f" ({self.client.end})" if self.client.end else ""
        return RunEndedError(
            f"run {self.client.reply.run!r} ended at version {self.replica.base}{reason}; "
            "want no further step once optimizer.ended is true"
        )

    def leave(self, reason: str) -> None:
        """Leave the run and stop both threads; nothing happens the second time, or in a process forked from ours."""
        with interrupts.HELD:
            if self.left or os.getpid() != self.process:
                return
            self.left = reason or "no reason given"
            self._following.leave(reason)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self.leave(reason_of(error))

    def _enter(self, initial_weights: Callable[[], F32]) -> None:
        """Join and wait for the first weights. Leaves again where that fails."""
        following, replica = self._following, self.replica
        try:
            following.weights_wanted = self.client.join().weights_wanted
            replica.method = method_from_message(self.client.reply.broadcast)
            following.beat()
            if following.weights_wanted:
                self._upload(initial_weights)
            else:
                self._offer(initial_weights)
            following.watch()
            following.wait(lambda: replica.version != NO_VERSION or following.weights_wanted)
            if replica.version == NO_VERSION and self.client.end is None:
                self._upload(initial_weights)
                following.wait(lambda: replica.version != NO_VERSION)
            if replica.version == NO_VERSION:
                raise self.run_ended()
        except BaseException as error:
            self.leave(f"could not begin: {error}")
            raise

    def _offer(self, initial_weights: Callable[[], F32]) -> None:
        """Keep the worker's own weights, for the server to leave out what is the same."""
        try:
            self._following.fill(self._rounded(initial_weights()))
        except GradwireError as error:  # such weights could not be the first, but nobody asks that of this worker
            log.debug("all weights are to be sent: %s", error)

    def _rounded(self, weights: F32) -> F32:
        return weights if self._precision == AS_THEY_ARE else rounded(weights, self.client.manifest.layout)

    def _upload(self, initial_weights: Callable[[], F32]) -> None:
        """Push the first weights; where another worker's count already, the snapshot brings those."""
        self._following.weights_wanted = False
        weights = self._rounded(initial_weights())
        self._following.fill(weights)
        push = PendingPush(pb.PUSH_KIND_WEIGHTS, round=0, base_version=0, samples=0, with_buffers=True)
        sending = self.send(push)
        for frame in encode_exact(weights, self.client.manifest.layout.units):
            push.append(frame)
        push.close()
        transfer = Transfer("initial weights to the server", push.n_bytes, self._following.show)

        def look() -> None:
            transfer.done = push.wire_bytes
            transfer.look()

        receipt = sending.receipt(look)
        transfer.finish()
        if receipt.verdict == pb.VERDICT_COUNTED:
            self._following.hold(weights)

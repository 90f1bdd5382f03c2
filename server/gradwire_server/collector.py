"""From pushes to versions: whole pushes are added in order, rounds are closed, updates published.

The state is changed on the event loop; the arithmetic goes to threads, one piece at a time where it changes numbers.
"""

import asyncio
import logging
import math
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from gradwire_common.errors import GradwireError, ModelMismatchError, UsageError
from gradwire_common.manifest import Layout, Manifest
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_server.broadcast import Update
from gradwire_server.rounds import Rounds, Verdict
from gradwire_server.settings import Settings
from gradwire_server.staging import Push
from gradwire_server.training import Training

log = logging.getLogger("gradwire.server")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Contribution:
    """A whole push and what its worker told with it.

    Attributes:
        budget: bytes on the wire that it was allowed; 0 for no budget.
        spent: bytes on the wire that it took.
    """

    push: Push
    loss: float
    times: pb.StepTimes
    budget: int = 0
    spent: int = 0


class Collector:
    """Collects the pushes of the open round and turns them into the next version.

    Args:
        settings: of the run.
        rounds: which pushes count, when they are added, when the round closes.
        committed: called on the event loop with every new version's update and record, the round being committed.
        clock: seconds.
    """

    def __init__(
        self,
        settings: Settings,
        rounds: Rounds,
        committed: Callable[[Update, pb.RoundRecord], None],
        clock: Callable[[], float] = time.monotonic,
    ):
        self._settings = settings
        self._rounds = rounds
        self._committed = committed
        self._clock = clock
        self._training: Training | None = None
        self._contributions: dict[int, Contribution] = {}
        self._snapshot: Callable[[], Update | None] = lambda: None
        self._numbers = asyncio.Lock()  # held while weights or sums change
        self._stirred = asyncio.Event()  # something happened that may let the round go on
        self._pool = ThreadPoolExecutor(thread_name_prefix="gradwire-numbers")
        self._last_commit = clock()

    @property
    def training(self) -> Training:
        """The weights and their optimizer.

        Raises:
            UsageError: no worker has joined, so there is no model yet.
        """
        if self._training is None:
            raise UsageError("no worker has joined yet")
        return self._training

    @property
    def layout(self) -> Layout:
        """The layout of the run's model. Raises as `training` does."""
        return self.training.layout

    async def define(self, manifest: Manifest) -> None:
        """Make room for a model and its optimizer, in place of an earlier one.

        Raises:
            ConfigError: the optimizer does not take its parameter groups.
            ModelMismatchError: there is no room for it.
        """
        settings = self._settings
        try:
            self._training = await self._in_thread(
                Training, manifest, settings.optimizer, settings.downlink, settings.uplink.transform
            )
        except (MemoryError, ValueError) as error:
            raise ModelMismatchError(f"model of {manifest.layout.size} entries: {error}") from error

    async def take_weights(self, data: memoryview) -> Verdict:
        """Take over initial weights, if there are none yet. Raises DataError if they are damaged."""
        training = self.training
        async with self._numbers:
            if self._rounds.version is not None:
                return Verdict.DUPLICATE
            await self._in_thread(training.load, data)
            self._rounds.begin()
        self._last_commit = self._clock()
        return Verdict.COUNTED

    async def check(self, push: Push) -> None:
        """Raise BitstreamError unless every frame of `push` decodes."""
        await self._in_thread(self.training.check, push)

    def count(self, slot: int, worker: str, round_: int, contribution: Contribution) -> Verdict:
        """Let a push that has been checked count, where it may. Raises as `Rounds.verdict` does."""
        verdict = self._rounds.count(slot, worker, round_)
        if verdict is Verdict.COUNTED:
            self._contributions[slot] = contribution
            self.stir()
        return verdict

    def stir(self) -> None:
        """Look again at what the open round waits for."""
        self._stirred.set()

    async def keep_going(self, failed: Callable[[GradwireError], None]) -> None:
        """Add pushes and close rounds, for ever; `failed` is told of arithmetic that cannot go on."""
        while True:
            await self._stirred.wait()
            self._stirred.clear()
            try:
                await self._go_on()
            except GradwireError as error:
                failed(error)
            except Exception as error:
                log.exception("round %d failed", self._rounds.open_round)
                failed(GradwireError(f"round {self._rounds.open_round} failed: {error!r}"))

    async def snapshot(self) -> Update:
        """Return the newest version as a snapshot, made once for all who ask while any of them still sends it."""
        async with self._numbers:
            snapshot = self._snapshot()
            if snapshot is None or snapshot.version != self._rounds.version:
                snapshot = await self._in_thread(self.training.snapshot, self._rounds.version)
                self._snapshot = weakref.ref(snapshot)
        return snapshot

    async def at_rest(self) -> None:
        """Wait until no numbers are being changed."""
        async with self._numbers:
            pass

    async def finish(self) -> None:
        """Let the threads go, once nothing more is asked of them."""
        await self.at_rest()
        self._pool.shutdown()

    async def _go_on(self) -> None:
        """Do what can be done now: add the pushes whose turn it is, close the round if it has all."""
        while (slot := self._rounds.next_to_add) is not None:
            async with self._numbers:
                await self._in_thread(self.training.add, self._contributions[slot].push)
            self._rounds.added(slot)
        if self._rounds.may_close:
            async with self._numbers:
                await self._close(self.training)

    async def _close(self, training: Training) -> None:
        closing = self._rounds.close()
        record = _record(closing.round, [self._contributions[slot] for slot in closing.slots])
        self._contributions.clear()
        record.learning_rate = training.optimizer.learning_rate
        update = await self._in_thread(training.commit, closing.round, record.loss)
        times, now = training.take_times(), self._clock()
        record.server_times.CopyFrom(pb.ServerTimes(decode=times.decode, step=times.step, encode=times.encode))
        record.seconds = now - self._last_commit
        self._last_commit = now
        self._rounds.commit()
        self._committed(update, record)

    async def _in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)


def _record(round_: int, contributions: list[Contribution]) -> pb.RoundRecord:
    """Return the record of a round as far as its pushes tell; the loss is a mean over samples, times over workers."""
    known = [(each.push.samples, each.loss) for each in contributions if math.isfinite(each.loss)]
    samples = sum(n for n, _ in known)
    times = {
        field.name: sum(getattr(each.times, field.name) for each in contributions) / len(contributions)
        for field in pb.StepTimes.DESCRIPTOR.fields
    }
    return pb.RoundRecord(
        round=round_,
        contributors=len(contributions),
        samples=sum(each.push.samples for each in contributions),
        loss=sum(n * loss for n, loss in known) / samples if known else math.nan,
        worker_times=pb.StepTimes(**times),
        budget=sum(each.budget for each in contributions),
        spent=sum(each.spent for each in contributions if each.budget),
    )

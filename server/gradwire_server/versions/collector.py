"""From pushes to versions: whole pushes are added in order, rounds are closed, updates published.

The state is changed on the event loop; the arithmetic goes to threads, one piece at a time where it changes numbers.
"""

import asyncio
import logging
import os
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from gradwire_common.errors import GradwireError, ModelMismatchError, UsageError
from gradwire_common.layout.manifest import Layout, Manifest
from gradwire_common.transport.transfer import most_useful
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_server.aggregation.push import Push
from gradwire_server.intake.contribution import Contribution, push_record, text_of
from gradwire_server.limits.memory import Lease, Memory, usual_push
from gradwire_server.rounds.deadlines import Deadlines
from gradwire_server.rounds.schedule import Phase, Schedule, Verdict
from gradwire_server.settings import Settings
from gradwire_server.store.checkpoint import Checkpoint
from gradwire_server.store.journal import Record
from gradwire_server.store.keeper import Keeper
from gradwire_server.versions.broadcast import Update
from gradwire_server.versions.builder import VersionBuilder
from gradwire_server.versions.replay import Replayed, replay
from gradwire_server.versions.training import Training

log = logging.getLogger("gradwire.server")

T = TypeVar("T")


class Collector:
    """Collects the pushes of the open round and turns them into the next version.

    Args:
        settings: of the run.
        rounds: which pushes count, when they are added, when the round closes.
        published: called on the event loop with every new version's update, of which nothing has been made yet, and
            with whether it is taken back: something of it could not be made.
        committed: called there once all of it has been made, with its record and digest, the round being committed.
        keeper: keeps pushes and versions on the disk; None where nothing is kept.
        describe: tells what of the run belongs in a checkpoint beside the numbers.
        clock: seconds.

    Attributes:
        memory: what pushes may take of it.
        deadlines: of rounds.
        update_budget: tells the bytes of frames that the next update may take (bits_down auto); 0 for no limit.
    """

    def __init__(
        self,
        settings: Settings,
        rounds: Schedule,
        published: Callable[[Update, bool], None],
        committed: Callable[[Update, pb.RoundRecord, int], None],
        keeper: Keeper | None = None,
        describe: Callable[[], dict[str, Any]] = dict,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._settings = settings
        self._rounds = rounds
        self._committed = committed
        self._keeper = keeper
        self._describe = describe
        self._clock = clock
        self._training: Training | None = None
        self.memory = Memory(0, 0)
        self._contributions: dict[int, Contribution] = {}
        self._leases: dict[int, Lease] = {}  # of those that have not been added
        self._snapshot: Callable[[], Update | None] = lambda: None
        self._numbers = asyncio.Lock()  # held while weights or sums change
        self._arriving = asyncio.Lock()  # held while a push is kept and counted, where the order of both matters
        self._stirred = asyncio.Event()  # something happened that may let the round go on
        self._pool = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="gradwire-numbers")
        self._builder = VersionBuilder(self._in_thread, published, keeper, clock)
        self._opened = clock()
        self._opened_round = 0  # the round that began at `_opened`
        limits, n = settings.limits, settings.workers
        self.deadlines = Deadlines(settings.deadline, limits.share_up(n), limits.share_down(n))
        self.update_budget: Callable[[], int] = lambda: 0

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
            ConfigError: the optimizer does not take its parameter groups, or a push takes more memory than is allowed.
            ModelMismatchError: there is no room for it.
        """
        settings, layout = self._settings, manifest.layout
        usual = usual_push(layout, settings.uplink)
        memory = Memory(settings.memory_for_pushes(layout), usual, lambda: self._rounds.first_awaited)
        try:
            self._training = await self._in_thread(Training, manifest, settings)
        except (MemoryError, ValueError) as error:
            raise ModelMismatchError(f"model of {layout.size} entries: {error}") from error
        self.memory = memory
        n_bytes = settings.uplink.nominal_bits * layout.n_parameters / 8
        if settings.uplink.auto:
            n_bytes = min(n_bytes, self.deadlines.rate * settings.transfer_seconds + settings.limits.burst)
        self.deadlines.expect(int(n_bytes))

    async def take_weights(self, data: memoryview) -> Verdict:
        """Take over initial weights, if there are none yet. Raises DataError if they are damaged."""
        training = self.training
        async with self._numbers:
            if self._rounds.version is not None:
                return Verdict.DUPLICATE
            await self._in_thread(training.load, data)
            if self._keeper is not None:
                await self._keeper.begin(await self._state(0))
            self._rounds.begin()
        self._builder.begin()
        return Verdict.COUNTED

    async def check(self, data: memoryview, with_buffers: bool) -> int:
        """Return the digest of a push's frames. Raises BitstreamError unless every one of them decodes."""
        return await self._in_thread(self.training.check, data, with_buffers)

    async def keep(self, slot: int, contribution: Contribution) -> None:
        """Bring a push that has been checked to the disk. Raises UnavailableError where that cannot be done now."""
        if self._keeper is not None:
            await self._keeper.push(push_record(slot, contribution))

    async def arrive(self, slot: int, contribution: Contribution, lease: Lease | None = None) -> Verdict:
        """Keep a push that has been checked, and let it count, where it may; one after the other (asynchronous mode).

        So the journal has pushes in the order in which they count, and no other. It must not be cancelled. Takes over
        the `lease`. Raises as `keep` and `count` do.
        """
        try:
            async with self._arriving:
                verdict = self._rounds.verdict(slot, contribution.worker, contribution.round)
                if verdict is not Verdict.COUNTED:
                    return verdict
                await self.keep(slot, contribution)
                return self.count(slot, contribution, lease)
        finally:
            if lease is not None:
                lease.release()

    def count(self, slot: int, contribution: Contribution, lease: Lease | None = None) -> Verdict:
        """Let a push that has been checked and kept count, where it may; one that does takes over its `lease`.

        Raises as `Rounds.verdict` does.
        """
        verdict = self._rounds.count(slot, contribution.worker, contribution.round, contribution.push.digest)
        if verdict is Verdict.COUNTED:
            self._contributions[slot] = contribution
            if lease is not None:
                self._leases[slot] = lease.hand_over()
            self.deadlines.arrived(self._clock() - self._opened, len(contribution.push.data))
            self.stir()
        return verdict

    def stir(self) -> None:
        """Look again at what the open round waits for."""
        self._stirred.set()

    async def keep_going(self, failed: Callable[[GradwireError], None]) -> None:
        """Add pushes and close rounds, for ever; `failed` is told of arithmetic that cannot go on."""
        while True:
            await self._until_stirred()
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
                snapshot = Update.of(await self._in_thread(self.training.snapshot, self._rounds.version))
                self._snapshot = weakref.ref(snapshot)
        return snapshot

    async def at_rest(self) -> None:
        """Wait until no numbers are being changed."""
        async with self._numbers:
            pass

    async def resume(self, checkpoint: Checkpoint) -> Replayed:
        """Go on from a checkpoint: make the versions that the journal tells of after it, with the same bits."""
        training, keeper = self.training, self._keeper
        if keeper is None:
            raise UsageError("got a checkpoint to resume from, but nothing is kept of this run")
        training.load_state(checkpoint.tensors, checkpoint.meta["training"])
        replayed = await replay(training, checkpoint, keeper.records_after, self._in_thread, queues=self._rounds.queues)
        self._builder.begin()
        return replayed

    async def finish(self, *, failed: bool = False) -> None:
        """Let the threads go, once nothing more is asked of them; leave a checkpoint of the last version."""
        await self.at_rest()
        if self._keeper is not None:
            known = self._rounds.version is not None and not failed
            await self._keeper.close(await self._state(self._rounds.version or 0) if known else None, self._waiting())
        self._pool.shutdown()

    async def _state(self, version: int, closing: pb.RoundRecord | None = None) -> Checkpoint:
        """Return all that the run depends on; between rounds, or once all of the `closing` one is done.

        It is no copy, and good until the next round's commit.
        """
        tensors, meta = await self._in_thread(self.training.state)
        described = self._describe()
        if closing is not None:
            described["records"].append(text_of(closing))
        return Checkpoint(version, tensors, {**described, "training": meta})

    def _waiting(self) -> list[Record]:
        """Return the journal's records of pushes that count and wait to be applied (asynchronous mode)."""
        if not self._rounds.queues:
            return []
        return [push_record(slot, contribution) for slot, contribution in self._contributions.items()]

    async def _until_stirred(self) -> None:
        """Wait until something happened that may let the round go on, the passing of its deadline included."""
        seconds = self.deadlines.seconds
        waits = self._rounds.awaits_deadline and seconds is not None
        left = self._opened + seconds - self._clock() if waits and seconds is not None else None
        try:
            await asyncio.wait_for(self._stirred.wait(), left)
        except TimeoutError:
            log.info("round %d: the deadline of %.1f s has passed", self._rounds.open_round, seconds)
            self._rounds.pass_deadline()
        self._stirred.clear()

    async def _go_on(self) -> None:
        """Do what can be done now: add the pushes whose turn it is, close the round if it has all."""
        if self._rounds.phase is Phase.COLLECTING and self._opened_round != self._rounds.open_round:
            self._opened_round, self._opened = self._rounds.open_round, self._clock()
        self.memory.look()
        while slots := self._rounds.pop_ready():
            async with self._numbers:
                await self._in_thread(self._add, [(slot, self._contributions[slot].push) for slot in slots])
            for slot in slots:
                if not self._rounds.queues:  # else a checkpoint may take them along
                    self._contributions[slot] = self._contributions[slot].without_frames()
                if slot in self._leases:
                    self._leases.pop(slot).release()
        if self._rounds.may_close:
            async with self._numbers:
                # while the numbers were in use, the run may have ended, or a push have come, which is added first
                if self._rounds.may_close and not self._rounds.has_ready:
                    await self._close(self.training)

    def _add(self, pushes: list[tuple[int, Push]]) -> None:
        for slot, push in pushes:
            self.training.add(push, slot)

    async def _close(self, training: Training) -> None:
        closing = self._rounds.close()
        pushes = [(slot, self._contributions.pop(slot)) for slot in closing.slots]
        budget = self._allowed_down(training.layout)
        update, version, record = await self._builder.build(training, closing.round, pushes, budget)
        self.deadlines.sent(update.length)
        if self._keeper is not None and self._keeper.wants_checkpoint(update.version):
            async with self._arriving:
                await self._keeper.checkpoint(await self._state(update.version, record), self._waiting())
        self._rounds.commit()
        self._committed(update, record, version.digest)
        self.stir()

    def _allowed_down(self, layout: Layout) -> int:
        """Return the bytes of frames that the next update may take; 0 where it has no budget."""
        if not self._settings.downlink.auto:
            return 0
        return min(self.update_budget(), most_useful(layout.n_parameters, layout.n_buffers))

    async def _in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)

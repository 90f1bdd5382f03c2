"""The pushes of rounds that have not closed: their memory, their place on the disk, and whether they count."""

import asyncio
import math
import time
from collections.abc import Callable, Iterable

from gradwire_common.errors import ConfigError
from gradwire_common.layout.manifest import Layout
from gradwire_common.settings.config import ServedRun
from gradwire_common.units import format_size
from gradwire_server.aggregation.push import Push
from gradwire_server.intake.contribution import Contribution, push_record
from gradwire_server.limits.limits import Limits
from gradwire_server.limits.memory import Lease, Memory, usual_push
from gradwire_server.limits.shares import memory_for_pushes
from gradwire_server.limits.streams import Stream
from gradwire_server.rounds.deadlines import Deadlines
from gradwire_server.rounds.schedule import Schedule, Verdict
from gradwire_server.store.journal import Record
from gradwire_server.store.state import Store
from gradwire_server.versions.news import News


class PushPool:
    """Lets pushes in, keeps them, and lets them count. On the event loop alone.

    Args:
        settings: settings of the run.
        schedule: which pushes count, and which is needed next.
        store: keeps pushes on the disk; None where nothing is kept.
        clock: seconds.

    Attributes:
        memory: the memory that pushes may take.
        deadlines: when a round closes with less than all pushes.
        changed: set when something happened that may let the round proceed.
        arriving: held while a push is kept and counted, where the order of both matters.
    """

    def __init__(
        self,
        settings: ServedRun,
        schedule: Schedule,
        store: Store | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._settings = settings
        self._schedule = schedule
        self._store = store
        self._clock = clock
        self._streams = True
        self._contributions: dict[int, Contribution] = {}
        self._leases: dict[int, Lease] = {}  # leases of pushes whose frames are still needed
        self._began = clock()
        self.memory = Memory(0, 0)
        self.changed = asyncio.Event()
        self._turns_called = News()
        self.arriving = asyncio.Lock()
        limits, n = Limits.of(settings), settings.workers
        self.deadlines = Deadlines(settings.deadline, limits.share_up(n), limits.share_down(n))

    def define(self, layout: Layout, *, streams: bool) -> None:
        """Size the memory for pushes of a model, where `streams` says whether they may go once added.

        Raises:
            ConfigError: pushes take more memory than is allowed.
        """
        settings, usual = self._settings, usual_push(layout, self._settings.uplink)
        capacity = memory_for_pushes(settings, layout, streams=streams)
        if not streams and settings.workers * usual > capacity:
            raise ConfigError(
                f"memory: {format_size(capacity)} for pushes is too little, since aggregation {settings.aggregation!r} "
                f"keeps all {settings.workers} of a round; want {format_size(settings.workers * usual)}"
            )
        self.memory = Memory(capacity, usual, lambda: self._schedule.first_awaited)
        self._streams = streams
        n_bytes = settings.uplink.nominal_bits * layout.n_parameters / 8
        if settings.uplink.auto:
            n_bytes = min(n_bytes, self.deadlines.rate * settings.transfer_seconds + settings.burst)
        self.deadlines.expect(int(n_bytes))

    def open_round(self) -> None:
        """Let the time of a round's deadline run from now on."""
        self._began = self._clock()

    def left(self) -> float | None:
        """Return the seconds until the deadline of the open round passes; None where none will."""
        seconds = self.deadlines.seconds
        if seconds is None or not self._schedule.awaits_deadline:
            return None
        return self._began + seconds - self._clock()

    async def admit(self, slot: int, stream: Stream | None = None) -> Lease:
        """Wait until there is memory for a push of `slot`, which `stream` brings; return the lease of it."""
        self.changed.set()
        first = 0 if self._schedule.queues else slot  # in a queue the first that comes is first
        return await self.memory.admit(first, stream)

    async def turn(self, slot: int, worker: str) -> None:
        """Wait while `worker` is ahead of its share of versions and others push, who have `silent_after` for that."""
        if not self._schedule.is_ahead(slot, worker):
            return
        try:
            async with asyncio.timeout(self._settings.silent_after):
                while self._schedule.is_ahead(slot, worker):
                    await self._turns_called.wait()
        except TimeoutError:
            self._schedule.give_up_on_others(worker)

    def call_turns(self) -> None:
        """Let those who wait for their turn look again: somebody pushed, or is gone, or the run is over."""
        self._turns_called.tell()

    def came_late(self, slot: int, worker: str) -> None:
        """Note that a push came too late to count."""
        self._schedule.came_late(slot, worker)
        self.call_turns()

    def evict(self) -> None:
        """End pushes that hold room which others wait for: those that stand still.

        Once the deadline has passed and the quorum is not there, those too that have had as long as the deadline.
        """
        now, seconds = self._clock(), self.deadlines.seconds
        self.memory.evict(now, now - seconds if self._schedule.overdue and seconds is not None else -math.inf)

    async def keep(self, slot: int, contribution: Contribution) -> None:
        """Bring a push that has been checked to the disk. Raises UnavailableError where that cannot be done now."""
        if self._store is not None:
            await self._store.push(push_record(slot, contribution))

    async def arrive(self, slot: int, contribution: Contribution, lease: Lease | None = None) -> Verdict:
        """Keep a push that has been checked, and let it count, where it may; one after the other, for a queue.

        So the journal has pushes in the order in which they count, and no other. It must not be cancelled. Takes over
        the `lease`.

        Raises:
            UnavailableError: the disk cannot be written now.
            RunEndedError: the run is over.
        """
        try:
            async with self.arriving:
                verdict = self._schedule.verdict(slot, contribution.worker, contribution.round)
                if verdict is not Verdict.COUNTED:
                    return verdict
                await self.keep(slot, contribution)
                return self.count(slot, contribution, lease)
        finally:
            if lease is not None:
                lease.release()

    def count(self, slot: int, contribution: Contribution, lease: Lease | None = None) -> Verdict:
        """Let a push that has been checked and kept count, where it may; one that does takes over its `lease`.

        Raises:
            RunEndedError: the run is over.
        """
        push = contribution.push
        verdict = self._schedule.count(slot, contribution.worker, contribution.round, push.digest, push.samples)
        if verdict is Verdict.COUNTED:
            self._contributions[slot] = contribution
            if lease is not None:
                self._leases[slot] = lease.hand_over()
            self.deadlines.arrived(self._clock() - self._began, contribution.payload)
            self.memory.expect(contribution.payload)
            self.changed.set()
            self.call_turns()
        return verdict

    def pushes(self, slots: Iterable[int]) -> list[tuple[int, Push]]:
        """Return the pushes of `slots`, which count."""
        return [(slot, self._contributions[slot].push) for slot in slots]

    def added(self, slots: Iterable[int]) -> None:
        """Let go of the frames of pushes that have been added, where they are needed no more."""
        if not self._streams:
            return
        for slot in slots:
            if not self._schedule.queues:  # else a checkpoint may take them along
                self._contributions[slot] = self._contributions[slot].without_frames()
            self._release(slot)

    def pop(self, slots: Iterable[int]) -> list[tuple[int, Contribution]]:
        """Return the pushes of `slots`, of which a version is being made, and hold them no more."""
        return [(slot, self._contributions.pop(slot)) for slot in slots]

    def release(self, slots: Iterable[int]) -> None:
        """Give back the memory of pushes of which a version has been made."""
        for slot in slots:
            self._release(slot)

    def waiting(self) -> list[Record]:
        """Return the journal's records of pushes that count and wait for a later round than the one that closes."""
        if not self._schedule.queues:
            return []
        return [push_record(slot, contribution) for slot, contribution in self._contributions.items()]

    def check_not_stuck(self) -> None:
        """Raise ConfigError where the next push can only come in once the round has closed, which waits for it."""
        if not self._streams and self.memory.is_stuck(self._leases.values()):
            raise ConfigError(
                f"memory: {format_size(self.memory.capacity)} for pushes is too little for those of round "
                f"{self._schedule.open_round}, all of which aggregation {self._settings.aggregation!r} keeps; want more"
            )

    def _release(self, slot: int) -> None:
        if slot in self._leases:
            self._leases.pop(slot).release()

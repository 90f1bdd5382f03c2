"""The versions that watchers are sent: updates in their order, or a snapshot of all weights."""

import asyncio
import weakref
from collections.abc import AsyncGenerator, Callable

import numpy as np

from gradwire_common.transport.held import equal_units, pack_marks
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_server.outcome.outcome import Version
from gradwire_server.rounds.schedule import Schedule
from gradwire_server.versions.broadcast import Broadcast, Update
from gradwire_server.versions.news import News
from gradwire_server.versions.numbers import Numbers

MAX_SNAPSHOTS = 2  # versions of which there are snapshots at once: each is as large as the model


class Versions:
    """What there is of versions for watchers.

    Args:
        schedule: tells the newest version.
        numbers: make snapshots of it.
    """

    def __init__(self, schedule: Schedule, numbers: Numbers):
        self._schedule = schedule
        self._numbers = numbers
        self._broadcast = Broadcast()
        self._snapshots: list[weakref.ref[Update]] = []  # that are still being sent, oldest first
        self._sent: weakref.WeakSet[Update] = weakref.WeakSet()  # updates that somebody may still be sent
        self._described: Version | None = None
        self._wanted = 0  # watchers that wait until a snapshot has been sent to all
        self._changed = News()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._holders = 0  # how often a worker came to hold the newest version

    @property
    def run_end(self) -> pb.RunEnd | None:
        """Why no version comes any more; None while some may."""
        return self._broadcast.run_end

    @property
    def crowded(self) -> bool:
        """Whether those who are sent old versions keep others from theirs, or as many bytes as updates may take."""
        old = sum(update.length for update in self._sent) - self._broadcast.n_bytes
        return self._wanted > 0 or old > self._broadcast.most_bytes

    def begin(self, version: int, most_bytes: int) -> bool:
        """Let watchers have `version` as a snapshot, and what comes after; keep `most_bytes` of updates.

        Returns:
            Whether it is the first; nothing happens where there is one already.
        """
        first = self._broadcast.version < 0
        if first:
            self._broadcast.begin(version, most_bytes)
        return first

    def restore(self, updates: list[Update]) -> None:
        """Let watchers have the updates of versions that were made before the server was restarted."""
        for update in updates:
            self.publish(update)
            self._broadcast.complete(update, update.digest)

    def publish(self, update: Update) -> None:
        """Let watchers have what there is of a new version."""
        self._sent.add(update)
        self._broadcast.publish(update)

    def take_back(self, update: Update) -> None:
        """Take back the newest version, of which something could not be made."""
        self._broadcast.retract(update)

    def complete(self, update: Update, digest: int) -> None:
        """Let watchers have all of the newest version."""
        self._holders = 0
        self._broadcast.complete(update, digest)

    def end(self, reason: str) -> None:
        """Let watchers know that no version comes any more. The first reason stands."""
        self._broadcast.end(reason)

    def look_again(self) -> None:
        """Let every watcher that waits be checked again."""
        self._broadcast.look_again()

    def has(self, version: int) -> bool:
        """Whether there has been such a version, so that a watcher may hold it."""
        return version <= self._broadcast.version

    def held_by_all(self, n_alive: int) -> bool:
        """Count a worker that has come to hold the newest version; return whether all `n_alive` may hold it by now."""
        self._holders += 1
        return self._holders >= n_alive

    async def after(self, version: int, check: Callable[[], None], held: bytes = b"") -> AsyncGenerator[Update, None]:
        """Yield every version after `version`, oldest first, until the run ends; a snapshot where updates are gone.

        Args:
            version: -1 for none: a snapshot comes first.
            check: raises where its watcher is to be sent no more.
            held: digests of the units that its watcher holds without a version; empty for none.

        Raises:
            DataError: `held` is of another model.
        """
        while await self._broadcast.news(version, check):
            check()
            update = self._broadcast.after(version) if version >= 0 else None
            if update is None:
                update = await self._lacking(held, has_version=version >= 0)
            version, held = update.version, b""
            yield update
            del update  # a snapshot is as large as the model

    async def _lacking(self, held: bytes, *, has_version: bool) -> Update:
        """Return the newest version as a snapshot, without what its watcher holds. Raises DataError as `after` does.

        Nothing is encoded for one that holds all. Whoever has a version has the frozen tensors of all.
        """
        described = await self._newest() if held else None
        if described is not None and equal_units(held, described.unit_digests).all():
            bare = Update.of(described)
            bare.left_out = pack_marks(np.ones(len(self._numbers.layout.units), np.bool_))
            return bare
        whole = await self.snapshot()
        layout = self._numbers.layout
        left_out = equal_units(held, whole.unit_digests) if held else np.zeros(len(layout.units), np.bool_)
        if has_version:
            left_out[len(layout.units) - len(layout.frozen) :] = True
        return whole.without(left_out)

    async def _newest(self) -> Version:
        """Return the newest version without its frames, looked at once for all who ask."""
        async with self._numbers.changing:
            number = self._schedule.version or 0
            if self._described is None or self._described.number != number:
                self._described = await self._numbers.in_thread(self._numbers.training.described, number)
            return self._described

    async def snapshot(self) -> Update:
        """Return the newest version as a snapshot, made once for all who ask while any of them still sends it.

        Where there are MAX_SNAPSHOTS of them, an older one that updates follow does; else one has to go first.
        """
        numbers = self._numbers
        while True:
            async with numbers.changing:
                self._snapshots = [each for each in self._snapshots if each() is not None]
                if (there := self._usable_snapshot()) is not None:
                    return there
                if len(self._snapshots) < MAX_SNAPSHOTS:
                    made = Update.of(await numbers.in_thread(numbers.training.snapshot, self._schedule.version))
                    self._loop = asyncio.get_running_loop()
                    self._snapshots.append(weakref.ref(made, self._one_is_gone))
                    return made
            await self._until_one_is_gone()

    def _usable_snapshot(self) -> Update | None:
        full = len(self._snapshots) >= MAX_SNAPSHOTS
        for each in reversed(self._snapshots):
            there = each()
            if there is not None and (
                there.version == self._schedule.version or (full and self._broadcast.after(there.version) is not None)
            ):
                return there
        return None

    async def _until_one_is_gone(self) -> None:
        self._wanted += 1
        try:
            await self._changed.wait()
        finally:
            self._wanted -= 1

    def _one_is_gone(self, _: weakref.ref[Update]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._changed.tell)

"""What a run is made of, and what happens in it: rounds that begin and close, versions, the end."""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import aclosing
from functools import partial

from gradwire_common.errors import GradwireError, UsageError
from gradwire_common.foreign_text import MAX_TEXT, printable
from gradwire_common.layout.manifest import Layout
from gradwire_common.settings.config import ServedRun
from gradwire_common.transport.transfer import most_useful
from gradwire_server.aggregation.privacy import Privacy
from gradwire_server.intake.called import Called
from gradwire_server.intake.membership import Membership
from gradwire_server.intake.partial import Partials
from gradwire_server.limits.limiter import Limiter
from gradwire_server.limits.limits import Limits
from gradwire_server.limits.shares import max_chunk, memory_for_updates
from gradwire_server.limits.streams import Streams
from gradwire_server.rounds.evaluations import Evaluations
from gradwire_server.rounds.finished import Finished
from gradwire_server.rounds.members import Members
from gradwire_server.rounds.registry import SCHEDULES
from gradwire_server.rounds.schedule import Phase, Schedule
from gradwire_server.rounds.schedule_settings import ScheduleSettings
from gradwire_server.rpc.progress import ProgressLog
from gradwire_server.rpc.tallies import Tallies
from gradwire_server.store.books import Books
from gradwire_server.store.records import Records
from gradwire_server.store.state import Store
from gradwire_server.supervision import Supervisor
from gradwire_server.versions.collector import Collector
from gradwire_server.versions.description import describe
from gradwire_server.versions.events import Committed, Dropped, Ended, Event, Opened, Published, TakenBack
from gradwire_server.versions.news import News
from gradwire_server.versions.numbers import Numbers
from gradwire_server.versions.versions import Versions

log = logging.getLogger("gradwire.server")

FINISHED_HEARTBEATS = 15  # that workers which have all finished may come back in: a notebook's cell that is run again


class Course:
    """The parts of a run, and what happens in it.

    Attributes:
        schedule: who is waited for, which pushes count, when a round closes.
        membership: who takes part.
        numbers: the weights and what changes them.
        collector: turns pushes into versions.
        versions: what watchers are sent.
        books: records and evaluations.
        progress: tells the log how far the run has come.
        partials: pushes that were cut.
        called: workers that wait to take part in a round.
        pushing, watching: the open streams of workers.
        store: what is on the disk; None where nothing is kept.
        over: set when the run has ended.
        failure: what it failed with.
        was_over: whether all of its rounds were done before this server began.
    """

    def __init__(
        self,
        settings: ServedRun,
        records: Records,
        store: Store | None = None,
        clock: Callable[[], float] = time.monotonic,
        tasks: Supervisor | None = None,
    ):
        self.settings = settings
        self.store = store
        self.clock = clock
        self.schedule = SCHEDULES.find(settings.mode)(ScheduleSettings.of(settings))
        self.membership = Membership(settings, self.schedule, clock)
        self.books = Books(records, Evaluations(settings.evaluate_every, settings.rounds))
        self.limiter = Limiter(Limits.of(settings), max_chunk(settings.workers), tasks)
        self.tallies = Tallies()
        self.progress = ProgressLog(settings.rounds, clock)
        self.partials = Partials()
        self.called = Called(self.schedule)
        self.pushing, self.watching = Streams("push"), Streams("stream of updates")
        self.numbers = Numbers(settings)
        self.versions = Versions(self.schedule, self.numbers)
        self.collector = Collector(
            settings,
            self.schedule,
            self.numbers,
            store,
            partial(_update_budget, settings, self.limiter, self.membership.members, self.numbers),
            partial(describe, settings, self.membership, self.schedule, records),
            clock,
            partial(_present, settings, self.membership.members, self.schedule),
        )
        self.over = asyncio.Event()
        self._opened = News()
        self.failure: GradwireError | None = None
        self.was_over = False
        self._began = clock()
        self._finished = Finished(FINISHED_HEARTBEATS * settings.heartbeat)

    @property
    def layout(self) -> Layout:
        """The layout of the run's model. Raises UsageError before the first worker has joined."""
        return self.numbers.layout

    @property
    def privacy(self) -> Privacy | None:
        """What noise in the aggregation promises; None where there is none."""
        return Privacy.of(self.settings.noise_multiplier, self.settings.privacy_delta)

    @property
    def seconds(self) -> float:
        """Seconds since there are weights."""
        return self.clock() - self._began

    async def follow(self) -> None:
        """Consume the collector's events, indefinitely. Raises what fails in a way that no GradwireError tells."""
        async with aclosing(self.collector.events()) as events:
            async for event in events:
                self._on(event)

    def _on(self, event: Event) -> None:
        match event:
            case Opened():
                self.begin(event.round - 1)
            case Published():
                self.versions.publish(event.update)
            case TakenBack():
                self.versions.take_back(event.update)
            case Dropped():
                self.membership.barred.drop(event.workers, f"round {event.round}: {event.reason}")
            case Committed():
                self.partials.drop_closed(self.schedule.closed)
                self.membership.closed(event.record.round)
                self.books.commit(event.record, self.schedule.called)
                self.progress.committed(event.record, self.books.records.newest_evaluations)
                self.tallies.close_round(event.treated)
                self.versions.complete(event.update, event.digest)
                self._opened.tell()
                self.called.look()
            case Ended(failure=GradwireError() as failure):
                self.fail(failure)
            case Ended():
                self.end(event.reason)

    def begin(self, version: int) -> None:
        """Let watchers have `version`, and what comes after, where they have none yet.

        Raises:
            UsageError: no worker has joined.
        """
        if self.versions.begin(version, memory_for_updates(self.settings, self.layout)):
            self._began = self.clock()

    async def until_open(self, round_: int) -> None:
        """Wait while the round before `round_` is being closed: parts of its version are on their way to workers."""
        while self.schedule.phase is Phase.CLOSING and round_ == self.schedule.open_round + 1:
            await self._opened.wait()

    def fail(self, error: GradwireError) -> None:
        """End the run because of `error`; the first is the one that counts."""
        log.error("the run ends: %s", error)
        self.failure = self.failure or error
        self.end(str(error))

    def end(self, reason: str) -> None:
        """End the run at the version it has; watchers are told why."""
        if self.privacy is not None and not self.over.is_set():
            log.info("%s", self.privacy.described(self.schedule.version or 0))
        self.schedule.end(reason)
        self.versions.end(printable(reason, MAX_TEXT))
        self.collector.pool.memory.open()
        self.collector.checkpoint_requests.refuse(UsageError(f"checkpoint: the run ended: {reason}"))
        self.collector.pool.call_turns()
        self.called.look()
        self.over.set()
        self._opened.tell()
        self.membership.look_for_the_last()

    async def stop(self, reason: str) -> None:
        """End the run once the round that is being closed, if any, is committed, or cannot be."""
        if self.store is not None:
            self.store.give_up()
        await self.numbers.at_rest()
        self.end(reason)

    def close_books(self) -> None:
        """Complete the books, once no call comes any more."""
        self.books.close(self.membership.members.alive, self.schedule.version or 0)

    @property
    def has_weights(self) -> bool:
        """Whether there are weights that a version of the run has."""
        return self.schedule.version is not None and self.collector.between_rounds


def _update_budget(settings: ServedRun, limiter: Limiter, members: Members, numbers: Numbers) -> int:
    """Return the bytes of frames that the slowest member is sent in the wanted seconds; 0 where there is no limit."""
    if not settings.downlink.auto:
        return 0
    alive = [member.worker_id for member in members.alive]
    budget = limiter.update_budget(alive, max(len(alive), settings.workers), settings.transfer_seconds)
    return min(budget, most_useful(numbers.layout.n_parameters, numbers.layout.n_buffers))


def _present(settings: ServedRun, members: Members, schedule: Schedule) -> dict[str, int] | None:
    """Return the slots of the workers that the next round may be of, by id; None where it is of all."""
    if not settings.sampled:
        return None
    return {member.worker_id: member.slot for member in members if member.slot in schedule.waited_for}

"""One run: members, rounds, weights and records, held together. Its pushes are taken in pushes.py."""

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncGenerator, Callable

from gradwire_common.errors import GradwireError, RunEndedError, UsageError
from gradwire_common.foreign_text import MAX_REASON, printable
from gradwire_common.layout.manifest import Manifest
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_server.intake.admission import (
    ReadManifest,
    check_has_joined,
    check_same_settings,
    check_versions,
    check_worker_id,
)
from gradwire_server.intake.partial import Partials
from gradwire_server.limits.limiter import Gates, Limiter, described
from gradwire_server.limits.pacing import Limits
from gradwire_server.rounds.evaluations import Evaluations
from gradwire_server.rounds.members import Member, Members
from gradwire_server.rounds.registry import SCHEDULES
from gradwire_server.rounds.schedule import Phase, ScheduleSettings
from gradwire_server.rounds.waits import Waits
from gradwire_server.rpc.tallies import Tallies
from gradwire_server.settings import Settings
from gradwire_server.store.keeper import Keeper
from gradwire_server.store.records import Records
from gradwire_server.store.resuming import described_run
from gradwire_server.versions.broadcast import Broadcast, Update
from gradwire_server.versions.collector import Collector

log = logging.getLogger("gradwire.server")


class Run:
    """The run that a server serves.

    Attributes:
        manifest: of the model; None before the first worker has joined.
        packed: the same, as checkpoints keep it.
        shared: settings that all workers have in common.
        keeper: of what is on the disk; None where nothing is kept.
        over: set when the run has ended.
        everyone_gone: set when it has, or somebody went, and nobody is left.
        failure: what it failed with.
        run_id: names this run and no other, however often its server is restarted.
    """

    def __init__(
        self,
        settings: Settings,
        records: Records,
        keeper: Keeper | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.settings = settings
        self.records = records
        self.members = Members(settings.workers, settings.heartbeat, lambda: secrets.token_hex(8))
        self.rounds = SCHEDULES.find(settings.mode)(
            ScheduleSettings(settings.workers, settings.rounds, settings.quorum, settings.staleness)
        )
        self.waits = Waits(self.members, self.rounds)
        self.broadcast = Broadcast()
        self.limiter = Limiter(settings.limits, settings.most_chunk)
        self.tallies = Tallies()
        self.evaluations = Evaluations(settings.evaluate_every, settings.rounds)
        self.collector = Collector(
            settings, self.rounds, self._published, self._committed, keeper, lambda: described_run(self), clock
        )
        self.collector.update_budget = self._update_budget
        self.partials = Partials()
        self.over = asyncio.Event()
        self.everyone_gone = asyncio.Event()
        self.failure: GradwireError | None = None
        self.run_id = secrets.token_hex(8)
        self.keeper = keeper
        self.manifest: Manifest | None = None
        self.packed = b""
        self._digest = b""
        self.shared: dict[str, str] = {}
        self._weights_from = ""  # the worker that was asked for initial weights
        self._joining = asyncio.Lock()
        self._holders = 0  # how often a member came to hold the newest version
        self.clock = clock
        self._began = clock()

    # ------------------------------------------------------------------------------------------------- membership

    async def join(self, request: pb.JoinRequest, packed: bytes | None = None) -> Member | None:
        """Make a worker a member; the first one's model and settings define the run.

        Args:
            request: what it asks for.
            packed: the manifest, where it came by itself.

        Returns:
            The member; None where the manifest is neither known nor given, and is wanted.

        Raises:
            WorkerIdError, JoinError, ModelMismatchError, ConfigError, RunEndedError: it may not; says what differs.
        """
        self.check_may_join(request)
        async with self._joining:
            if not await self._agree(request, packed):
                return None
            wanted = request.slot if request.HasField("slot") else None
            member = self.members.join(request.worker_id, wanted, self.clock())
        self.everyone_gone.clear()
        log.info("worker %s joined at slot %d", member.worker_id, member.slot)
        return member

    def check_may_join(self, request: pb.JoinRequest) -> None:
        """Check what costs nothing to check. Raises WorkerIdError, JoinError, RunEndedError."""
        check_worker_id(request.worker_id)
        check_versions(request)
        if self.rounds.phase is Phase.ENDED and request.worker_id not in self.members.slot_of:
            raise RunEndedError(f"the run ended at version {self.rounds.version or 0}; got a join")
        if self._defined:
            check_same_settings(self.shared, request.settings)  # first: another setting often makes another model

    @property
    def _defined(self) -> bool:
        """Whether there is a model that joining workers must have: not where all went before there were weights."""
        return self.manifest is not None and (self.rounds.version is not None or bool(self.members.alive))

    async def _agree(self, request: pb.JoinRequest, packed: bytes | None) -> bool:
        """Let the first worker define the run, and the others agree with it; return whether the manifest was there.

        A manifest may be long: it is read in another thread, and not at all where its digest is the run's.
        """
        if self._defined:
            check_same_settings(self.shared, request.settings)  # again: they may have been set meanwhile
            if request.manifest_digest == self._digest:
                return True
        if packed is None and not request.HasField("manifest"):
            return False
        got = request.manifest.SerializeToString(deterministic=True) if packed is None else packed
        run = self.manifest if self._defined else None
        read = await asyncio.to_thread(ReadManifest.of, got, run, is_packed=packed is not None)
        if run is None:
            await self.collector.define(read.manifest)
            self.settle(read, dict(request.settings))
        return True

    def settle(self, read: ReadManifest, shared: dict[str, str]) -> None:
        """Let the run be of a model and of settings that all workers share."""
        self.manifest, self.packed, self._digest, self.shared = read.manifest, read.packed, read.digest, shared
        self.records.n_parameters = read.manifest.layout.n_parameters

    def hear(self, session: str) -> Member:
        """Return the member that speaks; it is alive by that. Raises as `Members.hear` does."""
        member = self.members.hear(session, self.clock())
        self.everyone_gone.clear()
        if member.sent == self.rounds.version:
            self.rounds.admit(member.slot)
        return member

    def weights_wanted(self, member: Member) -> bool:
        """Say whether `member` is the one to push initial weights; the first that asks is, as long as it is alive."""
        if self.rounds.version is not None:
            return False
        if self._weights_from not in {each.worker_id for each in self.members.alive}:
            self._weights_from = member.worker_id
        return self._weights_from == member.worker_id

    def leave(self, member: Member, reason: str) -> None:
        """Let a member go politely."""
        log.info("worker %s left: %s", member.worker_id, printable(reason, MAX_REASON) or "no reason given")
        self.members.leave(member)
        self.partials.drop(member.worker_id)
        self._gone(member, dead=False)

    def connection_broke(self, member: Member) -> None:
        """Take note that a stream of `member` broke: it is dead unless heard of soon."""
        if self.members.is_current(member):
            self.members.suspect(member, self.clock())

    def bury_the_dead(self) -> None:
        """Wait no longer for members that have not been heard of; look at what is still waited for."""
        for member in self.members.bury(self.clock()):
            log.warning("worker %s is dead: nothing heard of it for too long", member.worker_id)
            self._gone(member, dead=True)
        self.waits.look(self.clock())

    def gates_of(self, member: Member) -> Gates:
        """Return the gates that the bytes of `member` pass."""
        return self.limiter.gates_of(member.worker_id)

    def limit(self, worker_id: str, changes: dict[str, int]) -> Limits:
        """Change limits while the run goes on.

        Raises:
            UsageError: no worker of this id has joined, or the shared limits are to change for one worker alone.
            ConfigError: a limit that cannot be; nothing has changed then.
        """
        if worker_id:
            check_has_joined(worker_id, self.members.slot_of)
        limits = self.limiter.change(worker_id, changes)
        deadlines, n = self.collector.deadlines, self.settings.workers
        deadlines.rate, deadlines.rate_down = self.limiter.least_share_up(n), self.limiter.least_share_down(n)
        log.info("limits of %s are now: %s", f"worker {worker_id}" if worker_id else "all workers", described(limits))
        return limits

    def _update_budget(self) -> int:
        alive = [member.worker_id for member in self.members.alive]
        n = max(len(alive), self.settings.workers)
        return self.limiter.update_budget(alive, n, self.settings.transfer_seconds)

    def _gone(self, member: Member, *, dead: bool) -> None:
        self.rounds.dismiss(member.slot, dead=dead)
        self._settle()
        if not self.members.alive:
            self.everyone_gone.set()
        self.collector.stir()

    # --------------------------------------------------------------------------------------------------- versions

    def begin(self) -> None:
        """Take note that there are initial weights, the version 0."""
        self._began = self.clock()
        self.open_broadcast(0)

    def open_broadcast(self, version: int) -> None:
        """Let watchers have `version`, and what comes after. Raises UsageError before the first worker has joined."""
        if self.manifest is None:
            raise UsageError("no worker has joined yet")
        self.broadcast.begin(version, self.settings.memory_for_updates(self.manifest.layout))

    def _published(self, update: Update, taken_back: bool) -> None:
        """Let watchers have what there is of a new version."""
        (self.broadcast.retract if taken_back else self.broadcast.publish)(update)

    def _committed(self, update: Update, record: pb.RoundRecord, digest: int) -> None:
        """Let watchers have all of a version, and write down the round before, whose update all have by now."""
        self.partials.drop_closed(self.rounds.closed)
        self.records.finish(record.round - 1)
        self.records.commit(record)
        self._holders = 0
        self.evaluations.expect(update.version, frozenset(self.rounds.waited_for))
        self.broadcast.complete(update, digest)
        if self.rounds.phase is Phase.ENDED:
            self.end(f"all {update.version} rounds are done")

    async def updates(self, member: Member, have: int | None) -> AsyncGenerator[Update, None]:
        """Yield every version after `have`, oldest first, until the run ends; a snapshot where updates are gone.

        Raises:
            JoinError: the session ended.
        """
        version = -1
        if have is not None and have <= self.broadcast.version:
            version = have
            self.has(member, version)
        while await self.broadcast.news(version):
            if not self.members.is_current(member):
                self.members.hear(member.session, self.clock())
            update = (self.broadcast.after(version) if version >= 0 else None) or await self.collector.snapshot()
            version = update.version
            yield update
            del update

    def has(self, member: Member, version: int) -> None:
        """Take note that `member` has been sent all of `version`; with the newest, it is waited for."""
        member.sent = version
        if version != self.rounds.version:
            return
        self._holders += 1
        if member.alive and self.members.is_current(member):
            self.rounds.admit(member.slot)
            self.collector.stir()
        if self._holders >= len(self.members.alive):  # before that, somebody lacks it, and nothing becomes final
            self._settle()

    # -------------------------------------------------------------------------------------------- books, and the end

    def report(self, member: Member, report: pb.EvaluationReport) -> None:
        """Add a worker's evaluation. Raises UsageError if its numbers contradict each other."""
        self.evaluations.report(report.version, member.slot, report.count, report.correct, report.loss_sum)
        self._settle()

    def _settle(self, *, ended: bool = False) -> None:
        """Write down what has become final."""
        alive = self.members.alive
        if alive:
            self.records.finish(min(member.sent for member in alive))
        for evaluation in self.evaluations.take_complete({member.slot for member in alive}, ended=ended):
            self.records.evaluated(evaluation)

    def fail(self, error: GradwireError) -> None:
        """End the run because of `error`."""
        log.error("the run ends: %s", error)
        self.failure = error
        self.end(str(error))

    def end(self, reason: str) -> None:
        """End the run at the version it has; watchers are told why."""
        self.rounds.end(reason)
        self.broadcast.end(reason)
        self.collector.memory.open()
        self.over.set()
        if not self.members.alive:
            self.everyone_gone.set()

    async def stop(self, reason: str) -> None:
        """End the run once the round that is being closed, if any, is committed, or cannot be."""
        if self.keeper is not None:
            self.keeper.give_up()
        await self.collector.at_rest()
        self.end(reason)

    async def finish(self) -> None:
        """Complete the books, once no call comes any more."""
        await self.collector.finish(failed=self.failure is not None)
        self._settle(ended=True)
        self.records.finish(self.rounds.version or 0)

    @property
    def seconds(self) -> float:
        """Since there are weights."""
        return self.clock() - self._began

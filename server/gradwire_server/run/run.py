"""One run: membership, schedule, versions and books, held together. Its pushes are taken in intake/pushes.py."""

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial

from gradwire_common.errors import GradwireError
from gradwire_common.layout.manifest import Manifest
from gradwire_common.step_options import OptimizerChoice
from gradwire_common.transport.wire import metrics_from_messages
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_server.intake.admission import check_has_joined
from gradwire_server.limits.limiter import Gates, described
from gradwire_server.limits.limits import Limits
from gradwire_server.limits.streams import FLOOR_RATE
from gradwire_server.rounds.member import Member
from gradwire_server.run.course import Course
from gradwire_server.versions.broadcast import Update

log = logging.getLogger("gradwire.server")


class Run(Course):
    """The run that a server serves: what workers ask of it."""

    async def join(self, request: pb.JoinRequest, packed: bytes | None = None) -> Member | None:
        """Make a worker a member of the run. Returns and raises what `Membership.join` does."""
        member = await self.membership.join(request, packed, self.define)
        for worker_id in self.membership.members.pop_forgotten():
            self.limiter.forget(worker_id)
            self.partials.drop(worker_id)
        if member is not None:
            await self._begin_with_file(member)
        self._look_again()  # it may have left another slot, that was waited for
        return member

    async def define(self, manifest: Manifest, choice: OptimizerChoice | None = None) -> None:
        """Let the run be of a model, and of an optimizer. Raises ConfigError and ModelMismatchError where it cannot."""
        await self.collector.define(manifest, choice)
        self.books.records.n_parameters = manifest.layout.n_parameters

    async def _begin_with_file(self, member: Member) -> None:
        """Load the settings' initial weights, if there are no weights yet; where they do not fit, `member` goes."""
        if self.settings.initial_weights is None or self.schedule.version is not None:
            return
        try:
            await self.collector.load_file(self.settings.initial_weights)
        except GradwireError as error:
            self.remove(member, error)
            raise

    def refused(self, member: Member, error: GradwireError) -> None:
        """Note that a push of `member` was refused; nobody waits for one whose pushes are refused again and again."""
        self.tallies.refused(error)
        if self.membership.barred.refused(member, error):
            self._look_again()

    def leave(self, member: Member, reason: str, *, finished: bool = False) -> None:
        """Let a member go, as it asks, `finished` where it has done all that it wanted to."""
        self.membership.leave(member, reason, finished=finished)
        for streams in (self.pushing, self.watching):
            streams.end(member.worker_id, "its worker left")
        self.partials.drop(member.worker_id)
        self._look_again()

    def remove(self, member: Member, error: GradwireError) -> None:
        """Let a member go, as others want it; its calls, and what it is being sent, end with `error`."""
        self.membership.remove(member, error)
        self.partials.drop(member.worker_id)
        self.versions.look_again()
        self._look_again()

    def expire(self) -> None:
        """Wait no longer for members that say nothing, or push nothing, for too long; look at what is waited for.

        The run ends once all of its workers have finished and none has come back for a while.
        """
        if self.membership.expire(self.collector.pool.deadlines.slowest_transfer(FLOOR_RATE)):
            self._look_again()
        self.collector.pool.evict()
        if self.versions.crowded:
            self.watching.end_stalled(self.clock(), "it stood still while others waited for the memory that it holds")
        running = self.schedule.version is not None and not self.over.is_set()
        if self._finished.look(running and self.membership.members.all_finished, self.clock()):
            log.info("the run ends at version %d: all workers have finished", self.schedule.version)
            self.end("all workers have finished")

    async def updates(self, member: Member, have: int | None, held: bytes = b"") -> AsyncGenerator[Update, None]:
        """Yield every version after `have`, oldest first, until the run ends; a snapshot where updates are gone.

        Raises:
            JoinError: the session ended.
            DataError: `held`, the digests of the units that the worker holds without a version, are of another model.
        """
        version = -1
        if have is not None and self.versions.has(have):
            version = have
            self.has(member, version)
        check = partial(self.membership.check_current, member)
        async with aclosing(self.versions.after(version, check, held)) as updates:
            async for update in updates:
                yield update
                del update  # a snapshot is as large as the model: none is kept until the next version

    def has(self, member: Member, version: int) -> None:
        """Note that `member` has been sent all of `version`; with the newest, it is waited for."""
        if self.membership.holds(member, version):
            self.collector.wake()
            self.called.look()
        alive = self.membership.members.alive
        if version == self.schedule.version and self.versions.held_by_all(len(alive)):
            self.books.settle(alive)  # before that, a worker lacks it, and nothing becomes final

    def report(self, member: Member, report: pb.EvaluationReport) -> None:
        """Add a worker's evaluation. Raises NonFiniteError or UsageError, which names a metric that cannot be."""
        self.books.evaluations.report(report.version, member.slot, metrics_from_messages(report.metrics))
        self.books.settle(self.membership.members.alive)

    def gates_of(self, member: Member) -> Gates:
        """Return the gates that the bytes of `member` pass."""
        return self.limiter.gates_of(member.worker_id)

    def limit(self, worker_id: str, changes: dict[str, int]) -> Limits:
        """Change limits of a run in progress.

        Raises:
            UsageError: no worker of this id has joined, or the shared limits are to change for one worker alone.
            ConfigError: a limit that cannot be; nothing has changed then.
        """
        if worker_id:
            check_has_joined(worker_id, self.membership.members.slot_of)
        limits = self.limiter.change(worker_id, changes)
        deadlines, n = self.collector.pool.deadlines, self.settings.workers
        deadlines.rate, deadlines.rate_down = self.limiter.least_share_up(n), self.limiter.least_share_down(n)
        log.info("limits of %s are now: %s", f"worker {worker_id}" if worker_id else "all workers", described(limits))
        return limits

    def _look_again(self) -> None:
        """Write down what has become final, and let the round proceed, now that members are gone."""
        self.books.settle(self.membership.members.alive)
        self.collector.wake()
        self.collector.pool.call_turns()
        self.called.look()

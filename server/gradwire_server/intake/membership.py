"""Who takes part in a run: joining, being heard of, leaving, falling silent."""

import asyncio
import logging
import secrets
from collections.abc import Callable
from functools import partial

from gradwire_common.errors import GradwireError, RunEndedError
from gradwire_common.foreign_text import MAX_REASON, printable
from gradwire_common.settings.config import ServedRun
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_server.intake.admission import check_versions, check_worker_id
from gradwire_server.intake.agreement import Agreement, Define
from gradwire_server.intake.barred import Barred
from gradwire_server.intake.first_weights import FirstWeights
from gradwire_server.rounds.attendance import Silence
from gradwire_server.rounds.member import Member
from gradwire_server.rounds.members import Members
from gradwire_server.rounds.schedule import Phase, Schedule
from gradwire_server.rounds.waits import Waits

log = logging.getLogger("gradwire.server")

SESSION_BYTES = 24  # of randomness in the name of a session


class Membership:
    """The members of a run.

    Attributes:
        run_id: names this run and no other, however often its server is restarted.
        agreement: what all of them have in common.
        barred: who may not take part.
        first_weights: who is asked for the weights that the run begins with.
        everyone_gone: set while no member is alive, from the first that went or the run's end on.
        contributors_gone: likewise, while none is alive that has contributed; where none has, the same.
        all_heard: set once as many workers as the run has know that it is over.

    Args:
        settings: settings of the run.
        schedule: is told who takes part.
        clock: seconds.
    """

    def __init__(self, settings: ServedRun, schedule: Schedule, clock: Callable[[], float]):
        self._schedule = schedule
        self._clock = clock
        new_session = partial(secrets.token_urlsafe, SESSION_BYTES)
        self.members = Members(settings.workers, settings.heartbeat, new_session, settings.members)
        self.waits = Waits(self.members, schedule)
        self.first_weights = FirstWeights(self.members, schedule)
        self._silence = Silence(settings.silent_after)
        self._allowed = settings.missed_rounds
        self.run_id = secrets.token_hex(8)
        self.agreement = Agreement(settings)
        self.barred = Barred(self.members, schedule, settings.most_refused)
        self.everyone_gone, self.contributors_gone = asyncio.Event(), asyncio.Event()
        self.all_heard = asyncio.Event()
        self._heard: set[str] = set()  # workers that heard of the run's end: some left, some came too late
        self._joining = asyncio.Lock()

    def check_may_join(self, request: pb.JoinRequest) -> None:
        """Check what costs nothing to check. Raises WorkerIdError, JoinError, RightsError, RunEndedError."""
        check_worker_id(request.worker_id)
        check_versions(request)
        self.barred.check_may_join(request.worker_id)
        if self._defined:
            self.agreement.check_settings(request)  # first: another setting often makes another model
        if self._schedule.phase is Phase.ENDED and request.worker_id not in self.members.slot_of:
            self._hear_of_the_end(request.worker_id)
            raise RunEndedError(f"cannot join: the run ended at version {self._schedule.version or 0}")

    async def join(self, request: pb.JoinRequest, packed: bytes | None, define: Define) -> Member | None:
        """Make a worker a member; the first one's model and settings define the run.

        Args:
            request: what it asks for.
            packed: the manifest, where it came by itself.
            define: lets the run be of a model.

        Returns:
            The member; None where the manifest is neither known nor given, and is wanted.

        Raises:
            WorkerIdError: its id is no name.
            UnavailableError: a worker of this id is alive, and another.
            JoinError: versions or settings differ, or its slot is another's.
            ModelMismatchError: the model differs, or the server cannot hold or train it.
            ConfigError: the optimizer does not take the model, or its pushes take too much memory.
            RightsError: an admin removed it.
            RunEndedError: the run is over and the worker was no part of it.
        """
        self.check_may_join(request)
        async with self._joining:
            if not await self.agreement.reach(request, packed, define, lambda: self._defined):
                return None
            wanted = request.slot if request.HasField("slot") else None
            before = self.members.of(request.worker_id)
            member = self.members.join(request.worker_id, wanted, self._clock(), request.claim)
            if before is not None and before.slot != member.slot:
                self._schedule.dismiss(before.slot)
        self._look_at(member)
        log.info("worker %s joined at slot %d", member.worker_id, member.slot)
        return member

    def hear(self, session: str) -> Member:
        """Return the member that speaks, which is alive by that.

        Raises:
            SessionError: no such session, or its slot is another's by now: joining again helps.
            JoinError: it ended because its worker left or joined again.
        """
        member = self.members.hear(session, self._clock())
        self._look_at(member)
        self._admit(member)
        return member

    def hear_push(self, session: str) -> Member:
        """Return the member whose push is about to count. Raises what `hear` and `Barred.check_may_push` do."""
        member = self.hear(session)
        self.barred.check_may_push(member)
        return member

    def check_current(self, member: Member) -> None:
        """Raise SessionError or JoinError where the session of `member` has ended."""
        if not self.members.is_current(member):
            self.members.hear(member.session, self._clock())

    def holds(self, member: Member, version: int) -> bool:
        """Note that `member` has been sent all of `version`; return whether it is waited for from now on."""
        member.sent = version
        return self._admit(member)

    def counted(self, member: Member) -> None:
        """Note that a push of `member` counts, by which it takes part whatever it has been sent."""
        if member.attendance.left_out:
            log.info("worker %s pushes again, and is waited for again", member.worker_id)
        member.attendance.took_part()
        if self._is_here(member):
            self._schedule.admit(member.slot, member.worker_id)

    def came_late(self, member: Member) -> None:
        """Note that a push of `member` came too late to count."""
        member.attendance.came_late(self._schedule.open_round)

    def closed(self, round_: int) -> None:
        """Note who missed the round that closed; leave those members out that have missed too many in a row."""
        if self._schedule.queues or not self._allowed:  # in a queue no push waits for another's
            return
        for member in self.members.alive:
            if member.slot in self._schedule.missed and member.slot in self._schedule.waited_for:
                member.attendance.miss()
                if member.attendance.missed >= self._allowed:
                    self._leave_out(member, f"it missed {member.attendance.missed} rounds in a row", round_)

    def leave(self, member: Member, reason: str, *, finished: bool = False) -> None:
        """End a membership as its worker asks, `finished` where it has done all that it wanted to."""
        log.info("worker %s left: %s", member.worker_id, printable(reason, MAX_REASON) or "no reason given")
        self.members.leave(member, reason, finished=finished)
        self._dismiss(member, dead=False)
        if self._schedule.phase is Phase.ENDED:
            self._hear_of_the_end(member.worker_id)

    def remove(self, member: Member, error: GradwireError) -> None:
        """End a membership as others want it; the worker's later calls get `error`."""
        log.warning("worker %s is a member no more: %s", member.worker_id, error)
        self.members.remove(member, error)
        self._dismiss(member, dead=False)

    def connection_broke(self, member: Member) -> None:
        """Note that a stream of `member` broke: it is dead unless heard of soon."""
        if self.members.is_current(member):
            self.members.suspect(member, self._clock())

    def expire(self, transfer: float = 0.0) -> list[Member]:
        """Wait no longer for members that have not been heard of for too long, or live and push nothing; return them.

        Args:
            transfer: seconds that a push may take to travel.
        """
        expired = self.members.expire(self._clock())
        for member in expired:
            log.warning("worker %s is dead: %s", member.worker_id, member.gone)
            self._dismiss(member, dead=True)
        silent = self._silence.look(self._schedule, self._clock(), transfer)
        for member in [each for each in self.members.alive if each.slot in silent]:
            n, round_ = len(self._schedule.contributors), self._schedule.open_round
            self._leave_out(member, f"it has sent no push for round {round_}, long after {n} others", round_)
            expired.append(member)
        self.waits.look(self._clock())
        return expired

    def look_for_the_last(self) -> None:
        """Set `everyone_gone` and `contributors_gone` where they are."""
        if not self.members.alive:
            self.everyone_gone.set()
        if not any(map(self._contributes, self.members.alive)):
            self.contributors_gone.set()

    @property
    def _defined(self) -> bool:
        """Whether there is a model that joining workers must have: not where all went before there were weights."""
        return self.agreement.model is not None and (self._schedule.version is not None or bool(self.members.alive))

    def _admit(self, member: Member) -> bool:
        """Let a member that holds the newest version be waited for; return whether it is."""
        holds_newest = member.sent == self._schedule.version
        is_waited_for = holds_newest and self._is_here(member) and not member.attendance.left_out
        if is_waited_for:
            self._schedule.admit(member.slot, member.worker_id)
        return is_waited_for

    def _leave_out(self, member: Member, why: str, round_: int) -> None:
        """Wait no longer for a member that lives; where a quorum cannot be had without it, its push is waited for."""
        member.attendance.leave_out(round_, max(1, self._allowed))
        log.warning("worker %s is not waited for until it pushes: %s", member.worker_id, why)
        self._schedule.dismiss(member.slot, dead=True)

    def _hear_of_the_end(self, worker_id: str) -> None:
        """Note that a worker knows that the run is over."""
        if not self.all_heard.is_set():  # at most as many names as the run has workers are kept
            self._heard.add(worker_id)
            if len(self._heard) >= self.members.slots:
                self.all_heard.set()

    def _look_at(self, member: Member) -> None:
        """Note that `member` lives."""
        self.everyone_gone.clear()
        if self.contributors_gone.is_set() and self._contributes(member):
            self.contributors_gone.clear()

    def _contributes(self, member: Member) -> bool:
        """Whether the run's end waits for `member` to leave: it has contributed, or nobody has."""
        return not self._schedule.newest or member.worker_id in self._schedule.newest

    def _is_here(self, member: Member) -> bool:
        """Whether `member` is alive, its slot its own, and its pushes may count."""
        return member.alive and self.members.is_current(member) and not member.quarantined

    def _dismiss(self, member: Member, *, dead: bool) -> None:
        self._schedule.dismiss(member.slot, dead=dead)
        self.look_for_the_last()

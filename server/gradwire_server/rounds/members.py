"""Members: sessions, slots, and who is alive. Time is an argument, in seconds of any monotonic clock."""

from collections.abc import Callable, Collection, Iterator, Mapping
from hmac import compare_digest

from gradwire_common.errors import GradwireError, JoinError, SessionError, UnavailableError
from gradwire_common.foreign_text import MAX_REASON, printable
from gradwire_common.transport.bounds import MAX_SLOT
from gradwire_server.rounds.member import Member

MAX_MEMBERS = 2**16
MAX_ENDED = 4096  # sessions whose end is remembered; earlier ones are unknown, and their workers join again
MISSED_HEARTBEATS = 3  # a worker that misses as many is dead
AFTER_A_BREAK = 1.5  # heartbeats of a small run that a worker has to speak again after its connection broke
MAX_HEARTBEATS = 100  # a second, of all workers together; each takes the server about half a millisecond


class Members:
    """The workers that joined, by id; of those that are gone, as many as there is room for.

    A member is alive until it leaves or has not been heard of for three heartbeats. A connection that breaks shortens
    that to one and a half. Anything it says brings it back to life, as long as its slot is its own. With many members
    heartbeats are further apart, so that all together are no more than MAX_HEARTBEATS a second; a connection that
    breaks is noticed as soon.

    Args:
        slots: shards of the data; slots below are given out first.
        heartbeat: seconds between heartbeats of few members.
        new_session: makes names of sessions that cannot be guessed.
        most: members, those that are gone included.
    """

    def __init__(self, slots: int, heartbeat: float, new_session: Callable[[], str], most: int = MAX_MEMBERS):
        self.slots = slots
        self.most = most
        self.heartbeat = heartbeat
        self._new_session = new_session
        self._by_id: dict[str, Member] = {}
        self._by_session: dict[str, Member] = {}
        self._alive: dict[str, Member] = {}
        self._ended: dict[str, GradwireError] = {}  # session -> what its later calls are answered; oldest first
        self._forgotten: list[str] = []

    def __iter__(self) -> Iterator[Member]:
        return iter(sorted(self._by_id.values(), key=lambda member: member.slot))

    def of(self, worker_id: str) -> Member | None:
        """Return the member of this id; None for a worker that never joined, or whose slot is another's by now."""
        return self._by_id.get(worker_id)

    @property
    def alive(self) -> list[Member]:
        """Members that have neither left nor died."""
        return list(self._alive.values())

    @property
    def interval(self) -> float:
        """Seconds between the heartbeats of a member that is told now."""
        return max(self.heartbeat, max(len(self._alive), self.slots) / MAX_HEARTBEATS)

    def tell_interval(self, member: Member) -> float:
        """Return the seconds between its heartbeats, and expect them so from now on."""
        member.interval = self.interval
        return member.interval

    def join(self, worker_id: str, slot: int | None, now: float, claim: bytes = b"") -> Member:
        """Make a worker a member, at the slot it wants, its old one, or the lowest free one.

        Raises:
            UnavailableError: a worker of this id is alive and had another claim.
            JoinError: the wanted slot is another's, none is left, the id is empty, or there are too many workers.
        """
        if not worker_id:
            raise JoinError("worker id: got none, want one")
        old = self._by_id.get(worker_id)
        self._check_claim(old, claim, now)
        holder = self._holder(slot) if slot is not None else None
        if holder is not None and holder is not old and holder.alive:
            raise JoinError(f"slot {slot} is held by worker {holder.worker_id}; want another")
        if slot is None:
            slot = old.slot if old is not None else self._free_slot()
        holder = self._holder(slot)
        if old is None and holder is None:
            self._make_place()
        if old is not None:
            self._end(old, JoinError(f"session ended: worker {worker_id} joined again"))
        if holder is not None and holder is not old:
            self._forget(holder, f"slot {slot} was taken by worker {worker_id}")
        interval = self.interval
        member = Member(worker_id, slot, self._new_session(), now + MISSED_HEARTBEATS * interval, interval)
        member.claim = claim
        if old is not None:
            member.last_round, member.attendance = old.last_round, old.attendance
            member.samples, member.pushes, member.loss = old.samples, old.pushes, old.loss
            member.refused, member.refused_in_a_row = old.refused, old.refused_in_a_row
            member.reason, member.quarantined = old.reason, old.quarantined
        self._by_id[worker_id] = self._by_session[member.session] = self._alive[worker_id] = member
        return member

    def restore(self, slots: Mapping[str, int], alive: Collection[int], deadline: float) -> None:
        """Keep the slots of workers of a run that is resumed; those at `alive` have until `deadline` to come back."""
        for worker_id, slot in slots.items():
            member = Member(worker_id, slot, self._new_session(), deadline, self.interval, slot in alive)
            self._by_id[worker_id] = member
            member.gone = "" if member.alive else "left before the server was started again"
            if member.alive:
                self._alive[worker_id] = member

    @property
    def slot_of(self) -> dict[str, int]:
        """The slot of every member."""
        return {member.worker_id: member.slot for member in self}

    def hear(self, session: str, now: float) -> Member:
        """Return the member that speaks, which is alive by that.

        Raises:
            SessionError: no such session, or its slot is another's by now: joining again helps.
            JoinError: it ended because its worker left or joined again.
        """
        if session in self._ended:
            raise self._ended[session]
        member = self._by_session.get(session)
        if member is None:
            raise SessionError("this session is unknown to this server; joining again gives a new one")
        member.deadline = now + MISSED_HEARTBEATS * member.interval
        member.gone = ""
        if not member.alive:
            member.alive = True
            self._alive[member.worker_id] = member
        return member

    def of_session(self, session: str) -> Member | None:
        """Return the member that a session was given to; None where it has ended."""
        return self._by_session.get(session)

    def is_current(self, member: Member) -> bool:
        """Whether the session of `member` has not ended."""
        return member.session in self._by_session

    def leave(self, member: Member, reason: str = "", *, finished: bool = False) -> None:
        """End a membership as its worker asks, `finished` where it has done all that it wanted to."""
        self._expire(member, f"left: {printable(reason, MAX_REASON) or 'no reason given'}")
        member.finished = finished
        self._end(member, JoinError(f"session ended: worker {member.worker_id} left"))

    def remove(self, member: Member, answer: GradwireError) -> None:
        """End a membership that its worker did not end; its later calls are answered `answer`."""
        self._expire(member, f"was removed: {answer}")
        self._end(member, answer)

    def suspect(self, member: Member, now: float) -> None:
        """Note that a connection of `member` broke: it is dead unless heard of soon."""
        member.deadline = min(member.deadline, now + AFTER_A_BREAK * self.heartbeat)
        member.gone = "its connection broke, and nothing was heard of it since"

    def expire(self, now: float) -> list[Member]:
        """Return the members that are dead as of now, each of them once."""
        dead = [member for member in self._alive.values() if member.deadline < now]
        for member in dead:
            silent = f"nothing was heard of it for {MISSED_HEARTBEATS} heartbeats of {member.interval:g} s"
            self._expire(member, member.gone or silent)
        return sorted(dead, key=lambda member: member.slot)

    def _check_claim(self, old: Member | None, claim: bytes, now: float) -> None:
        """Raise UnavailableError where `old` is alive, and a join with `claim` is not its own."""
        if old is None or not old.alive or not self.is_current(old) or not old.claim:
            return
        if not compare_digest(old.claim, claim):
            raise UnavailableError(
                f"worker {old.worker_id} is alive, and another process: its id is free once nothing is heard of it for "
                f"{max(old.deadline - now, 0.0):.1f} s more; want another id, or that process to end"
            )

    def pop_forgotten(self) -> list[str]:
        """Return the ids of workers that have ceased to be members since this was last asked."""
        forgotten, self._forgotten = self._forgotten, []
        return [worker_id for worker_id in forgotten if worker_id not in self._by_id]

    def _make_place(self) -> None:
        """Make place for one more, where there are as many as may be: for one that is gone. Raises JoinError."""
        if len(self._by_id) < self.most:
            return
        gone = next((member for member in self._by_id.values() if not member.alive), None)
        if gone is None:
            raise JoinError(f"cannot join: {len(self._by_id)} workers take part, as many as most_workers admits")
        self._forget(gone, "others have joined since")

    def _forget(self, member: Member, why: str) -> None:
        self._end(member, SessionError(f"session ended: {why}"))
        del self._by_id[member.worker_id]
        self._expire(member, why)
        self._forgotten.append(member.worker_id)

    @property
    def all_finished(self) -> bool:
        """Whether a worker of every slot has left because it has done all that it wanted to, and none is alive."""
        return not self._alive and sum(member.finished for member in self._by_id.values()) >= self.slots

    def _expire(self, member: Member, why: str) -> None:
        member.alive = False
        member.gone = why
        self._alive.pop(member.worker_id, None)

    def _end(self, member: Member, answer: GradwireError) -> None:
        if self._by_session.pop(member.session, None) is not None:
            self._ended[member.session] = answer
            if len(self._ended) > MAX_ENDED:
                del self._ended[next(iter(self._ended))]

    def _holder(self, slot: int) -> Member | None:
        return next((member for member in self._by_id.values() if member.slot == slot), None)

    def _free_slot(self) -> int:
        """Return the lowest slot that no worker held, else the lowest whose worker is gone, else the next one above."""
        held = {member.slot: member.alive for member in self._by_id.values()}
        for candidates in (
            (slot for slot in range(self.slots) if slot not in held),
            (slot for slot in sorted(held) if not held[slot]),
        ):
            for slot in candidates:
                return slot
        above = max(held) + 1
        if above <= MAX_SLOT:
            return above
        free = next((slot for slot in range(MAX_SLOT + 1) if slot not in held), None)
        if free is None:
            raise JoinError(f"all {MAX_SLOT + 1} slots are held by workers that are alive; want one to leave first")
        return free

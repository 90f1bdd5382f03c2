"""What the run waits for, in words, and since when. Time is an argument, in seconds of any monotonic clock."""

import logging
from collections.abc import Iterable

from gradwire_server.rounds.members import Member, Members
from gradwire_server.rounds.synchronous import Phase, Rounds

log = logging.getLogger("gradwire.server")

FIRST_NOTICE = 5.0  # seconds of a wait before the log tells of it; then after twice as many each time
MAX_NAMED = 5  # workers that a line names


class Waits:
    """Watches what the open round waits for, as often as `look` is called.

    Attributes:
        what: is being waited for; empty while nobody waits.
        since: the wait began.
    """

    def __init__(self, members: Members, rounds: Rounds):
        self._members = members
        self._rounds = rounds
        self.what = ""
        self.since = 0.0
        self._wait: tuple[Phase, int] | None = None
        self._notice = FIRST_NOTICE

    def look(self, now: float) -> None:
        """Find out what is being waited for, and tell the log where that takes long."""
        self.what = awaited(self._members, self._rounds)
        wait = (self._rounds.phase, self._rounds.open_round) if self.what else None
        if wait != self._wait:
            self._wait, self.since, self._notice = wait, now, FIRST_NOTICE
        if self.what and now - self.since >= self._notice:
            self._notice = 2 * (now - self.since)
            log.info("waiting for %s, for %.0f s", self.what, now - self.since)

    def seconds(self, now: float) -> float:
        """Return how long the wait has lasted; 0 where nobody waits."""
        return now - self.since if self.what else 0.0


def awaited(members: Members, rounds: Rounds) -> str:
    """Return what a run waits for, for people; empty where no worker waits for another."""
    alive = members.alive
    match rounds.phase:
        case Phase.WAITING_FOR_WEIGHTS if alive:
            return f"the initial weights of one of {_named(alive)}"
        case Phase.WAITING_FOR_WORKERS:
            n = len(rounds.taking_part)
            return f"{rounds.workers - n} more of {rounds.workers} workers to join"
        case Phase.COLLECTING if rounds.contributors:
            by_slot = {member.slot: member for member in members}
            late = [by_slot[slot] for slot in sorted(rounds.missing) if slot in by_slot]
            total = len(rounds.missing | rounds.contributors)
            if late:
                return f"the pushes for round {rounds.open_round} of {len(late)} of {total} workers: {_named(late)}"
            if len(rounds.contributors) < rounds.quorum:
                gone = [by_slot[slot] for slot in sorted(rounds.absent) if slot in by_slot]
                short = f"{rounds.quorum - len(rounds.contributors)} more pushes for round {rounds.open_round}"
                return f"{short}, of which {rounds.quorum} make a quorum" + (f"; gone: {_named(gone)}" if gone else "")
    return ""


def _named(members: Iterable[Member]) -> str:
    names = [f"{member.worker_id} (slot {member.slot})" for member in members]
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more

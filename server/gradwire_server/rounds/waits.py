"""What the run waits for, in words, and since when. Time is an argument, in seconds of any monotonic clock."""

import logging
from collections.abc import Sequence

from gradwire_server.rounds.member import Member
from gradwire_server.rounds.members import Members
from gradwire_server.rounds.schedule import Phase, Schedule

log = logging.getLogger("gradwire.server")

FIRST_NOTICE = 5.0  # seconds of a wait before the log tells of it; then after twice as many each time
MAX_NAMED = 5  # workers that a line names
LOOK_SECONDS = 0.5  # what is told of a round may be as old: hundreds of workers ask, and each look is at all of them


class Waits:
    """Watches what the open round waits for, as often as `look` is called.

    Attributes:
        what: what is being waited for; empty while nobody is.
        since: when the wait began.
    """

    def __init__(self, members: Members, schedule: Schedule):
        self._members = members
        self._schedule = schedule
        self.what = ""
        self.since = 0.0
        self._paused = ""
        self._wait: tuple[Phase, int] | None = None
        self._looked: tuple[Phase, int, float] | None = None
        self._notice = FIRST_NOTICE

    def look(self, now: float) -> None:
        """Find out what is being waited for, and tell the log where that takes long."""
        phase, round_ = self._schedule.phase, self._schedule.open_round
        if self._looked is not None and self._looked[:2] == (phase, round_) and now - self._looked[2] < LOOK_SECONDS:
            return
        self._looked = phase, round_, now
        self.what = self._paused or awaited(self._members, self._schedule)
        wait = (phase, round_) if self.what else None
        if wait != self._wait:
            self._wait, self.since, self._notice = wait, now, FIRST_NOTICE
        if self.what and now - self.since >= self._notice:
            self._notice = 2 * (now - self.since)
            log.info("waiting for %s, for %.0f s", self.what, now - self.since)

    def pause(self, reason: str) -> None:
        """Let it be an admin that is waited for, who gave this reason; nobody where it is empty."""
        self._paused, self._looked = f"an admin, who paused the run: {reason}" if reason else "", None

    def seconds(self, now: float) -> float:
        """Return how long the wait has lasted; 0 where no worker waits."""
        return now - self.since if self.what else 0.0


def awaited(members: Members, schedule: Schedule) -> str:
    """Return what a run waits for, for people; empty where it waits for nobody."""
    alive, workers = members.alive, schedule.settings.workers
    match schedule.phase:
        case Phase.WAITING_FOR_WEIGHTS if alive:
            return f"the initial weights of one of {_named(alive)}"
        case Phase.WAITING_FOR_WEIGHTS | Phase.WAITING_FOR_WORKERS:
            return f"{workers - len(schedule.taking_part)} of {workers} workers to join"
        case Phase.COLLECTING if not alive and not schedule.contributors:
            return f"workers to join again: none of {workers} is alive"
        case Phase.COLLECTING if schedule.contributors:
            by_slot = {member.slot: member for member in members}
            late = [by_slot[slot] for slot in sorted(schedule.missing) if slot in by_slot]
            total = len(schedule.missing | schedule.contributors)
            if late:
                return f"the pushes for round {schedule.open_round} of {len(late)} of {total} workers: {_named(late)}"
            quorum = schedule.settings.quorum
            if len(schedule.contributors) < quorum:
                gone = [by_slot[slot] for slot in sorted(schedule.absent) if slot in by_slot]
                more = f"{quorum - len(schedule.contributors)} more pushes for round {schedule.open_round}"
                return f"{more}, of which {quorum} make a quorum" + (f"; gone: {_named(gone)}" if gone else "")
    return ""


def _named(members: Sequence[Member]) -> str:
    names = ", ".join(f"{member.worker_id} (slot {member.slot})" for member in members[:MAX_NAMED])
    return names + (f" and {len(members) - MAX_NAMED} more" if len(members) > MAX_NAMED else "")

"""Workers that live and do not push: which of them rounds wait for no longer. Time is an argument, in seconds."""

from dataclasses import dataclass

from gradwire_server.rounds.schedule import Phase, Schedule

LONGER_THAN_HALF = 3.0  # a round waits so many times as long as half of its pushes took to come, at the least


@dataclass
class Attendance:
    """How a worker takes part in rounds that wait for it.

    Attributes:
        missed: rounds in a row that closed without a push of it.
        left_out: whether no round waits for it.
        until: the round from which on it may be waited for again, once it is heard to push.
        times: how often it was left out, less the rounds that it took part in since; each time lasts twice as long.
    """

    missed: int = 0
    left_out: bool = False
    until: int = 0
    times: int = 0

    def took_part(self) -> None:
        """Note a push that counts."""
        self.missed, self.left_out, self.times = 0, False, max(0, self.times - 1)

    def miss(self) -> None:
        """Note a round that waited for the worker, and closed without it."""
        self.missed += 1

    def leave_out(self, round_: int, rounds: int) -> None:
        """Wait for it no longer, from `round_` on: until a push of it counts, or for `rounds`, doubled each time."""
        self.times += 1
        self.left_out, self.until = True, round_ + rounds * 2 ** min(self.times, 32)

    def came_late(self, round_: int) -> None:
        """Note a push, in the open `round_`, that came too late to count: the worker is there, and may catch up."""
        if self.left_out and round_ >= self.until:
            self.left_out, self.missed = False, max(0, self.missed - 1)


class Silence:
    """Finds the slots that a round waits for in vain: most have pushed long ago, and others have not.

    A round waits `seconds` from when half of its pushes are there, and LONGER_THAN_HALF times as long as those took to
    come: no worker that is a few times as slow as others is silent.
    """

    def __init__(self, seconds: float):
        self._seconds = seconds
        self._round = 0
        self._began = 0.0
        self._half: float | None = None  # when half of the pushes were there

    def look(self, schedule: Schedule, now: float, transfer: float) -> set[int]:
        """Return the slots that the open round waits for in vain.

        Args:
            schedule: knows the round.
            now: seconds.
            transfer: seconds that a push may take beside.
        """
        if schedule.open_round != self._round or schedule.phase is not Phase.COLLECTING:
            self._round, self._began, self._half = schedule.open_round, now, None
        if not schedule.contributors or len(schedule.contributors) < len(schedule.missing):
            self._half = None
            return set()
        if self._half is None:
            self._half = now
        longest = max(self._seconds, LONGER_THAN_HALF * (self._half - self._began)) + transfer
        return set(schedule.missing) if now - self._half > longest else set()

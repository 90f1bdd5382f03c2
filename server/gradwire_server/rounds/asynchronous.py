"""The asynchronous mode: every push makes a version of its own, in the order of arrival, if it is not too stale.

Pure and free of clocks and of gRPC, like rounds.py, whose place it takes.
"""

import math

from gradwire_common.errors import UsageError
from gradwire_server.rounds.synchronous import Closing, Counted, Phase, Rounds, Verdict


class Arrivals(Rounds):
    """The versions of one run that are made of one push each.

    A push for round r was computed on version r - 1. Pushes that count form a queue: each is applied to the version
    that those before it make. One that would be applied to a version more than `staleness` after its own is late, and
    so are one that would make a version after the run's last, and a second one of a slot whose first waits in the
    queue. So which version a push makes is settled when it counts, and nothing that counts is ever dropped.

    A push is known by its worker and its round: repeating the newest one that counted changes nothing, an older one is
    late.

    Args:
        workers: slots that must have taken part before the first push is applied.
        rounds: the run ends at this version; 0 for a run without end.
        staleness: versions that a push may be behind.
    """

    def __init__(self, workers: int, rounds: int, staleness: int):
        super().__init__(workers, rounds)
        self.staleness = staleness

    @property
    def promised(self) -> int:
        """The version that there is once every push that counts has been applied."""
        return (self.version or 0) + len(self._pushers)

    @property
    def closed(self) -> int:
        """The newest round that no push can count in any more."""
        return (self.version or 0) - self.staleness

    @property
    def may_close(self) -> bool:
        """Whether the push whose turn it is has been added."""
        return self.phase is Phase.COLLECTING and bool(self._order)

    @property
    def next_to_add(self) -> int | None:
        """The slot of the push that makes the next version; None where there is none, or it has been added."""
        ready = self.phase is Phase.COLLECTING and not self._order
        return next(iter(self._pushers), None) if ready else None

    @property
    def first_awaited(self) -> float:
        """Infinity: no push waits for that of another slot."""
        return math.inf

    def resume(self, version: int, expected: set[int], known: set[int], newest: dict[str, Counted]) -> None:
        """Go on at `version`; the pushes that counted and were not applied are to be counted again, in their order."""
        super().resume(version, expected, known, newest)
        self.missing = set()

    def admit(self, slot: int) -> None:
        """Take note that the worker of `slot` takes part."""
        super().admit(slot)
        self.missing = set()  # no push waits for another worker's

    def pass_deadline(self) -> None:
        """Do nothing: there is nothing to wait for."""

    def count(self, slot: int, worker: str, round_: int, digest: int = 0) -> Verdict:
        """Let a whole push count, where it may; return what became of it. Raises as `verdict` does."""
        verdict = self.verdict(slot, worker, round_)
        if verdict is Verdict.COUNTED:
            self.admit(slot)
            self._pushers[slot] = worker
            self.newest[worker] = Counted(round_, digest, self.promised)
        return verdict

    def goes_on_at(self, worker: str, round_: int, verdict: Verdict) -> int:  # noqa: ARG002
        """Return the version that a worker is to wait for: the one with its push; after a late one, the newest."""
        return self.promised if verdict is Verdict.LATE else self.newest[worker].version

    def added(self, slot: int) -> None:
        """Take note that the push of `slot`, whose turn it was, has been added."""
        if slot != self.next_to_add:
            raise UsageError(f"slot {slot} cannot be added: it is the turn of {self.next_to_add}")
        self._order = [slot]

    def take_to_add(self) -> list[int]:
        """Return the slot whose push is to be added now, if there is one, and take note that it has been."""
        slot = self.next_to_add
        if slot is None:
            return []
        self._order = [slot]
        return [slot]

    def close(self) -> Closing:
        """Begin to make the next version, of the push that has been added."""
        if not self.may_close:
            raise UsageError(f"version {self.open_round} cannot be made: no push has been added")
        self._closing = True
        return Closing(self.open_round, tuple(self._order))

    def commit(self) -> int:
        """Take note that the version has been made; return it."""
        added = self._order
        version = self._advance()
        del self._pushers[added[0]]
        return version

    @property
    def _refuses_all(self) -> bool:
        """Whether the run was ended before its last version; after that, pushes are late."""
        return self._ended and self.version is not None and not self._is_last(self.version)

    def _is_late(self, worker: str, round_: int) -> bool:
        """Whether a push is too stale, follows a newer one of its worker, or would come after the last version."""
        known = self.newest.get(worker)
        stale = self.promised - (round_ - 1) > self.staleness
        return stale or (known is not None and round_ < known.round) or self._is_last(self.promised)

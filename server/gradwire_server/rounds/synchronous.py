"""Rounds: who is waited for, who has pushed, when a round closes.

Pure and free of clocks and of gRPC: events come in as method calls, decisions are read from properties.

    waiting for weights -> waiting for workers -> collecting <-> closing -> ended
"""

import heapq
import math
from dataclasses import dataclass
from enum import Enum, StrEnum

from gradwire_common.errors import RunEndedError, UsageError


class Phase(StrEnum):
    """What the run is doing; the words that Status sends."""

    WAITING_FOR_WEIGHTS = "waiting for weights"
    WAITING_FOR_WORKERS = "waiting for workers"
    COLLECTING = "collecting"
    CLOSING = "closing"
    ENDED = "ended"


class Verdict(Enum):
    """What becomes of a push."""

    COUNTED = "counted"
    DUPLICATE = "duplicate"  # this worker's push for this round counts already, or did
    LATE = "late"  # the round had closed, or the slot's push was another worker's


@dataclass(frozen=True, slots=True)
class Closing:
    """A round that has all its pushes, and the slots that they came from, in the order in which they are summed."""

    round: int
    slots: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Counted:
    """The newest push of a worker that counted: what a repetition of it is answered with.

    Attributes:
        digest: of its frames.
        version: that it is a part of, once that is there.
    """

    round: int
    digest: int
    version: int


class Rounds:
    """The rounds of one run, one open at a time.

    Round r makes version r out of version r - 1. A slot is *waited for* from the moment its worker holds the newest
    weights until it leaves or dies. A round closes when every slot that is waited for has pushed, at least `quorum`
    pushes count, and at least `workers` slots have taken part since the run began. So a round never closes empty, and
    waits for the dead only where the quorum cannot be had without them. Once its deadline has passed, the quorum
    suffices.

    Pushes are summed in the order of slots: one may be added as soon as every lower slot that is waited for, or whose
    worker is dead and needed, has been. Only a worker that joins while a round is being collected can come after a
    higher slot.

    A push is known by its worker and its round: repeating the newest one that counted changes nothing, however long ago
    its round closed.

    Args:
        workers: slots that must have taken part before the first round may close.
        rounds: the run ends at this version; 0 for a run without end.
        quorum: pushes without which no round closes.
    """

    def __init__(self, workers: int, rounds: int, quorum: int = 1):
        self.workers = workers
        self.rounds = rounds
        self.quorum = quorum
        self.version: int | None = None  # None until the initial weights are there
        self.waited_for: set[int] = set()
        self.missing: set[int] = set()  # those of them whose pushes the open round lacks
        self.absent: set[int] = set()  # slots whose workers died and have not come back
        self.newest: dict[str, Counted] = {}  # worker -> its newest push that counted
        self._overdue = False
        self._seen: set[int] = set()
        self._pushers: dict[int, str] = {}  # slot -> worker whose push counts in the open round
        self._to_add: list[int] = []  # slots of pushes that count and have not been added, as a heap
        self._order: list[int] = []  # slots whose pushes have been added, in that order
        self._closing = False
        self._ended = False
        self._why = ""

    @property
    def phase(self) -> Phase:
        """What the run is doing."""
        if self._ended:
            return Phase.ENDED
        if self.version is None:
            return Phase.WAITING_FOR_WEIGHTS
        if self._closing:
            return Phase.CLOSING
        return Phase.COLLECTING if len(self._seen) >= self.workers else Phase.WAITING_FOR_WORKERS

    @property
    def open_round(self) -> int:
        """The round that pushes count in, or that is being closed; 0 before there are weights."""
        return 0 if self.version is None else self.version + 1

    @property
    def closed(self) -> int:
        """The newest round that no push can count in any more."""
        return self.version or 0

    @property
    def contributors(self) -> frozenset[int]:
        """Slots whose pushes count in the open round."""
        return frozenset(self._pushers)

    @property
    def taking_part(self) -> frozenset[int]:
        """Slots that have taken part since the run began."""
        return frozenset(self._seen)

    @property
    def may_close(self) -> bool:
        """Whether the open round has all it waits for."""
        return self.phase is Phase.COLLECTING and self._has_quorum and not self.missing

    @property
    def next_to_add(self) -> int | None:
        """The slot whose push is to be added to the sum now; None where a lower one is still to come."""
        ready = bool(self._to_add) and len(self._seen) >= self.workers
        return self._to_add[0] if ready and self._to_add[0] < self.first_awaited else None

    @property
    def first_awaited(self) -> float:
        """The lowest slot whose push is still to come, and summed before those of higher ones."""
        short = len(self._pushers) + len(self.missing) < self.quorum
        awaited = self.missing | (self.absent - self._pushers.keys()) if short else self.missing
        return min(awaited, default=math.inf)

    def begin(self, version: int = 0) -> None:
        """Take note that weights are there."""
        self.version = version
        self._ended = self._is_last(version)

    def resume(self, version: int, expected: set[int], known: set[int], newest: dict[str, Counted]) -> None:
        """Go on at `version`: wait for the `expected` slots, whose workers are about to come back, of all `known`."""
        self.begin(version)
        self.newest = dict(newest)
        self.absent, self._seen = known - expected, set(known)
        self.waited_for, self.missing = set(expected), set(expected)

    @property
    def overdue(self) -> bool:
        """Whether the deadline of the open round has passed."""
        return self._overdue

    def admit(self, slot: int) -> None:
        """Wait for `slot` from now on: its worker holds the newest weights."""
        self.waited_for.add(slot)
        self._seen.add(slot)
        self.absent.discard(slot)
        if slot not in self._pushers and not (self._overdue and self._has_quorum):
            self.missing.add(slot)

    def dismiss(self, slot: int, *, dead: bool = False) -> None:
        """Wait for `slot` no more: its worker has left or is dead. A push of it that counts goes on counting."""
        self.waited_for.discard(slot)
        self.missing.discard(slot)
        (self.absent.add if dead else self.absent.discard)(slot)

    def pass_deadline(self) -> None:
        """Take note that the deadline of the open round has passed: from now on the quorum suffices."""
        if self.phase is Phase.COLLECTING:
            self._overdue = True
            self._settle_for_quorum()

    def verdict(self, slot: int, worker: str, round_: int) -> Verdict:
        """Say what would become of a push of `worker` at `slot` for `round_`, changing nothing.

        Raises:
            RunEndedError: the run is over.
            UsageError: the round has not begun.
        """
        known = self.newest.get(worker)
        if known is not None and known.round == round_:
            return Verdict.DUPLICATE
        if self._refuses_all:
            why = f" ({self._why})" if self._why else ""
            raise RunEndedError(f"the run ended at version {self.version}{why}; got a push for round {round_}")
        if self.version is None:
            raise UsageError(f"got a push for round {round_} before there are initial weights")
        if round_ > self.open_round or round_ < 1:
            raise UsageError(f"got a push for round {round_}, want one for round {self.open_round}")
        return Verdict.LATE if slot in self._pushers or self._is_late(worker, round_) else Verdict.COUNTED

    def count(self, slot: int, worker: str, round_: int, digest: int = 0) -> Verdict:
        """Let a whole push count, where it may; return what became of it. Raises as `verdict` does."""
        verdict = self.verdict(slot, worker, round_)
        if verdict is Verdict.COUNTED:
            self.admit(slot)
            self._pushers[slot] = worker
            self.newest[worker] = Counted(round_, digest, round_)
            self.missing.discard(slot)
            heapq.heappush(self._to_add, slot)
            self._settle_for_quorum()
        return verdict

    def goes_on_at(self, worker: str, round_: int, verdict: Verdict) -> int:  # noqa: ARG002
        """Return the version that a worker is to wait for after its push for `round_`, whatever became of that."""
        return round_

    def added(self, slot: int) -> None:
        """Take note that the push of `slot`, whose turn it was, has been added to the sum."""
        if slot != self.next_to_add:
            raise UsageError(f"slot {slot} cannot be added: it is the turn of {self.next_to_add}")
        heapq.heappop(self._to_add)
        self._order.append(slot)

    def take_to_add(self) -> list[int]:
        """Return the slots whose pushes are to be added now, in order, and take note that they have been."""
        slots: list[int] = []
        if self.next_to_add is not None:
            first_awaited = self.first_awaited
            while self._to_add and self._to_add[0] < first_awaited:
                slots.append(heapq.heappop(self._to_add))
        self._order += slots
        return slots

    def close(self) -> Closing:
        """Close the open round, all of whose pushes have been added; no further push can count in it."""
        if not self.may_close or self._to_add:
            raise UsageError(f"round {self.open_round} cannot close: it waits for slots {sorted(self.missing)}")
        self._closing = True
        return Closing(self.open_round, tuple(self._order))

    def commit(self) -> int:
        """Open the next round, or end the run at its last version; return the new version."""
        version = self._advance()
        self._overdue, self._pushers = False, {}
        self.missing = set(self.waited_for)
        return version

    def _advance(self) -> int:
        """Count the version that has been made of the closing round; return it."""
        if not self._closing or self.version is None:
            raise UsageError(f"round {self.open_round} is not closing")
        self.version += 1
        self._closing, self._order = False, []
        self._ended = self._ended or self._is_last(self.version)
        return self.version

    def end(self, reason: str = "") -> None:
        """End the run at the version it has; the first reason stands."""
        self._ended, self._why = True, self._why or reason

    @property
    def _refuses_all(self) -> bool:
        """Whether the run is over for every push that does not count already."""
        return self._ended

    def _is_late(self, worker: str, round_: int) -> bool:  # noqa: ARG002
        """Whether a push of `worker` for `round_`, which is no later than the open one, can count no more."""
        return round_ < self.open_round or self._closing

    @property
    def _has_quorum(self) -> bool:
        return len(self._pushers) >= max(1, self.quorum)

    def _settle_for_quorum(self) -> None:
        if self._overdue and self._has_quorum:
            self.missing.clear()

    def _is_last(self, version: int) -> bool:
        return 0 < self.rounds <= version

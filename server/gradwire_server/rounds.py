"""Rounds: who is waited for, who has pushed, when a round closes.

Pure and free of clocks and of gRPC: events come in as method calls, decisions are read from properties.

    waiting for weights -> waiting for workers -> collecting <-> closing -> ended
"""

import heapq
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
    DUPLICATE = "duplicate"  # this worker's push for this round counts already
    LATE = "late"  # the round had closed, or the slot's push was another worker's


@dataclass(frozen=True, slots=True)
class Closing:
    """A round that has all its pushes, and the slots that they came from, in the order in which they are summed."""

    round: int
    slots: tuple[int, ...]


class Rounds:
    """The rounds of one run, one open at a time.

    Round r makes version r out of version r - 1. A slot is *waited for* from the moment its worker holds the newest
    weights until it leaves or dies. A round closes when every slot that is waited for has pushed, at least one push
    counts, and at least `workers` slots have taken part since the run began. So a round never closes empty, and never
    waits for the dead.

    Pushes are summed in the order of slots: one may be added as soon as every lower slot that is waited for has been.
    Only a worker that joins while a round is being collected can come after a higher slot.

    Args:
        workers: slots that must have taken part before the first round may close.
        rounds: the run ends at this version; 0 for a run without end.
    """

    def __init__(self, workers: int, rounds: int):
        self.workers = workers
        self.rounds = rounds
        self.version: int | None = None  # None until the initial weights are there
        self.waited_for: set[int] = set()
        self.missing: set[int] = set()  # those of them whose pushes the open round lacks
        self._seen: set[int] = set()
        self._pushers: dict[int, str] = {}  # slot -> worker whose push counts in the open round
        self._to_add: list[int] = []  # slots of pushes that count and have not been added, as a heap
        self._order: list[int] = []  # slots whose pushes have been added, in that order
        self._closing = False
        self._ended = False

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
    def contributors(self) -> frozenset[int]:
        """Slots whose pushes count in the open round."""
        return frozenset(self._pushers)

    @property
    def may_close(self) -> bool:
        """Whether the open round has all it waits for."""
        return self.phase is Phase.COLLECTING and bool(self._pushers) and not self.missing

    @property
    def next_to_add(self) -> int | None:
        """The slot whose push is to be added to the sum now; None where a lower one is still to come."""
        if self._to_add and not any(slot < self._to_add[0] for slot in self.missing):
            return self._to_add[0]
        return None

    def begin(self, version: int = 0) -> None:
        """Take note that weights are there."""
        self.version = version
        self._ended = self._is_last(version)

    def admit(self, slot: int) -> None:
        """Wait for `slot` from now on: its worker holds the newest weights."""
        self.waited_for.add(slot)
        self._seen.add(slot)
        if slot not in self._pushers:
            self.missing.add(slot)

    def dismiss(self, slot: int) -> None:
        """Wait for `slot` no more: its worker has left or is dead. A push of it that counts goes on counting."""
        self.waited_for.discard(slot)
        self.missing.discard(slot)

    def verdict(self, slot: int, worker: str, round_: int) -> Verdict:
        """Say what would become of a push of `worker` at `slot` for `round_`, changing nothing.

        Raises:
            RunEndedError: the run is over.
            UsageError: the round has not begun.
        """
        if self.phase is Phase.ENDED:
            raise RunEndedError(f"the run ended at version {self.version}; got a push for round {round_}")
        if self.version is None:
            raise UsageError(f"got a push for round {round_} before there are initial weights")
        if round_ > self.open_round or round_ < 1:
            raise UsageError(f"got a push for round {round_}, want one for round {self.open_round}")
        if round_ == self.open_round and slot in self._pushers:
            return Verdict.DUPLICATE if self._pushers[slot] == worker else Verdict.LATE
        return Verdict.LATE if round_ < self.open_round or self._closing else Verdict.COUNTED

    def count(self, slot: int, worker: str, round_: int) -> Verdict:
        """Let a whole push count, where it may; return what became of it. Raises as `verdict` does."""
        verdict = self.verdict(slot, worker, round_)
        if verdict is Verdict.COUNTED:
            self.admit(slot)
            self._pushers[slot] = worker
            self.missing.discard(slot)
            heapq.heappush(self._to_add, slot)
        return verdict

    def added(self, slot: int) -> None:
        """Take note that the push of `slot` has been added to the sum."""
        self._to_add.remove(slot)
        heapq.heapify(self._to_add)
        self._order.append(slot)

    def close(self) -> Closing:
        """Close the open round, all of whose pushes have been added; no further push can count in it."""
        if not self.may_close or self._to_add:
            raise UsageError(f"round {self.open_round} cannot close: it waits for slots {sorted(self.missing)}")
        self._closing = True
        return Closing(self.open_round, tuple(self._order))

    def commit(self) -> int:
        """Open the next round, or end the run at its last version; return the new version."""
        if not self._closing or self.version is None:
            raise UsageError(f"round {self.open_round} is not closing")
        self.version += 1
        self._closing = False
        self._pushers, self._order = {}, []
        self.missing = set(self.waited_for)
        self._ended = self._ended or self._is_last(self.version)
        return self.version

    def end(self) -> None:
        """End the run at the version it has."""
        self._ended = True

    def _is_last(self, version: int) -> bool:
        return 0 < self.rounds <= version

"""What a schedule is: who is waited for, which pushes count, when a round closes.

Pure and free of clocks and of gRPC: events come in as method calls, decisions are read from properties.

    waiting for weights -> waiting for workers -> collecting <-> closing -> ended
"""

from collections.abc import Callable, Set
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import ClassVar, Protocol

from gradwire_server.rounds.schedule_settings import ScheduleSettings


class Phase(StrEnum):
    """What the run is doing; the words that Status sends."""

    WAITING_FOR_WEIGHTS = "waiting for weights"
    WAITING_FOR_WORKERS = "waiting for workers"
    COLLECTING = "collecting"
    CLOSING = "closing"
    ENDED = "ended"


class Verdict(Enum):
    """Whether a push counts."""

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
        digest: digest of its frames.
        version: the version that it is a part of, once that is there.
    """

    round: int
    digest: int
    version: int


class Schedule(Protocol):
    """The rounds of one run. Round r makes version r out of version r - 1.

    A push is known by its worker and its round: repeating the newest one that counted changes nothing.

    Attributes:
        queues: whether pushes that count form a queue in the order of their arrival, which outlives the closing of a
            round. The journal then has them in that order, and a checkpoint takes those along that wait.
        max_delay: versions that the weights of a push may be older than the round before it.
        version: newest version; None until the initial weights are there.
        newest: worker -> its newest push that counted.
        waited_for: slots whose workers hold the newest weights and are alive.
    """

    queues: ClassVar[bool]
    max_delay: ClassVar[int]
    settings: ScheduleSettings
    version: int | None
    newest: dict[str, Counted]
    waited_for: set[int]

    @property
    def phase(self) -> Phase:
        """What the run is doing."""

    @property
    def open_round(self) -> int:
        """The round that pushes count in, or that is being closed; 0 before there are weights."""

    @property
    def closed(self) -> int:
        """The newest round that no push can count in any more."""

    @property
    def contributors(self) -> Set[int]:
        """Slots whose pushes count and are no part of a version yet."""

    @property
    def taking_part(self) -> Set[int]:
        """Slots that have taken part since the run began."""

    @property
    def called(self) -> Set[int]:
        """Slots that take part in the open round, as far as they are waited for; once the run is over, all of these."""

    @property
    def missed(self) -> Set[int]:
        """Slots that took part in the round that closed last, and whose pushes it lacked."""

    @property
    def missing(self) -> Set[int]:
        """Slots whose pushes the open round waits for."""

    @property
    def absent(self) -> Set[int]:
        """Slots whose workers died and whose pushes a quorum may need."""

    @property
    def first_awaited(self) -> float:
        """The lowest slot whose push is still to come, and summed before those of higher ones; infinity for none."""

    @property
    def awaits_deadline(self) -> bool:
        """Whether the passing of a deadline would change anything."""

    @property
    def overdue(self) -> bool:
        """Whether the deadline of the open round has passed, and too few pushes count."""

    @property
    def may_close(self) -> bool:
        """Whether the open round has all that it waits for."""

    @property
    def has_ready(self) -> bool:
        """Whether `pop_ready` would return any slots."""

    def begin(self, version: int = 0) -> None:
        """Begin at `version`, whose weights are there."""

    def resume(
        self,
        version: int,
        expected: set[int],
        known: set[int],
        newest: dict[str, Counted],
        pushed: Set[int] = frozenset(),
    ) -> None:
        """Resume at `version`: the `expected` slots' workers are about to come back, of all `known`.

        Pushes of the slots `pushed` for the open round will be counted again.
        """

    def admit(self, slot: int, worker: str = "") -> None:
        """Let `slot` take part: its worker, which lives, holds the newest weights.

        No push is waited for that could not count: the open round may have one of this `worker` at another slot.
        """

    def dismiss(self, slot: int, *, dead: bool = False) -> None:
        """Wait for `slot` no more: its worker has left or is dead. A push of it that counts still counts."""

    def pass_deadline(self) -> None:
        """Let the deadline of the open round have passed."""

    def takes(self, slot: int) -> bool:
        """Whether `slot` takes part in the open round, and has not pushed."""

    def verdict(self, slot: int, worker: str, round_: int) -> Verdict:
        """Say whether a push of `worker` at `slot` for `round_` would count, changing nothing.

        Raises:
            RunEndedError: the run is over.
            UsageError: the round has not begun.
        """

    def count(self, slot: int, worker: str, round_: int, digest: int = 0, samples: int = 1) -> Verdict:
        """Let a whole push count, where it may. Raises RunEndedError and UsageError like `verdict`."""

    def is_ahead(self, slot: int, worker: str) -> bool:
        """Whether a push of `worker` at `slot` has to wait until others have pushed, for them to have their share."""

    def came_late(self, slot: int, worker: str) -> None:
        """Note that a push came too late to count."""

    def give_up_on_others(self, worker: str) -> None:
        """Let `worker` wait for no others, until they push: they have not for too long."""

    def version_to_await(self, worker: str, round_: int, verdict: Verdict) -> int:
        """Return the version that a worker is to wait for after its push for `round_`, given its verdict."""

    def pop_ready(self) -> list[int]:
        """Return the slots whose pushes are to be added now, in order; they count as added from now on."""

    def close(self) -> Closing:
        """Close the open round, all of whose pushes have been added. Raises UsageError where it may not close."""

    def commit(self) -> int:
        """Open the next round, or end the run at its last version; return the new version."""

    def end(self, reason: str = "") -> None:
        """End the run at the version it has; the first reason stands."""


ScheduleFactory = Callable[[ScheduleSettings], Schedule]

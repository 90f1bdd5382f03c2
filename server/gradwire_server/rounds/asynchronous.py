"""The asynchronous mode: every push makes a version of its own, in the order of arrival, if it is not too stale."""

import math
from collections.abc import Set
from typing import ClassVar

from gradwire_common.errors import UsageError
from gradwire_server.rounds.progress import Progress
from gradwire_server.rounds.schedule import Closing, Counted, Phase, Verdict
from gradwire_server.rounds.schedule_settings import ScheduleSettings
from gradwire_server.rounds.turns import Turns


class Arrivals(Progress):
    """The versions of one run that are made of one push each.

    A push for round r was computed on version r - 1. Pushes that count form a queue: each is applied to the version
    that those before it make. One that would be applied to a version more than `staleness` after its own is late, and
    so are one that would make a version after the run's last, and a second one of a slot whose first waits in the
    queue. So which version a push makes is settled when it counts, and nothing that counts is ever dropped.

    A push is known by its worker and its round: repeating the newest one that counted changes nothing, an older one is
    late. No push waits for another worker's, so there are no quorum and no deadline; but a worker that is far ahead of
    the others is held back (`Turns`).
    """

    queues: ClassVar[bool] = True
    max_delay: ClassVar[int] = 0

    def __init__(self, settings: ScheduleSettings):
        super().__init__(settings)
        self._turns = Turns(settings.fair_share)
        self._added: int | None = None  # slot whose push has been added and is no version yet

    @property
    def promised(self) -> int:
        """The version that there is once every push that counts has been applied."""
        return (self.version or 0) + len(self._pushers)

    @property
    def closed(self) -> int:
        """The newest round that no push can count in any more."""
        return (self.version or 0) - self.settings.staleness

    @property
    def missing(self) -> Set[int]:
        """No slots."""
        return frozenset()

    @property
    def absent(self) -> Set[int]:
        """No slots."""
        return frozenset()

    @property
    def first_awaited(self) -> float:
        """Infinity."""
        return math.inf

    @property
    def awaits_deadline(self) -> bool:
        """Never."""
        return False

    @property
    def overdue(self) -> bool:
        """Never."""
        return False

    @property
    def may_close(self) -> bool:
        """Whether the push whose turn it is has been added."""
        return self.phase is Phase.COLLECTING and self._added is not None

    @property
    def has_ready(self) -> bool:
        """Whether a push waits and none has been added to the next version."""
        return self.phase is Phase.COLLECTING and self._added is None and bool(self._pushers)

    def resume(
        self,
        version: int,
        expected: set[int],
        known: set[int],
        newest: dict[str, Counted],
        pushed: Set[int] = frozenset(),  # noqa: ARG002
    ) -> None:
        """Resume at `version`; the pushes that counted and were not applied are to be counted again, in their order."""
        self.begin(version)
        self.newest, self._seen, self.waited_for = dict(newest), set(known), set(expected)

    def admit(self, slot: int, worker: str = "") -> None:  # noqa: ARG002
        """Let `slot` take part: its worker holds the newest weights."""
        self.waited_for.add(slot)
        self._seen.add(slot)

    def dismiss(self, slot: int, *, dead: bool = False) -> None:  # noqa: ARG002
        """Wait for no more evaluations of `slot`. A push of it that counts still counts."""
        self.waited_for.discard(slot)

    def pass_deadline(self) -> None:
        """Do nothing: there is nothing to wait for."""

    def count(self, slot: int, worker: str, round_: int, digest: int = 0, samples: int = 1) -> Verdict:  # noqa: ARG002
        """Let a whole push count, where it may. Raises RunEndedError and UsageError like `verdict`."""
        verdict = self.verdict(slot, worker, round_)
        if verdict is Verdict.COUNTED:
            self._seen.add(slot)
            self._pushers[slot] = worker
            self._remember(worker, Counted(round_, digest, self.promised))
            self._turns.pushed(worker, slot, counts=True)
        return verdict

    def is_ahead(self, slot: int, worker: str) -> bool:
        """Whether a push of `worker` at `slot` has to wait until others have pushed, for them to have their share."""
        return not self._ended and self._turns.is_ahead(worker, slot, self.waited_for)

    def came_late(self, slot: int, worker: str) -> None:
        """Note that a push came too late to count."""
        self._turns.pushed(worker, slot, counts=False)

    def give_up_on_others(self, worker: str) -> None:
        """Let `worker` wait for no others, until they push: they have not for too long."""
        self._turns.give_up_on_others(worker)

    def version_to_await(self, worker: str, round_: int, verdict: Verdict) -> int:  # noqa: ARG002
        """Return the version that a worker is to wait for: the one with its push; after a late one, the newest."""
        return self.promised if verdict is Verdict.LATE else self.newest[worker].version

    def pop_ready(self) -> list[int]:
        """Return the slot whose push is to be added now, if there is one; it counts as added from now on."""
        if not self.has_ready:
            return []
        self._added = next(iter(self._pushers))
        return [self._added]

    def close(self) -> Closing:
        """Begin to make the next version, of the push that has been added."""
        if not self.may_close or self._added is None:
            raise UsageError(f"version {self.open_round} cannot be made: no push has been added")
        self._closing = Closing(self.open_round, (self._added,))
        return self._closing

    def commit(self) -> int:
        """Let the version have been made; return it."""
        version, closed = self._advance()
        self._added = None
        del self._pushers[closed.slots[0]]
        return version

    @property
    def _refuses_all(self) -> bool:
        """Whether the run was ended before its last version; after that, pushes are late."""
        return self._ended and self.version is not None and not self._is_last(self.version)

    def _is_late(self, worker: str, round_: int) -> bool:
        """Whether a push is too stale, follows a newer one of its worker, or would come after the last version."""
        known = self.newest.get(worker)
        stale = self.promised - (round_ - 1) > self.settings.staleness
        return stale or (known is not None and round_ < known.round) or self._is_last(self.promised)

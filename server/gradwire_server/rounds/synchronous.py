"""The synchronous mode: every version is made of one push of each worker."""

import heapq
import math
from collections.abc import Set
from typing import ClassVar

from gradwire_common.errors import UsageError
from gradwire_server.rounds.progress import Progress
from gradwire_server.rounds.sampling import drawn
from gradwire_server.rounds.schedule import Closing, Counted, Phase, Verdict
from gradwire_server.rounds.schedule_settings import ScheduleSettings


class Rounds(Progress):
    """The rounds of one run, one open at a time.

    A slot is *waited for* from the moment its worker holds the newest weights until it leaves or dies. A round closes
    when every slot that is waited for has pushed, at least `quorum` pushes count, and at least `workers` slots have
    taken part since the run began. So a round never closes empty, and waits for the dead only where the quorum cannot
    be had without them. Once its deadline has passed, the quorum suffices.

    Pushes are summed in the order of slots: one may be added as soon as every lower slot that is waited for, or whose
    worker is dead and needed, has been. Only a worker that joins while a round is being collected can come after a
    higher slot. Once the deadline has passed, pushes are summed as they come, so that none of them keeps its memory for
    one that may never come.

    Where rounds are of some workers each (`settings.sampled`), those are *called*: drawn once all have joined and
    whenever a round opens, and one more for each of them that leaves or dies without having pushed. Only they are
    waited for, and only their pushes count. Where a number of samples suffices for a round (`settings.target`), nobody
    is waited for once the pushes have as many, and the quorum is there.

    A push is known by its worker and its round: repeating the newest one that counted changes nothing, however long ago
    its round closed.
    """

    queues: ClassVar[bool] = False
    max_delay: ClassVar[int] = 1

    def __init__(self, settings: ScheduleSettings):
        super().__init__(settings)
        self.missing: set[int] = set()  # slots that are waited for and whose pushes the open round lacks
        self.absent: set[int] = set()  # slots whose workers died and have not come back
        self._overdue = False
        self._called: set[int] = set()  # where rounds are of some workers each
        self._spent: set[int] = set()  # slots whose workers have pushed at another one for the open round
        self._samples = 0  # of the pushes that count
        self._to_add: list[int] = []  # slots of pushes that count and have not been added, as a heap
        self._order: list[int] = []  # slots whose pushes have been added, in that order

    @property
    def closed(self) -> int:
        """The newest round that no push can count in any more."""
        return self.version or 0

    @property
    def called(self) -> Set[int]:
        """Slots that take part in the open round; once the run is over, all that are waited for."""
        return self._called & self.waited_for if self.settings.sampled and not self._ended else self.waited_for

    @property
    def may_close(self) -> bool:
        """Whether the open round has all it waits for."""
        return self.phase is Phase.COLLECTING and self._has_quorum and not self.missing

    @property
    def has_ready(self) -> bool:
        """Whether a push may be added now."""
        return bool(self._to_add) and self._enough and self._to_add[0] < self.first_awaited

    @property
    def overdue(self) -> bool:
        """Whether the deadline of the open round has passed, and too few pushes count."""
        return self.phase is Phase.COLLECTING and self._overdue and not self._has_quorum

    @property
    def first_awaited(self) -> float:
        """The lowest slot whose push is still to come, and summed before those of higher ones."""
        if self.overdue:
            return math.inf
        short = len(self._pushers) + len(self.missing) < self.settings.quorum
        awaited = self.missing | (self.absent - self._pushers.keys()) if short else self.missing
        return min(awaited, default=math.inf)

    @property
    def awaits_deadline(self) -> bool:
        """Whether the open round has a deadline that has not passed."""
        return self.phase is Phase.COLLECTING and not self._overdue

    def resume(
        self,
        version: int,
        expected: set[int],
        known: set[int],
        newest: dict[str, Counted],
        pushed: Set[int] = frozenset(),
    ) -> None:
        """Resume at `version`: wait for the `expected` slots, whose workers are about to come back, of all `known`."""
        self.begin(version)
        self.newest = dict(newest)
        self.absent, self._seen = known - expected, set(known)
        self.waited_for, self._called = set(expected), set(pushed)
        self._open()

    def admit(self, slot: int, worker: str = "") -> None:
        """Wait for `slot` from now on: its worker holds the newest weights.

        Where a push of this `worker` counts in the open round already, at a slot that it had before, only from the next
        round on.
        """
        self.waited_for.add(slot)
        self._seen.add(slot)
        self.absent.discard(slot)
        known = self.newest.get(worker)
        has_pushed = slot in self._pushers or (known is not None and known.round == self.open_round)
        if has_pushed:
            self._spent.add(slot)
        if self.settings.sampled:
            self._call()
        elif not has_pushed and not self._suffices:
            self.missing.add(slot)

    def dismiss(self, slot: int, *, dead: bool = False) -> None:
        """Wait for `slot` no more: its worker has left or is dead. A push of it that counts still counts."""
        self.waited_for.discard(slot)
        self.missing.discard(slot)
        (self.absent.add if dead else self.absent.discard)(slot)
        if slot not in self._pushers:
            self._called.discard(slot)
            self._call()

    def pass_deadline(self) -> None:
        """Let the deadline of the open round have passed: from now on the quorum suffices."""
        if self.phase is Phase.COLLECTING:
            self._overdue = True
            self._settle()

    def verdict(self, slot: int, worker: str, round_: int) -> Verdict:
        """Say whether a push would count. Raises RunEndedError and UsageError as the Protocol says."""
        verdict = super().verdict(slot, worker, round_)
        uncalled = self.settings.sampled and slot not in self._called
        return Verdict.LATE if uncalled and verdict is Verdict.COUNTED else verdict

    def count(self, slot: int, worker: str, round_: int, digest: int = 0, samples: int = 1) -> Verdict:
        """Let a whole push count, where it may. Raises RunEndedError and UsageError like `verdict`."""
        verdict = self.verdict(slot, worker, round_)
        if verdict is Verdict.COUNTED:
            self.admit(slot)
            self._pushers[slot] = worker
            self._remember(worker, Counted(round_, digest, round_))
            self.missing.discard(slot)
            heapq.heappush(self._to_add, slot)
            self._samples += samples
            self._settle()
        return verdict

    def version_to_await(self, worker: str, round_: int, verdict: Verdict) -> int:  # noqa: ARG002
        """Return the version that a worker is to wait for after its push for `round_`, given its verdict."""
        return round_

    def pop_ready(self) -> list[int]:
        """Return the slots whose pushes are to be added now, in order; they count as added from now on."""
        slots: list[int] = []
        if self.has_ready:
            first_awaited = self.first_awaited
            while self._to_add and self._to_add[0] < first_awaited:
                slots.append(heapq.heappop(self._to_add))
        self._order += slots
        return slots

    def close(self) -> Closing:
        """Close the open round, all of whose pushes have been added; no further push can count in it."""
        if not self.may_close or self._to_add:
            raise UsageError(f"round {self.open_round} cannot close: it waits for slots {sorted(self.missing)}")
        self._closing = Closing(self.open_round, tuple(self._order))
        return self._closing

    def commit(self) -> int:
        """Open the next round, or end the run at its last version; return the new version."""
        called = self.called
        version, closed = self._advance()
        self.missed = frozenset(called) - set(closed.slots)
        self._overdue, self._pushers, self._order = False, {}, []
        self._samples, self._called, self._spent = 0, set(), set()
        self._open()
        return version

    @property
    def _refuses_all(self) -> bool:
        return self._ended

    def _is_late(self, worker: str, round_: int) -> bool:  # noqa: ARG002
        return round_ < self.open_round or self._closing is not None

    @property
    def _has_quorum(self) -> bool:
        return len(self._pushers) >= max(1, self.settings.quorum)

    @property
    def _suffices(self) -> bool:
        """Whether the pushes that count make a round without the others."""
        has_target = 0 < self.settings.target <= self._samples
        return (self._overdue or has_target) and self._has_quorum

    def _settle(self) -> None:
        if self._suffices:
            self.missing.clear()

    def _open(self) -> None:
        """Wait for the pushes of a round that opens."""
        self.missing = set() if self.settings.sampled else set(self.waited_for)
        self._call()

    def _call(self) -> None:
        """Let as many take part in the open round as are to, of those that are there."""
        if not self.settings.sampled or self.phase is not Phase.COLLECTING:
            return
        lacking = self.settings.sampled - len(self._called & (self.waited_for | self._pushers.keys()))
        free = self.waited_for - self._called - self._spent
        more = drawn(free, max(0, lacking), self.settings.seed, self.open_round)
        self._called.update(more)
        if not self._suffices:
            self.missing.update(self._called & self.waited_for - self._pushers.keys())

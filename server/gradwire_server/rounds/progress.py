"""How far a run has come: what schedules of any kind keep."""

from abc import ABC, abstractmethod
from collections.abc import Set

from gradwire_common.errors import RunEndedError, UsageError
from gradwire_server.rounds.schedule import Closing, Counted, Phase, Verdict
from gradwire_server.rounds.schedule_settings import ScheduleSettings

MAX_REMEMBERED = 4096  # workers whose newest pushes are known, those that pushed last


class Progress(ABC):
    """The version, the newest push of every worker, who takes part, and whether the run is over."""

    def __init__(self, settings: ScheduleSettings):
        self.settings = settings
        self.version: int | None = None
        self.newest: dict[str, Counted] = {}
        self.waited_for: set[int] = set()
        self.missed: frozenset[int] = frozenset()
        self._seen: set[int] = set()
        self._pushers: dict[int, str] = {}  # slot -> worker whose push counts and is no part of a version yet
        self._closing: Closing | None = None
        self._ended = False
        self._why = ""

    @property
    def phase(self) -> Phase:
        """What the run is doing."""
        if self._ended:
            return Phase.ENDED
        if self.version is None:
            return Phase.WAITING_FOR_WEIGHTS
        if self._closing is not None:
            return Phase.CLOSING
        return Phase.COLLECTING if self._enough else Phase.WAITING_FOR_WORKERS

    @property
    def open_round(self) -> int:
        """The round that pushes count in, or that is being closed; 0 before there are weights."""
        return 0 if self.version is None else self.version + 1

    @property
    def contributors(self) -> frozenset[int]:
        """Slots whose pushes count and are no part of a version yet."""
        return frozenset(self._pushers)

    @property
    def taking_part(self) -> frozenset[int]:
        """Slots that have taken part since the run began."""
        return frozenset(self._seen)

    @property
    def called(self) -> Set[int]:
        """Slots that take part in the open round: all."""
        return self.waited_for

    def takes(self, slot: int) -> bool:
        """Whether `slot` takes part in the open round, and has not pushed."""
        return slot in self.called and slot not in self._pushers

    def begin(self, version: int = 0) -> None:
        """Begin at `version`, whose weights are there."""
        self.version = version
        self._ended = self._is_last(version)

    def verdict(self, slot: int, worker: str, round_: int) -> Verdict:
        """Say whether a push of `worker` at `slot` for `round_` would count, changing nothing.

        Raises:
            RunEndedError: the run is over.
            UsageError: the round has not begun.
        """
        known = self.newest.get(worker)
        if known is not None and known.round == round_:
            return Verdict.DUPLICATE
        if self._refuses_all:
            why = f" ({self._why})" if self._why else ""
            raise RunEndedError(f"push for round {round_} cannot count: the run ended at version {self.version}{why}")
        if self.version is None:
            raise UsageError(f"push for round {round_} comes before the initial weights")
        if round_ > self.open_round or round_ < 1:
            raise UsageError(f"push is for round {round_}; want one for round {self.open_round}")
        return Verdict.LATE if slot in self._pushers or self._is_late(worker, round_) else Verdict.COUNTED

    def is_ahead(self, slot: int, worker: str) -> bool:  # noqa: ARG002
        """Whether a push of `worker` at `slot` has to wait until others have pushed: never."""
        return False

    def came_late(self, slot: int, worker: str) -> None:  # noqa: ARG002
        """Note that a push came too late to count."""
        return

    def give_up_on_others(self, worker: str) -> None:  # noqa: ARG002
        """Let `worker` wait for no others, until they push."""
        return

    def end(self, reason: str = "") -> None:
        """End the run at the version it has; the first reason stands."""
        self._ended, self._why = True, self._why or reason

    @property
    def _enough(self) -> bool:
        """Whether as many slots have taken part as the first version needs."""
        return len(self._seen) >= self.settings.workers

    def _remember(self, worker: str, push: Counted) -> None:
        """Keep the newest push of a worker that counts, and those of as many others as may still repeat theirs."""
        self.newest.pop(worker, None)
        self.newest[worker] = push
        if len(self.newest) > max(MAX_REMEMBERED, 4 * self.settings.workers):
            del self.newest[next(iter(self.newest))]

    def _advance(self) -> tuple[int, Closing]:
        """Count the version that has been made of the closing round; return it and that round."""
        if self._closing is None or self.version is None:
            raise UsageError(f"round {self.open_round} is not closing")
        closed, self._closing = self._closing, None
        self.version += 1
        self._ended = self._ended or self._is_last(self.version)
        return self.version, closed

    def _is_last(self, version: int) -> bool:
        return 0 < self.settings.rounds <= version

    @property
    @abstractmethod
    def _refuses_all(self) -> bool:
        """Whether the run is over for every push that does not count already."""

    @abstractmethod
    def _is_late(self, worker: str, round_: int) -> bool:
        """Whether a push of `worker` for `round_`, which is no later than the open one, can count no more."""

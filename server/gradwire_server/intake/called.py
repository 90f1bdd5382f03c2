"""Workers that wait until they take part in a round, where rounds are of some workers each."""

import asyncio
from contextlib import suppress

from gradwire_common.errors import RunEndedError, UsageError
from gradwire_server.rounds.schedule import Phase, Schedule

WAIT_SECONDS = 20.0  # after which a worker asks again: what lies between may forget a call that is silent for long


class Called:
    """Answers each of them once its slot is called. On the event loop alone."""

    def __init__(self, schedule: Schedule):
        self._schedule = schedule
        self._waiting: dict[asyncio.Event, int] = {}  # the slot of each call: of one that broke, and of the next

    async def wait(self, slot: int, version: int, seconds: float = WAIT_SECONDS) -> int:
        """Return the round after `version` that `slot` takes part in; 0 where there is none for `seconds`.

        Raises:
            RunEndedError: the run is over.
            UsageError: rounds are of all workers.
        """
        if not self._schedule.settings.sampled:
            raise UsageError("turn: every worker takes part in every round of this run; want none to wait for it")
        if not self._round(slot, version) and self._schedule.phase is not Phase.ENDED:
            event = asyncio.Event()
            self._waiting[event] = slot
            try:
                with suppress(TimeoutError):
                    await asyncio.wait_for(event.wait(), seconds)
            finally:
                del self._waiting[event]
        if self._schedule.phase is Phase.ENDED:
            raise RunEndedError(f"the run ended at version {self._schedule.version or 0}")
        return self._round(slot, version)

    def look(self) -> None:
        """Wake those that are called; all once the run is over."""
        for event, slot in self._waiting.items():
            if self._schedule.phase is Phase.ENDED or self._schedule.takes(slot):
                event.set()

    def _round(self, slot: int, version: int) -> int:
        schedule = self._schedule
        return schedule.open_round if schedule.open_round > version and schedule.takes(slot) else 0

"""Workers that wait until they take part in a round, where rounds are of some workers each."""

import asyncio

from gradwire_common.errors import RunEndedError
from gradwire_server.rounds.schedule import Phase, Schedule

WAIT_SECONDS = 20.0  # after which a worker asks again: what lies between may forget a call that is silent for long


class Called:
    """Answers each of them once its slot is called. On the event loop alone."""

    def __init__(self, schedule: Schedule):
        self._schedule = schedule
        self._waiting: dict[int, asyncio.Event] = {}  # by slot

    async def wait(self, slot: int, version: int) -> int:
        """Return the round after `version` that `slot` takes part in; 0 where there is none for WAIT_SECONDS.

        Raises:
            RunEndedError: the run is over.
        """
        if not self._round(slot, version):
            event = self._waiting.setdefault(slot, asyncio.Event())
            try:
                await asyncio.wait_for(event.wait(), WAIT_SECONDS)
            except TimeoutError:
                pass
            finally:
                if self._waiting.get(slot) is event:
                    del self._waiting[slot]
        if self._schedule.phase is Phase.ENDED:
            raise RunEndedError(f"the run ended at version {self._schedule.version or 0}")
        return self._round(slot, version)

    def look(self) -> None:
        """Wake those that are called; all once the run is over."""
        for slot, event in self._waiting.items():
            if self._schedule.phase is Phase.ENDED or self._schedule.takes(slot):
                event.set()

    def _round(self, slot: int, version: int) -> int:
        schedule = self._schedule
        return schedule.open_round if schedule.open_round > version and schedule.takes(slot) else 0

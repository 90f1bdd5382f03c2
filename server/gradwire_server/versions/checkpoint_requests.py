"""Those who want a checkpoint before one is due. On the event loop alone."""

import asyncio

from gradwire_common.errors import GradwireError, UsageError
from gradwire_server.rounds.schedule import Phase, Schedule
from gradwire_server.store.state import Store


class CheckpointRequests:
    """Waits for the next checkpoint that is begun."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[int]] = []

    @property
    def any(self) -> bool:
        """Whether anybody waits."""
        self._waiting = [each for each in self._waiting if not each.done()]
        return bool(self._waiting)

    async def saved(self, store: Store | None, schedule: Schedule, *, paused: bool) -> int:
        """Return the version of the next checkpoint that is begun, once it is on the disk.

        Raises:
            UsageError: nothing is kept of this run, or no round will end, since the run is paused, over or not begun.
            UnavailableError: it could not be written.
            GradwireError: what `refuse` is given.
        """
        if store is None:
            raise UsageError("checkpoint: this run keeps none on the disk; want a server with checkpoint_every above 0")
        if schedule.version is None or schedule.phase is Phase.ENDED:
            raise UsageError(f"checkpoint: the run is {schedule.phase.value}; want one in progress")
        if paused:
            raise UsageError(
                "checkpoint: the run is paused, and makes them when a round ends; want it to continue first"
            )
        begun: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append(begun)
        version = await begun
        await store.saved(version)
        return version

    def answer(self, version: int) -> None:
        """Tell those who wait that the checkpoint of `version` is begun."""
        while self.any:
            self._waiting.pop().set_result(version)

    def refuse(self, error: GradwireError) -> None:
        """Tell those who wait that there will be none."""
        while self.any:
            self._waiting.pop().set_exception(error)

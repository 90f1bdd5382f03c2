"""Those who want a checkpoint before one is due. On the event loop alone."""

import asyncio

from gradwire_common.errors import GradwireError


class CheckpointRequests:
    """Waits for the next checkpoint that is begun."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[int]] = []

    @property
    def any(self) -> bool:
        """Whether anybody waits."""
        self._waiting = [each for each in self._waiting if not each.done()]
        return bool(self._waiting)

    async def begun(self) -> int:
        """Return the version of the next checkpoint, once it is begun. Raises what `refuse` is given."""
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        version: int = await waiting
        return version

    def answer(self, version: int) -> None:
        """Tell those who wait that the checkpoint of `version` is begun."""
        while self.any:
            self._waiting.pop().set_result(version)

    def refuse(self, error: GradwireError) -> None:
        """Tell those who wait that there will be none."""
        while self.any:
            self._waiting.pop().set_exception(error)

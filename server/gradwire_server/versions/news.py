"""Word of a change to all that wait for one, on the event loop alone."""

import asyncio


class News:
    """Wakes whatever waits by now; what waits afterwards waits for the next time."""

    def __init__(self) -> None:
        self._told = asyncio.Event()

    def tell(self) -> None:
        """Wake all that wait."""
        self._told.set()
        self._told = asyncio.Event()

    async def wait(self) -> None:
        """Wait until there is news."""
        await self._told.wait()

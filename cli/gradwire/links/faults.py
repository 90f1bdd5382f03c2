"""What goes wrong on an emulated link: it stands still, passes half of what it reads, or loses the answers."""

import asyncio
from dataclasses import dataclass, field


class LinkCutError(ConnectionResetError):
    """The connection ends here: its near end is reset, its far end gets what has passed."""


@dataclass
class Faults:
    """The state of a link, for all of its connections; changed on the forwarder's event loop alone.

    Attributes:
        clear: while it is not set, nothing passes either way.
        left: bytes that go up before whichever connection carries the next one is cut; None for no end.
        deaf: what comes down is lost.
    """

    clear: asyncio.Event = field(default_factory=asyncio.Event)
    left: int | None = None
    deaf: bool = False

    def __post_init__(self) -> None:
        self.clear.set()

    async def allowed(self, data: bytes, *, up: bool) -> tuple[bytes, bool]:
        """Return as much of `data` as passes, once anything does, and whether the connection is cut after it."""
        await self.clear.wait()
        if not up:
            return b"" if self.deaf else data, False
        if self.left is None:
            return data, False
        passing = data[: self.left]
        self.left -= len(passing)
        if self.left:
            return passing, False
        self.left = None
        return passing, True

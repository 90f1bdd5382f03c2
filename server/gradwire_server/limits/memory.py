"""How many bytes of pushes the server holds at once, and which push comes in next."""

import asyncio
import heapq
import itertools
import math
from collections import deque
from collections.abc import Callable, Collection

from gradwire_common.errors import ConfigError, UsageError
from gradwire_common.layout.manifest import Layout
from gradwire_common.methods.method import Method
from gradwire_common.units import format_size
from gradwire_server.limits.streams import Stream

FRAME_OVERHEAD = 256  # bytes of header, code lengths and padding of one frame, as a rule
HEADROOM = 1.1  # a push may take more than its bits; what is needed above that is asked for as it comes


def usual_push(layout: Layout, method: Method) -> int:
    """Return the bytes that a push of `layout` takes as a rule, buffers included."""
    frames = len(layout.parameters) + len(layout.buffers)
    return (
        int(HEADROOM * method.nominal_bits / 8 * layout.n_parameters) + 4 * layout.n_buffers + FRAME_OVERHEAD * frames
    )


class Memory:
    """Lets pushes in, those of lower slots first, so that all together never take more than `capacity` bytes.

    A push waits, unread, until there is room for all of it, so whatever has been let in can be completed. Room for one
    is kept for the slot that the round needs next; its push waits at most until those before it have been added. One
    that turns out larger than expected waits for more room in the middle, the oldest excepted. So none waits
    indefinitely. Two kinds are let in although there is too little room, and others wait the longer: what the oldest
    takes more than expected, and a needed push whose worker came back while room was kept for a later slot.

    While any waits, those inside whose peers stand still are ended (`evict`): what has come of them is kept elsewhere.

    Args:
        capacity: bytes.
        usual: bytes that a push takes, before there was any.
        needed: tells the slot whose push the round needs next; infinity where it needs none.
    """

    def __init__(self, capacity: int, usual: int, needed: Callable[[], float] = lambda: math.inf):
        if usual > capacity:
            raise ConfigError(
                f"memory: got {format_size(capacity)} for pushes that take about {format_size(usual)} each, want at "
                "least as much as one takes"
            )
        self.capacity = capacity
        self.used = 0
        self.peak = 0
        self.largest = usual
        self._needed = needed
        self._inside: dict[Lease, None] = {}  # oldest first
        self._growing: deque[tuple[Lease, int, asyncio.Future[None]]] = deque()
        self._waiting: list[tuple[int, int, asyncio.Future[None], Lease]] = []  # slot, order of coming; a heap
        self._order = itertools.count()
        self._open = False

    @property
    def waiting(self) -> int:
        """Pushes that wait for room."""
        waiters = [waiter for _, _, waiter, _ in self._waiting] + [waiter for _, _, waiter in self._growing]
        return sum(not waiter.done() for waiter in waiters)

    def expect(self, n: int) -> None:
        """Expect pushes of `n` bytes: one of them counts."""
        self.largest = max(self.largest, n)

    async def admit(self, slot: int, stream: Stream | None = None) -> "Lease":
        """Wait until there is room for a push of `slot`; return what holds it.

        Args:
            slot: of its worker.
            stream: the call that brings it, to end it where it stands still.
        """
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        lease = Lease(self, slot, stream)
        heapq.heappush(self._waiting, (slot, next(self._order), waiter, lease))
        self.look()
        try:
            await waiter
        except asyncio.CancelledError:
            lease.release()  # where it had been let in already
            self.look()
            raise
        return lease

    def is_stuck(self, kept: Collection["Lease"]) -> bool:
        """Whether the push that is needed next waits, and nothing but `kept` leases takes the memory that it needs."""
        needed = self._needed()
        waits = any(slot == needed and not waiter.done() for slot, _, waiter, _ in self._waiting)
        return waits and self._inside.keys() <= set(kept)

    def evict(self, now: float, since: float = -math.inf) -> None:
        """End the pushes inside whose peers stand still, if any other waits for room.

        Args:
            now: seconds.
            since: those that were let in before are ended too, whether they stand still or not.
        """
        if not self.waiting:
            return
        for lease in self._inside:
            stream = lease.stream
            if stream is not None and not lease.complete and (stream.due < now or lease.since < since):
                stream.end("it stood still or took too long while others waited for its room; the rest may follow")

    def look(self) -> None:
        """Let in every push that may come in now, and give those inside the room that they lack."""
        for growing in list(self._growing):
            lease, n, waiter = growing
            if waiter.done() or lease not in self._inside:
                self._growing.remove(growing)
            elif self._may_grow(lease, n):
                self._growing.remove(growing)
                lease.fit(n)
                waiter.set_result(None)
        while self._waiting:
            slot, _, waiter, lease = self._waiting[0]
            if not waiter.done() and not self._may_enter(slot):
                return
            heapq.heappop(self._waiting)
            if not waiter.done():
                self._inside[lease] = None
                lease.fit(self.largest)
                waiter.set_result(None)

    def open(self) -> None:
        """Let in all who wait from now on: the run is over, and they are told so."""
        self._open = True
        self.look()

    def _may_enter(self, slot: int) -> bool:
        if self._open:
            return True
        needed, room = self._needed(), self.capacity - self.used - self.largest
        if slot == needed:
            return room >= 0 or not any(lease.complete and lease.slot < needed for lease in self._inside)
        kept = 0 if needed == math.inf else self.largest - self._taken_by(needed)
        return room >= max(0, kept)

    def _may_grow(self, lease: "Lease", n: int) -> bool:
        if self._open or self.used + n - lease.n_bytes <= self.capacity or lease.slot == self._needed():
            return True
        return lease is next((each for each in self._inside if not each.complete), None)

    def _taken_by(self, slot: float) -> int:
        return sum(lease.n_bytes for lease in self._inside if lease.slot == slot)


class Lease:
    """The memory that one push takes.

    Attributes:
        n_bytes: bytes of memory.
        complete: whether the whole push is there.
        stream: the call that brings it.
        since: when that began to bring it.
    """

    def __init__(self, memory: Memory, slot: int, stream: Stream | None = None):
        self.slot = slot
        self.n_bytes = 0
        self.complete = False
        self.stream = stream
        self.since = math.inf
        self._memory = memory

    async def grow(self, n: int) -> None:
        """Wait until there is room for `n` bytes of this push.

        Raises:
            UsageError: a push of so many bytes can never be held.
        """
        if n <= self.n_bytes:
            return
        memory = self._memory
        if n > memory.capacity:
            raise UsageError(
                f"push is at least {format_size(n)}; at most {format_size(memory.capacity)} fits in memory"
            )
        if memory._may_grow(self, n):
            self.fit(n)
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        memory._growing.append((self, n, waiter))
        await waiter

    def fit(self, n: int) -> None:
        """Take `n` bytes of room, whether they are free or not."""
        memory = self._memory
        if n > self.n_bytes:
            memory.used += n - self.n_bytes
            memory.peak = max(memory.peak, memory.used)
            self.n_bytes = n

    def finish(self, n: int) -> None:
        """Keep the `n` bytes that the whole push takes, and no more."""
        self._memory.used += n - self.n_bytes
        self.n_bytes, self.complete = n, True
        self._memory.look()

    def hand_over(self) -> "Lease":
        """Return what holds the room from now on in place of this."""
        successor = Lease(self._memory, self.slot)
        successor.n_bytes, successor.complete = self.n_bytes, self.complete
        self._memory._inside[successor] = None
        self._memory._inside.pop(self, None)
        return successor

    def release(self) -> None:
        """Give the room back; nothing happens where it is held no more."""
        if self in self._memory._inside:
            del self._memory._inside[self]
            self._memory.used -= self.n_bytes
            self._memory.look()

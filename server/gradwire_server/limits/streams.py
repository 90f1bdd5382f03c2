"""Calls that carry frames, while they are open: one of a kind for each worker, which ends where its peer stands still.

Time is an argument, in seconds of any monotonic clock.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from gradwire_common.errors import UnavailableError

IDLE_SECONDS = 10.0  # that a peer may bring nothing, or take nothing, in all, beside what its bytes take
MAX_ENDED = 8  # calls of a worker that were ended and whose end it has not taken: gRPC keeps a message of each
FLOOR_RATE = 16 << 10  # bytes per second; an eighth of the thinnest link, of 1 Mbit/s, that gradwire is made for


class Stream:
    """One such call.

    What a peer may take follows from the bytes that it moves: IDLE_SECONDS and a second for every FLOOR_RATE bytes,
    those that it is waited for included. What the server itself holds back, until its buckets or its memory allow more,
    does not count.

    Attributes:
        due: when the peer has to have moved what it is waited for; infinity while it is waited for nothing.
    """

    def __init__(self) -> None:
        self.due = math.inf
        self.why = ""  # it was ended
        self._ending = asyncio.Timeout(None)
        self._writing: asyncio.Future[None] | None = None
        self._may_end = False
        self._moved = 0  # bytes
        self._spent = self._since = 0.0  # seconds of the peer

    def wait_for(self, n_bytes: int, now: float) -> None:
        """Note that the peer is waited for from now on, to move `n_bytes`."""
        self._since = now
        self.due = now + IDLE_SECONDS + (self._moved + n_bytes) / FLOOR_RATE - self._spent

    def moved(self, n_bytes: int, now: float) -> None:
        """Note that it has moved `n_bytes`."""
        self._moved += n_bytes
        self._spent += now - self._since
        self.due = math.inf

    async def write(self, writing: Coroutine[Any, Any, None]) -> None:
        """Wait until a message has been written; if the call is ended meanwhile, `written` waits for the rest."""
        self._writing = asyncio.ensure_future(writing)
        self._writing.add_done_callback(_look_at)
        await asyncio.shield(self._writing)
        self._writing = None

    async def written(self) -> None:
        """Wait until the peer has taken the message that was being written to it: no call can be answered before."""
        if self._writing is not None:
            await asyncio.wait([self._writing])

    def restart(self) -> None:
        """Let what the peer may take begin again, with another update."""
        self._moved, self._spent = 0, 0.0

    def end(self, why: str) -> None:
        """Let the call fail with an UnavailableError that says `why`, unless all of it has arrived."""
        if self._may_end and not self.why:
            self.why = why
            self._ending.reschedule(asyncio.get_running_loop().time())

    def settle(self) -> None:
        """Let nothing end the call from now on. Raises UnavailableError where something has already."""
        self._check()
        self._may_end = False

    def _check(self) -> None:
        if self.why:
            raise UnavailableError(self.why)


def _look_at(writing: asyncio.Future[None]) -> None:
    """Take note of what a message could not be written for: its connection is gone, which its call is told."""
    if not writing.cancelled():
        writing.exception()


@dataclass
class _Place:
    """Where the streams of one worker take turns."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    newest: Stream | None = None
    n_open: int = 0  # whatever holds a turn or waits for it
    n_calls: int = 0  # not over, as gRPC sees it


class Streams:
    """The open streams of one kind: one a worker, its newest.

    Args:
        what: they are, for messages.
    """

    def __init__(self, what: str):
        self._what = what
        self._places: dict[str, _Place] = {}

    @asynccontextmanager
    async def open(self, worker_id: str, stream: Stream, context: Any = None) -> AsyncIterator[None]:
        """Let `stream` be that of a worker, once an older one has gone, which is ended where it may be.

        Args:
            worker_id: the worker.
            stream: a new one.
            context: of a call that is not over before its peer has read what it is sent.

        Raises:
            UnavailableError: it was ended itself, or too many before it are not over.
        """
        place = self._places.setdefault(worker_id, _Place())
        if context is not None:
            if place.n_calls >= MAX_ENDED:
                raise UnavailableError(f"{self._what}: worker {worker_id} has {place.n_calls} that are not over")
            place.n_calls += 1
            context.add_done_callback(lambda _: self._over(worker_id, place))
        if place.newest is not None:
            place.newest.end(f"{self._what} ended: worker {worker_id} has begun a newer one")
        place.newest = stream
        place.n_open += 1
        try:
            async with stream._ending:
                stream._may_end = True
                async with place.turn:
                    yield
        except TimeoutError:
            stream._check()
            raise
        finally:
            stream._may_end = False
            place.n_open -= 1
            self._tidy(worker_id, place)

    def _over(self, worker_id: str, place: _Place) -> None:
        place.n_calls -= 1
        self._tidy(worker_id, place)

    def _tidy(self, worker_id: str, place: _Place) -> None:
        if not place.n_open and not place.n_calls:
            self._places.pop(worker_id, None)

    def end(self, worker_id: str, why: str) -> None:
        """End the stream of a worker, if it has one."""
        if (place := self._places.get(worker_id)) is not None and place.newest is not None:
            place.newest.end(f"{self._what} ended: {why}")

    def end_stalled(self, now: float, why: str) -> None:
        """End those whose peers have not moved what they were to by now."""
        for place in list(self._places.values()):
            if place.newest is not None and place.newest.due < now:
                place.newest.end(f"{self._what} ended: {why}")

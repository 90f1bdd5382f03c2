"""Bytes that wait for their token buckets: where buckets meet a clock and the event loop."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable

from gradwire_common.transport.token_bucket import SECOND, TokenBucket
from gradwire_server.limits.fair_queue import FairQueue, Request
from gradwire_server.supervision import Supervisor

KEPT_BACK = 200  # one byte in so many stays free for what is not charged: frames that small windows split, pings
TICK = 0.02  # seconds that turns are gathered in; what flows in meanwhile passes at its end, for one wake-up

Clock = Callable[[], int]
Sleep = Callable[[float], Awaitable[None]]


class SharedGate:
    """Lets one direction of all workers' bytes pass at the rate of one bucket, if there is one, in fair turns."""

    def __init__(
        self,
        rate: int,
        burst: int,
        clock: Clock = time.monotonic_ns,
        sleep: Sleep = asyncio.sleep,
        tasks: Supervisor | None = None,
    ):
        self._bucket = changed_bucket(None, rate, burst)
        self._clock = clock
        self._sleep = sleep
        self._tasks = tasks or Supervisor()
        self._queue = FairQueue()
        self._pump: asyncio.Task[None] | None = None

    @property
    def tokens(self) -> int:
        """Bytes that may pass at once now, below zero what is owed; 0 where there is no limit."""
        return 0 if self._bucket is None else self._bucket.tokens(self._clock())

    async def take(self, flow: Hashable, n: int) -> bool:
        """Wait until `n` bytes of `flow` may pass; return whether they had to. A cancelled wait gives tokens back."""
        bucket = self._bucket
        if bucket is None:
            return False
        if self._pump is None and bucket.tokens(now := self._clock()) >= n:
            bucket.spend(n, now)
            return False
        request = Request(flow, n, asyncio.get_running_loop().create_future())
        self._queue.put(request)
        if self._pump is None:
            self._pump = self._tasks.start("sharing out a limit", self._serve())
        try:
            await request.waiter
        except asyncio.CancelledError:
            if not self._queue.remove(request) and request.waiter.done() and not request.waiter.cancelled():
                self.refund(flow, n)  # it was its turn already
            raise
        return True

    def refund(self, flow: Hashable, n: int) -> None:
        """Give back `n` bytes that were taken and did not pass."""
        if self._bucket is not None:
            self._bucket.refund(n)
            self._queue.credit(flow, n)

    def settle(self, flow: Hashable, taken: int, used: int) -> None:
        """Charge the `used` bytes that have passed now in place of the `taken` ones that were let pass before."""
        if self._bucket is not None:
            self._bucket.refund(taken)
            self._bucket.spend(used, self._clock())
            self._queue.credit(flow, taken - used)

    def charge(self, n: int) -> None:
        """Charge `n` bytes that have passed already; those that come later wait for them."""
        if self._bucket is not None:
            self._bucket.spend(n, self._clock())

    def set_rate(self, rate: int, burst: int) -> None:
        """Change the limit from now on; a rate of 0 lifts it."""
        self._bucket = changed_bucket(self._bucket, rate, burst, self._clock())

    async def _serve(self) -> None:
        """Let requests pass, each in its turn, until none waits."""
        try:
            while self._queue:
                request = self._queue.take()
                bucket = self._bucket
                wait = bucket.spend(request.n, self._clock()) if bucket is not None else 0
                if wait > 0 and bucket is not None:
                    await self._sleep(max(wait / SECOND, min(TICK, bucket.burst / bucket.rate / 4)))
                if not request.waiter.done():
                    request.waiter.set_result(None)
                else:
                    self.refund(request.flow, request.n)
        finally:
            self._pump = None


class Gate:
    """Lets one direction of one worker's bytes pass at the rate of its bucket and of the shared one, and counts them.

    Attributes:
        n_bytes: bytes that have passed.
        waited: seconds that the buckets made them wait.
    """

    def __init__(
        self,
        rate: int,
        burst: int,
        clock: Clock = time.monotonic_ns,
        sleep: Sleep = asyncio.sleep,
        shared: SharedGate | None = None,
    ):
        self._bucket = changed_bucket(None, rate, burst)
        self._clock = clock
        self._sleep = sleep
        self._shared = shared
        self.n_bytes = 0
        self.waited = 0.0

    @property
    def tokens(self) -> int:
        """Bytes that its own bucket lets pass at once now, below zero what is owed; 0 where there is no limit."""
        return 0 if self._bucket is None else self._bucket.tokens(self._clock())

    async def take(self, n: int) -> None:
        """Wait until `n` bytes may pass. A wait that is cancelled gives its tokens back.

        The worker's own bucket comes first: only who may send takes turns at the shared one. More than a burst, which
        only a chunk made before the limits changed can be, waits until all of it has flowed in.
        """
        self.n_bytes += n
        bucket, began = self._bucket, self._clock()
        waited = False
        try:
            if bucket is not None and (wait := bucket.spend(n, began)) > 0:
                waited = True
                await self._sleep(wait / SECOND)
            if self._shared is not None:
                waited |= await self._shared.take(self, n)
        except asyncio.CancelledError:
            self.n_bytes -= n
            if bucket is not None:
                bucket.refund(n)
            raise
        if waited:
            self.waited += (self._clock() - began) / SECOND

    def settle(self, taken: int, used: int) -> None:
        """Charge the `used` bytes that have passed now in place of the `taken` ones that were let pass before.

        What was taken has been part of what the bucket holds until now, so holding it back gains nothing.
        """
        self.n_bytes += used - taken
        if self._bucket is not None:
            self._bucket.refund(taken)
            self._bucket.spend(used, self._clock())
        if self._shared is not None:
            self._shared.settle(self, taken, used)

    def charge(self, n: int) -> None:
        """Charge `n` bytes that have passed already; those that come later wait for them."""
        self.n_bytes += n
        if self._bucket is not None:
            self._bucket.spend(n, self._clock())
        if self._shared is not None:
            self._shared.charge(n)

    def set_rate(self, rate: int, burst: int) -> None:
        """Change the limit from now on; a rate of 0 lifts it."""
        self._bucket = changed_bucket(self._bucket, rate, burst, self._clock())


def changed_bucket(bucket: TokenBucket | None, rate: int, burst: int, now: int | None = None) -> TokenBucket | None:
    """Return `bucket` with another rate and burst, a new one where there was none, or None for a rate of 0.

    A new one is full, unless there is a `now` at which it takes the place of no limit: then it is empty.
    """
    if not rate:
        return None
    kept = max(1, rate - rate // KEPT_BACK)
    if bucket is None:
        bucket = TokenBucket(kept, burst)
        if now is not None:
            bucket.spend(burst, now)
    elif now is not None:
        bucket.set_rate(kept, burst, now)
    return bucket

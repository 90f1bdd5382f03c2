"""Bytes that wait for their token buckets: where buckets meet a clock and the event loop."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable, Iterable
from dataclasses import asdict, dataclass

from gradwire_common.errors import ConfigError
from gradwire_common.transport.chunks import MAX_CHUNK, MIN_CHUNK, chunk_size
from gradwire_common.transport.token_bucket import SECOND, TokenBucket
from gradwire_common.units import MAX_BYTES, format_size
from gradwire_server.limits.fair_queue import FairQueue, Request

MESSAGE_BYTES = 512  # of a chunk message and its framing beside 16 KiB of data, generously; 1 MiB has 64 frames of it
LIMITED_CHUNK = 64 << 10  # most bytes in a chunk of a limited link that asks for no window: longer ones pass in lumps
KEPT_BACK = 200  # one byte in so many stays free for what is not charged: frames that small windows split, pings
TICK = 0.02  # seconds that turns are gathered in; what flows in meanwhile passes at its end, for one wake-up
RATES = ("rate_up", "rate_down", "shared_up", "shared_down")  # the limits that are rates
CHUNKS_IN_BURST = 2  # so that one chunk may pass while the next fills up

Clock = Callable[[], int]
Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Limits:
    """What the token buckets allow, in bytes and bytes per second; a rate of 0 is no limit.

    Attributes:
        rate_up, rate_down, burst: of each worker.
        shared_up, shared_down, burst_shared: of all together.
        window: bytes that a worker may have under way in one round trip, which are those of a chunk, whatever its rate;
            0 for what its rate makes of it.
    """

    rate_up: int = 0
    rate_down: int = 0
    burst: int = 256 << 10
    shared_up: int = 0
    shared_down: int = 0
    burst_shared: int = 1 << 20
    window: int = 0

    def __post_init__(self) -> None:
        """Raise ConfigError unless every number fits the wire and every bucket holds two chunks."""
        for name, value in asdict(self).items():
            if value > MAX_BYTES:
                raise ConfigError(f"{name}: got {value} bytes, want at most {MAX_BYTES}")
        if self.window > MAX_CHUNK:
            raise ConfigError(f"window: got {format_size(self.window)}, want at most {format_size(MAX_CHUNK)}")
        chunk_bytes = max(MIN_CHUNK, self.window)
        least = CHUNKS_IN_BURST * (chunk_bytes + MESSAGE_BYTES)
        for name, limited in [
            ("burst", self.rate_up or self.rate_down),
            ("burst_shared", self.shared_up or self.shared_down),
        ]:
            if limited and getattr(self, name) < least:
                raise ConfigError(
                    f"{name}: got {format_size(getattr(self, name))}, want at least {least} bytes, two chunks of "
                    f"{format_size(chunk_bytes)}"
                )

    @property
    def limited(self) -> bool:
        """Whether there is any limit."""
        return bool(self.rate_up or self.rate_down or self.shared_up or self.shared_down)

    def share_up(self, n_workers: int) -> int:
        """Return the bytes per second left to a worker when `n_workers` all send; 0 where there is no limit."""
        return least_rate([self.rate_up, self.shared_up // max(n_workers, 1)])

    def share_down(self, n_workers: int) -> int:
        """Return the bytes per second left to a worker when all of `n_workers` are sent; 0 where there is no limit."""
        return least_rate([self.rate_down, self.shared_down // max(n_workers, 1)])

    @property
    def chunk_bytes(self) -> int:
        """Most bytes of data in one chunk."""
        if self.window:
            return max(self.window, MIN_CHUNK)
        rates = (self.rate_up, self.rate_down, self.shared_up, self.shared_down)
        size = chunk_size(least_rate(rates))
        if not self.limited:
            return size
        bursts = [self.burst] * bool(self.rate_up or self.rate_down)
        bursts += [self.burst_shared] * bool(self.shared_up or self.shared_down)
        return min(size, LIMITED_CHUNK, min(bursts) // CHUNKS_IN_BURST - MESSAGE_BYTES)


def least_rate(rates: Iterable[int]) -> int:
    """Return the lowest of `rates`, of which a 0 stands for no limit."""
    return min((rate for rate in rates if rate), default=0)


class SharedGate:
    """Lets one direction of all workers' bytes pass at the rate of one bucket, if there is one, in fair turns."""

    def __init__(self, rate: int, burst: int, clock: Clock = time.monotonic_ns, sleep: Sleep = asyncio.sleep):
        self._bucket = changed_bucket(None, rate, burst)
        self._clock = clock
        self._sleep = sleep
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
            self._pump = asyncio.create_task(self._serve())
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

        What was taken has been part of what the bucket holds until now, so whoever held it back has gained nothing.
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

"""Bytes that wait for their token bucket: where the bucket meets a clock and the event loop."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from gradwire_common.chunks import MIN_CHUNK, chunk_size
from gradwire_common.errors import ConfigError
from gradwire_common.units import format_size
from gradwire_server.token_bucket import SECOND, TokenBucket

MESSAGE_BYTES = 512  # of a chunk message and its framing beside 16 KiB of data, generously; 1 MiB has 64 frames of it
LIMITED_CHUNK = 64 << 10  # most bytes in a chunk of a limited link; longer ones let a sender run ahead of its tokens
CHUNKS_IN_BURST = 2  # so that one chunk may pass while the next fills up


@dataclass(frozen=True, slots=True)
class Limits:
    """What the token buckets allow one worker, in bytes and bytes per second; a rate of 0 is no limit."""

    rate_up: int = 0
    rate_down: int = 0
    burst: int = 256 << 10

    def __post_init__(self) -> None:
        least = CHUNKS_IN_BURST * (MIN_CHUNK + MESSAGE_BYTES)
        if self.limited and self.burst < least:
            raise ConfigError(
                f"burst: got {format_size(self.burst)}, want at least {least} bytes, two of the smallest chunks"
            )

    @property
    def limited(self) -> bool:
        """Whether there is any limit."""
        return bool(self.rate_up or self.rate_down)

    @property
    def chunk_bytes(self) -> int:
        """Most bytes of data in one chunk."""
        slower = min((rate for rate in (self.rate_up, self.rate_down) if rate), default=0)
        size = chunk_size(slower)
        if not self.limited:
            return size
        return min(size, LIMITED_CHUNK, self.burst // CHUNKS_IN_BURST - MESSAGE_BYTES)


class Gate:
    """Lets one direction of one worker's bytes pass at the rate of its bucket, if it has one, and counts them.

    Attributes:
        n_bytes: bytes that have passed.
        waited: seconds that the bucket made them wait.
    """

    def __init__(
        self,
        rate: int,
        burst: int,
        clock: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ):
        self._bucket = TokenBucket(rate, burst) if rate else None
        self._clock = clock
        self._sleep = sleep
        self.n_bytes = 0
        self.waited = 0.0

    @property
    def tokens(self) -> int:
        """Bytes that may pass at once now, below zero what is owed; 0 where there is no limit."""
        return 0 if self._bucket is None else self._bucket.tokens(self._clock())

    async def take(self, n: int) -> None:
        """Wait until `n` bytes may pass. A wait that is cancelled gives its tokens back."""
        self.n_bytes += n
        if self._bucket is None:
            return
        wait = self._bucket.take(n, self._clock()) / SECOND
        if wait <= 0:
            return
        try:
            await self._sleep(wait)
        except asyncio.CancelledError:
            self.refund(n)
            raise
        self.waited += wait

    def refund(self, n: int) -> None:
        """Give back `n` bytes that were taken and did not pass."""
        self.n_bytes -= n
        if self._bucket is not None:
            self._bucket.refund(n)

    def charge(self, n: int) -> None:
        """Charge `n` bytes that have passed already; those that come later wait for them."""
        self.n_bytes += n
        if self._bucket is not None:
            self._bucket.spend(n, self._clock())

    def set_rate(self, rate: int, burst: int) -> None:
        """Change the limit from now on; a rate of 0 lifts it."""
        if not rate:
            self._bucket = None
        elif self._bucket is None:
            self._bucket = TokenBucket(rate, burst)
        else:
            self._bucket.set_rate(rate, burst, self._clock())

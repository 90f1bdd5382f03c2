"""How many bytes may pass, and when."""

from gradwire_common.errors import ConfigError, UsageError

SECOND = 1_000_000_000  # nanoseconds


class TokenBucket:
    """A bucket of `burst` bytes, full at first, refilled at `rate` bytes per second.

    Over any time T it lets no more than rate * T + burst bytes pass. It reads no clock and never sleeps: callers pass
    `now`, in whole nanoseconds of any monotonic clock, and wait by themselves for as long as `take` says. A take is a
    reservation: later ones queue up behind it, and `refund` gives back what was not used after all. A clock that steps
    backwards lengthens waits by the step, and never lets more pass.

    The state is one number, the time at which the bucket was or will be empty of debt (GCRA, ITU-T I.371):
    before `_clear`, bytes are owed; after it, (now - _clear) * rate tokens are held, `burst` at the most.
    Costs are rounded up to whole nanoseconds, so rounding errors never add up to a gain.
    """

    __slots__ = ("_clear", "_fill", "burst", "rate")

    def __init__(self, rate: int, burst: int):
        self._clear = 0
        self._fill = 0
        self._set(rate, burst)
        self._clear = -self._fill

    def take(self, n: int, now: int) -> int:
        """Reserve `n` bytes; return the nanoseconds to wait before they may pass.

        Raises:
            UsageError: if `n` is more than the burst: it could never pass at once.
        """
        if n > self.burst:
            raise UsageError(f"got {n} bytes at once, want at most the burst of {self.burst} bytes")
        return self.spend(n, now)

    def spend(self, n: int, now: int) -> int:
        """Charge `n` bytes that have passed already, whatever the burst; return the nanoseconds to wait after them."""
        self._clear = max(self._clear, now - self._fill) + self._cost(n)
        return max(0, self._clear - now)

    def refund(self, n: int) -> None:
        """Give back `n` bytes that were taken and did not pass."""
        self._clear -= n * SECOND // self.rate

    def tokens(self, now: int) -> int:
        """Return the bytes that may pass at once; below zero, what is owed."""
        return (now - max(self._clear, now - self._fill)) * self.rate // SECOND

    def set_rate(self, rate: int, burst: int, now: int) -> None:
        """Change the rate and the burst; tokens held, or owed, remain, up to the new burst."""
        tokens = self.tokens(now)
        self._set(rate, burst)
        self._clear = now + self._cost(-tokens)

    def _set(self, rate: int, burst: int) -> None:
        if rate <= 0 or burst <= 0:
            raise ConfigError(f"token bucket: got {rate} bytes/s and a burst of {burst} bytes, want both above 0")
        self.rate, self.burst = rate, burst
        self._fill = burst * SECOND // rate  # nanoseconds from empty to full

    def _cost(self, n: int) -> int:
        """Nanoseconds in which `n` bytes flow in, rounded up."""
        return -(-n * SECOND // self.rate)

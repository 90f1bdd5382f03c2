"""How long a round waits for pushes once its quorum is there: a fixed time, or one that follows from past arrivals."""

import statistics
from collections import deque

from gradwire_common.settings.waits import Deadline

ARRIVALS = 256  # newest arrivals that an adaptive deadline looks at
MIN_ARRIVALS = 16  # before there are as many, an adaptive deadline never passes
DEVIATIONS = 6.0  # robust standard deviations after the median; of normal arrivals one in a thousand million is later
NORMAL_MAD = 1.4826  # standard deviation over the median absolute deviation, of a normal distribution
MIN_SECONDS = 1.0  # pauses of schedulers and garbage collectors are no stragglers


class Deadlines:
    """Says after how many seconds the deadline of a round passes. It reads no clock.

    An adaptive deadline is median + DEVIATIONS robust standard deviations of the newest arrivals, and at least twice
    what the newest update and the largest push take at the rate limits. So is one of so many seconds: no rate limit
    makes a worker late.

    Args:
        rule: fixed seconds, adaptive, or no deadline at all.
        rate, rate_down: bytes per second that a worker may send, is sent; 0 for no limit. They may change.
    """

    def __init__(self, rule: Deadline, rate: int = 0, rate_down: int = 0):
        self._rule = rule
        self.rate = rate
        self.rate_down = rate_down
        self._arrivals: deque[float] = deque(maxlen=ARRIVALS)
        self._largest = self._update = 0

    def arrived(self, seconds: float, n_bytes: int) -> None:
        """Count a whole push of `n_bytes`, `seconds` after its round began, among the arrivals."""
        self._arrivals.append(seconds)
        self._largest = max(self._largest, n_bytes)

    def expect(self, n_bytes: int) -> None:
        """Expect pushes of about `n_bytes`, before any has come."""
        self._largest = max(self._largest, n_bytes)

    def sent(self, n_bytes: int) -> None:
        """Count the `n_bytes` of the update with which a round begins."""
        self._update = n_bytes

    def slowest_transfer(self, floor: int) -> float:
        """Return the seconds that a push and an update may take at the limits, and over a link of `floor` bytes/s."""
        return self._transfer + self._largest / floor

    @property
    def _transfer(self) -> float:
        transfer = 2 * self._largest / self.rate if self.rate else 0.0
        return transfer + (2 * self._update / self.rate_down if self.rate_down else 0.0)

    @property
    def seconds(self) -> float | None:
        """From the beginning of a round to its deadline; None for none."""
        transfer = self._transfer
        if not self._rule.adaptive:
            return max(self._rule.seconds, transfer) if self._rule else None
        if len(self._arrivals) < MIN_ARRIVALS:
            return None
        median = statistics.median(self._arrivals)
        deviation = NORMAL_MAD * statistics.median(abs(each - median) for each in self._arrivals)
        return max(MIN_SECONDS, transfer, median + DEVIATIONS * deviation)

"""What the log says of calls that their callers may not make: a line each, and no more than so many."""

import logging
import time
from collections.abc import Callable

log = logging.getLogger("gradwire.server")

MAX_LINES = 100  # in WINDOW_SECONDS: strangers can make calls as fast as they like
WINDOW_SECONDS = 10.0


class Refusals:
    """Tells the log of refused calls.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._began = clock()
        self._n = 0

    def tell(self, call: str, peer: str, error: Exception) -> None:
        """Note that a call of `peer` was refused."""
        now = self._clock()
        if now - self._began >= WINDOW_SECONDS:
            if self._n > MAX_LINES:
                log.warning("%d more calls were refused in %.0f s", self._n - MAX_LINES, now - self._began)
            self._began, self._n = now, 0
        self._n += 1
        if self._n <= MAX_LINES:
            log.warning("refused %s of %s: %s", call, peer, error)

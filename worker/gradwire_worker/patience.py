"""How long to go on trying when the weather is bad, and how to wait in between."""

import logging
import threading
import time
from collections.abc import Callable

from gradwire_common.errors import GradwireError, RunEndedError, UnavailableError, WeatherError

FIRST_DELAY = 0.1  # seconds
LONGEST_DELAY = 1.0  # seconds; a server that is back is noticed this soon
log = logging.getLogger(__name__)


class Patience:
    """Delays between attempts, doubling, until `seconds` have passed since the first failure in a row.

    One of these serves one chain of attempts. `closing` ends every wait at once.
    """

    def __init__(self, seconds: float, closing: threading.Event, clock: Callable[[], float] = time.monotonic):
        self._seconds = seconds
        self._closing = closing
        self._clock = clock
        self._began: float | None = None
        self._delay = FIRST_DELAY

    def progress(self) -> None:
        """Say that something worked: the next failure is the first again."""
        if self._began is not None:
            log.info("the server answers again after %.1f s", self._clock() - self._began)
        self._began, self._delay = None, FIRST_DELAY

    def endure(self, error: GradwireError) -> None:
        """Wait a while after `error`, so that the caller may try again.

        Raises:
            GradwireError: `error` itself if trying again cannot help, or the worker is leaving.
            UnavailableError: if the last failure-free moment is too long ago.
        """
        if isinstance(error, RunEndedError) or not isinstance(error, WeatherError) or self._closing.is_set():
            raise error
        now = self._clock()
        if self._began is None:
            self._began = now
            log.warning("%s; trying again for %g s", error, self._seconds)
        if now - self._began >= self._seconds:
            raise UnavailableError(f"{error} (tried for {self._seconds:g} s)") from error
        self._closing.wait(self._delay)
        self._delay = min(2 * self._delay, LONGEST_DELAY)

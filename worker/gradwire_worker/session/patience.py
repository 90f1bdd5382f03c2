"""How long to try again after transient errors, and how to wait in between."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator

from gradwire_common.errors import GradwireError, TransientError, UnavailableError
from gradwire_worker import interrupts

FIRST_DELAY = 0.1  # seconds
LONGEST_DELAY = 1.0  # seconds; a server that is back is noticed this soon
NOTICE_SECONDS = 1.5  # of waiting that the log is silent about
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
        self._noticed = False

    def progress(self) -> None:
        """Say that something worked: the next failure is the first again."""
        if self._began is not None and self._noticed:
            log.info("the server answers again after %.1f s", self._clock() - self._began)
        self._began, self._delay, self._noticed = None, FIRST_DELAY, False

    @contextlib.contextmanager
    def notice(self, what: str) -> Iterator[None]:
        """Tell the log `what` is being waited for, and how long at most, where the body takes NOTICE_SECONDS."""
        timer = threading.Timer(NOTICE_SECONDS, log.warning, ("%s, for up to %g s", what, self._seconds))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def retry(self, error: GradwireError) -> None:
        """Wait a while after `error`, so that the caller may try again.

        Raises:
            GradwireError: `error` itself if trying again cannot help, or the worker is leaving.
            UnavailableError: if the last failure-free moment is too long ago.
            Interrupted: a signal's handler raised meanwhile.
        """
        if not isinstance(error, TransientError) or self._closing.is_set():
            raise error
        now = self._clock()
        if self._began is None:
            self._began = now
        if not self._noticed and now - self._began >= min(NOTICE_SECONDS, self._seconds / 2):
            self._noticed = True
            log.warning("%s; trying again for up to %.3g s more", error, self._seconds - (now - self._began))
        if now - self._began >= self._seconds:
            raise UnavailableError(f"{error} (tried for {self._seconds:g} s)") from error
        interrupts.sleep(self._delay, self._closing)
        self._delay = min(2 * self._delay, LONGEST_DELAY)

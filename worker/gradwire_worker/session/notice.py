"""Tells the log of a wait that takes long: what for, and for how long by now."""

import logging
import time
from collections.abc import Callable

FIRST_NOTICE = 5.0  # seconds of a wait before the log tells of it; then after twice as many each time
log = logging.getLogger("gradwire")


class Notice:
    """One wait, which calls `look` again and again.

    Args:
        what: tells what is waited for.
        clock: monotonic, in seconds.
    """

    def __init__(self, what: Callable[[], str], clock: Callable[[], float] = time.monotonic):
        self._what = what
        self._clock = clock
        self._began = clock()
        self._next = FIRST_NOTICE

    def look(self) -> None:
        """Tell the log, where it is time."""
        seconds = self._clock() - self._began
        if seconds >= self._next:
            self._next = 2 * seconds
            log.warning("waiting for %s, for %.0f s", self._what(), seconds)

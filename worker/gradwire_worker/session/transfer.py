"""Weights that travel while somebody waits: how far they have come, at what rate, and for how long still."""

import logging
import time
from collections.abc import Callable

from gradwire_common.units import format_rate, format_seconds, format_size

SHOW_SECONDS = 0.5  # between two lines for a terminal
LOG_SECONDS = 5.0  # between two lines for the log; what takes less has none

log = logging.getLogger("gradwire")


class Transfer:
    """The weights of one version on their way, counted by whoever moves them, told by whoever waits.

    Args:
        what: what travels, and where to.
        total: bytes in all.
        show: is given a line for a terminal.
        clock: monotonic, in seconds.

    Attributes:
        done: bytes that have passed.
    """

    def __init__(self, what: str, total: int, show: Callable[[str], None], clock: Callable[[], float] = time.monotonic):
        self._what = what
        self._total = total
        self._show = show
        self._clock = clock
        self._began = clock()
        self._next_shown, self._next_logged = SHOW_SECONDS, LOG_SECONDS
        self.done = 0

    def look(self) -> None:
        """Tell how far it is, where it is time."""
        seconds = self._clock() - self._began
        if seconds >= self._next_shown:
            self._next_shown = seconds + SHOW_SECONDS
            self._show(self._text(seconds))
        if seconds >= self._next_logged:
            self._next_logged = seconds + LOG_SECONDS
            log.info("%s", self._text(seconds))

    def finish(self) -> None:
        """Tell the log what it took, where that was long."""
        seconds = self._clock() - self._began
        if seconds >= LOG_SECONDS:
            rate = format_rate(self._total / seconds)
            log.info("%s: %s in %.1f s, %s", self._what, format_size(self._total), seconds, rate)

    def _text(self, seconds: float) -> str:
        done = min(self.done, self._total)
        text = f"{self._what}: {format_size(done)} of {format_size(self._total)}"
        if not done:
            return text
        left = format_seconds((self._total - done) * seconds / done)
        return f"{text}, {format_rate(done / seconds)}, {left} left"

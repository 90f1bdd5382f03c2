"""What a training loop of one's own shows on a terminal: one line, rewritten in place; nothing elsewhere."""

import logging
import math
import shutil
import sys
import time
from collections.abc import Callable
from typing import TextIO

from gradwire_common.units import format_rate, format_seconds
from gradwire_worker.step_report import StepReport

EVERY = 1.0  # seconds between lines
CLEAR = "\r\x1b[2K"  # to the line's beginning, and erase it


def time_left(version: int, rounds: int, done: int, seconds: float) -> list[str]:
    """Return a part of a line that says how long the rest of a run will take; none where nobody knows.

    Args:
        version: that there is.
        rounds: that the run will have; 0 for no end.
        done: rounds that were watched.
        seconds: that they took.
    """
    if not seconds or not done or not rounds:
        return []
    return [f"{format_seconds((rounds - version) * seconds / done)} left"]


def where_it_lies(run: str) -> str:
    """Say where the weights of a run that has ended are, and how to load them."""
    return (
        f"the last weights are in {run}/weights.safetensors in the server's folder of runs: "
        'gradwire.load_weights(model, "weights.safetensors")'
    )


class ProgressLine:
    """One line on standard error, where that is a terminal and the program has set up no logging.

    Args:
        stream: where it goes; standard error when None.
        clock: monotonic, in seconds.
    """

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic):
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._shown = False
        self._next = 0.0
        self._first: tuple[int, float] | None = None
        self._bytes = 0

    @property
    def wanted(self) -> bool:
        """Whether anybody sees the line, and no log tells the same."""
        terminal = self._stream is not None and not self._stream.closed and self._stream.isatty()
        return terminal and not logging.getLogger("gradwire").hasHandlers()

    def tell(self, text: str) -> None:
        """Show `text`, cut to the width of the terminal, in place of what was shown."""
        if self.wanted:
            self._stream.write(CLEAR + text[: shutil.get_terminal_size().columns - 1])
            self._stream.flush()
            self._shown = True

    def step(self, report: StepReport | None, rounds: int, rate: int) -> None:
        """Show a step, where it is time.

        Args:
            report: what the step did; None where there is none yet.
            rounds: that the run will have; 0 for no end.
            rate: bytes per second that the worker may send; 0 for no limit.
        """
        if report is None:
            return
        now = self._clock()
        if self._first is None:
            self._first = report.version, now
        else:
            self._bytes += report.wire_bytes
        if now >= self._next:
            self._next = now + EVERY
            self.tell(self._text(report, rounds, rate, now))

    def close(self, text: str, more: str = "") -> None:
        """End the line, with `text` in its place, and a further line of any length where there is one."""
        if self._shown:
            self.tell(text)
            self._shown = False
            self._stream.write(f"\n{more}\n" if more else "\n")
            self._stream.flush()

    def _text(self, report: StepReport, rounds: int, rate: int, now: float) -> str:
        first, began = self._first or (report.version, now)
        done, seconds = report.version - first, now - began
        parts = [f"round {report.round}" + (f"/{rounds}" if rounds else "")]
        parts += time_left(report.version, rounds, done, seconds)
        if not math.isnan(report.loss):
            parts.append(f"loss {report.loss:.4f}")
        parts.append(f"{report.bits_per_entry:.2f} bits/entry")
        if seconds:
            limit = f" of {format_rate(rate)}" if rate else ""
            parts.append(f"{format_rate(self._bytes / seconds)} up{limit}")
        return "  ".join(parts)

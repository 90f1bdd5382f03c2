"""Of which workers a round is, for how many pushes it waits, and how long, as people write them."""

import math
from dataclasses import dataclass
from typing import Self

from gradwire_common.errors import ConfigError
from gradwire_common.units import NONE, is_none, parse_seconds, quoted

ADAPTIVE = "adaptive"
ALL = "all"


@dataclass(frozen=True, slots=True)
class Quorum:
    """The pushes without which no round closes: a number of them, or a share of the workers.

    Attributes:
        pushes: their number; 0 where a share is given.
        percent: their share of the workers, above 0 to 100; 0 where a number is given.
    """

    pushes: int = 0
    percent: float = 0.0

    @classmethod
    def parse(cls, text: object) -> Self:
        """Return what `text` asks for: "all", a share such as "75 %", or a number of pushes.

        Raises:
            ConfigError: if it is none of these, or out of range.
        """
        shown = str(text).strip()
        if shown == ALL:
            return cls(percent=100.0)
        pushes, percent = _number_or_percent(shown)
        if not (pushes or percent):
            raise ConfigError(f"got {quoted(shown)}, want all, a share such as '75 %', or a number of pushes from 1")
        return cls(pushes, percent)

    def __str__(self) -> str:
        if self.percent:
            return ALL if self.percent == 100 else f"{_shortest(self.percent)} %"
        return str(self.pushes)

    def of(self, workers: int) -> int:
        """Return the pushes that are asked for, of `workers`: at least 1."""
        return max(1, self.pushes, math.ceil(self.percent / 100 * workers - 1e-9))


@dataclass(frozen=True, slots=True)
class Deadline:
    """When the quorum suffices: after fixed seconds, when past arrivals suggest it, or never, which is false.

    Attributes:
        seconds: from the opening of a round; 0 where there is none, or an adaptive one.
        adaptive: whether it follows from past arrivals.
    """

    seconds: float = 0.0
    adaptive: bool = False

    @classmethod
    def parse(cls, text: object) -> Self:
        """Return what `text` names: "none", "adaptive", or a time, of which a bare number is in seconds.

        Raises:
            ConfigError: if it is none of these.
        """
        if is_none(text) or text == ADAPTIVE:
            return cls(adaptive=text == ADAPTIVE)
        try:
            return cls(parse_seconds(text))
        except ConfigError:
            want = "none, adaptive, or a number of seconds from 0.001 to 2592000, or a time such as '500 ms'"
            raise ConfigError(f"got {quoted(text)}, want {want}") from None

    def __str__(self) -> str:
        if self.adaptive:
            return ADAPTIVE
        return f"{_shortest(self.seconds)} s" if self else NONE

    def __bool__(self) -> bool:
        return self.adaptive or self.seconds > 0


@dataclass(frozen=True, slots=True)
class Sampled:
    """The workers that take part in each round: a number of them, a share, or all, which is false.

    Attributes:
        workers: their number; 0 where it is not given.
        percent: their share of the run's workers, above 0 and below 100; 0 where it is not given.
    """

    workers: int = 0
    percent: float = 0.0

    @classmethod
    def parse(cls, text: object) -> Self:
        """Return what `text` asks for: "all", a share such as "10 %" or 0.1, or a number of workers.

        Raises:
            ConfigError: if it is none of these, or out of range.
        """
        shown = str(text).strip()
        if shown == ALL:
            return cls()
        workers, percent = _number_or_percent(shown, fractions=True)
        if not (workers or percent):
            raise ConfigError(f"got {quoted(shown)}, want all, a share such as '10 %' or 0.1, or a number of workers")
        return cls() if percent == 100 else cls(workers, percent)

    def __str__(self) -> str:
        return f"{_shortest(self.percent)} %" if self.percent else str(self.workers or ALL)

    def __bool__(self) -> bool:
        return self.workers > 0 or self.percent > 0

    def of(self, workers: int) -> int:
        """Return how many take part in a round of a run of so many `workers`: at least 1."""
        return min(self.workers or max(1, round(self.percent / 100 * workers)), workers) if self else workers


def _number_or_percent(shown: str, *, fractions: bool = False) -> tuple[int, float]:
    """Return the number from 1, or else the percentage above 0 to 100, that a text gives; zeros where it gives neither.

    Args:
        shown: a whole number, or one before a percent sign.
        fractions: whether a number below 1 is a share too.
    """
    number, sign, rest = shown.partition("%")
    try:
        share = float(number) * (1 if sign else 100)
        if sign or (fractions and share < 100):
            return 0, share if not rest and 0 < share <= 100 else 0.0
        return max(0, int(number)), 0.0
    except (ValueError, OverflowError):
        return 0, 0.0


def _shortest(number: float) -> str:
    """Write a number that reads back as the same, without a needless ".0"."""
    return repr(number).removesuffix(".0")

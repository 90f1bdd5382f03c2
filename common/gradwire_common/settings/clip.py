"""How long an update may be: the bound on the norm of a push, as people write it."""

import math
from dataclasses import dataclass
from typing import Self

from gradwire_common.errors import ConfigError
from gradwire_common.units import NONE, is_none, quoted

MEDIAN = "median"
MAX_NORM = 1e18  # the square of what is within it is within float64 by far, and a weighted sum within float32


@dataclass(frozen=True, slots=True)
class ClipNorm:
    """The most that the Euclidean norm of a push may be; false where any may.

    Attributes:
        bound: in the gradient's units; 0 where there is none, or the round's median.
        median: whether the bound is the median norm of the round's pushes.
    """

    bound: float = 0.0
    median: bool = False

    @classmethod
    def parse(cls, text: object) -> Self:
        """Return what `text` names: "none", "median", or a positive number.

        Raises:
            ConfigError: if it is none of these.
        """
        if is_none(text) or text == MEDIAN:
            return cls(median=text == MEDIAN)
        try:
            bound = float(str(text))
        except ValueError:
            bound = math.nan
        if isinstance(text, bool) or not 0 < bound <= MAX_NORM:
            raise ConfigError(f"got {quoted(text)}, want none, median, or a number above 0, at most {MAX_NORM:g}")
        return cls(bound)

    def __str__(self) -> str:
        return MEDIAN if self.median else repr(self.bound) if self.bound else NONE

    def __bool__(self) -> bool:
        return self.median or self.bound > 0

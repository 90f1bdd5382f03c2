"""What a field of a message may be: kinds of ranges, each of which says what is wrong with a value."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from gradwire_common.foreign_text import printable

SHOWN = 32  # characters of a text that a refusal repeats


class Bound(Protocol):
    """What a field may be."""

    def problem(self, value: Any) -> str:
        """Return "got ..., want ..." where the field must not have this value; an empty text where it may."""


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number."""

    most: int
    least: int = 0

    def problem(self, value: int) -> str:
        """See Bound."""
        if self.least <= value <= self.most:
            return ""
        return f"got {value}, want a whole number from {self.least} to {self.most}"


@dataclass(frozen=True, slots=True)
class Real:
    """A finite number; `unknown` lets NaN pass."""

    least: float
    most: float
    unknown: bool = False

    def problem(self, value: float) -> str:
        """See Bound."""
        if self.least <= value <= self.most or (self.unknown and math.isnan(value)):
            return ""
        also = ", or NaN for unknown" if self.unknown else ""
        return f"got {value:g}, want a number from {self.least:g} to {self.most:g}{also}"


@dataclass(frozen=True, slots=True)
class Text:
    """A text of at most so many characters. Which ones matters where it is shown: there it is made printable."""

    most: int

    def problem(self, value: str) -> str:
        """See Bound."""
        return "" if len(value) <= self.most else f"got {len(value)} characters, want at most {self.most}"


@dataclass(frozen=True, slots=True)
class Octets:
    """Bytes, at most so many."""

    most: int

    def problem(self, value: bytes) -> str:
        """See Bound."""
        return "" if len(value) <= self.most else f"got {len(value)} bytes, want at most {self.most}"


@dataclass(frozen=True, slots=True)
class Texts:
    """A map of texts to texts."""

    most: int
    name: Text
    value: Text

    def problem(self, value: Mapping[str, str]) -> str:
        """See Bound."""
        if len(value) > self.most:
            return f"got {len(value)}, want at most {self.most}"
        for name, text in value.items():
            if wrong := self.name.problem(name) or self.value.problem(text):
                return f"{printable(name, SHOWN)}: {wrong}"
        return ""


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Any value: `where` says what makes it harmless."""

    where: str

    def problem(self, _: object) -> str:
        """See Bound."""
        return ""

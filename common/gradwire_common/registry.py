"""Siblings by name: what settings choose from, and what a program may add its own to before it starts."""

from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

from gradwire_common.errors import ConfigError, UsageError
from gradwire_common.units import quoted

T = TypeVar("T")


class Registry(Generic[T]):
    """Siblings of one kind by their names.

    Args:
        kind: what they are, for messages: the setting that chooses among them.
        siblings: those that there are from the start.
    """

    def __init__(self, kind: str, siblings: Mapping[str, T]):
        self._kind = kind
        self._siblings = dict(siblings)

    def register(self, name: str, sibling: T) -> None:
        """Add a sibling. Raises UsageError where the name is taken."""
        if name in self._siblings:
            raise UsageError(f"{self._kind} {name!r} is registered already")
        self._siblings[name] = sibling

    def find(self, name: str) -> T:
        """Return the sibling of this name. Raises ConfigError, listing the names, where there is none."""
        if name not in self._siblings:
            raise ConfigError(f"{self._kind}: got {quoted(name)}, want one of {', '.join(sorted(self._siblings))}")
        return self._siblings[name]

    def __contains__(self, name: object) -> bool:
        return name in self._siblings

    def __iter__(self) -> Iterator[str]:
        return iter(self._siblings)

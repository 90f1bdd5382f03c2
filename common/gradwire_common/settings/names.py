"""Names that become file names and lines of logs: those of runs and the ids of workers."""

import re

from gradwire_common.errors import ConfigError

MAX_NAME = 64  # characters; a host's name may have as many
_NAME = re.compile(r"[A-Za-z0-9._-]+")
_OTHERS = re.compile(r"[^A-Za-z0-9._-]+")


def check_name(what: str, name: str) -> str:
    """Return `name`, which says `what` it is of.

    Raises:
        ConfigError: it has other characters than A-Z a-z 0-9 . _ -, is too long or empty, or means a folder.
    """
    if not _NAME.fullmatch(name) or len(name) > MAX_NAME or name in (".", ".."):
        shown = repr(name) if len(name) <= 2 * MAX_NAME else f"{name[:MAX_NAME]!r}... of {len(name)} characters"
        raise ConfigError(f"{what}: got {shown}, {want_name()}")
    return name


def want_name() -> str:
    """Return what a name may be, as the end of a sentence."""
    return f"want 1 to {MAX_NAME} of the characters A-Z a-z 0-9 . _ - that are neither '.' nor '..'"


def name_of(text: str, length: int = MAX_NAME) -> str:
    """Return a name of at most `length` characters that is as much like `text` as names may be."""
    return _OTHERS.sub("-", text)[:length].strip(".") or "-"

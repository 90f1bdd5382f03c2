"""One line about the first wrong value that pydantic found: its name, what was got, what is wanted."""

from typing import Any

from pydantic import ValidationError

from gradwire_common.foreign_text import printable

MAX_SHOWN = 100  # characters of a wrong value
MAX_WANT = 400  # characters of what is wanted in its place


def one_line(error: ValidationError) -> str:
    """Say what the first wrong setting is, what it got and what it wants."""
    first = error.errors(include_url=False)[0]
    name = ".".join(map(str, first["loc"])) or "settings"
    if first["type"] == "extra_forbidden":
        return f"{name}: unknown setting"
    want = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    want = want.split(", want ")[-1]
    want = want.split(", unable to parse")[0]
    return f"{name}: got {_shortened(first['input'])}, want {printable(want, MAX_WANT)}"


def _shortened(value: Any) -> str:
    """Return how an error shows a value."""
    try:
        return printable(repr(value), MAX_SHOWN)
    except ValueError:  # Python writes no whole number of more than some thousand digits
        return "a number of thousands of digits"

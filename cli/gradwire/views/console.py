"""Where commands print to: text is text, whatever characters it has."""

import os
import sys
from typing import Any

from rich.console import Console
from rich.text import Text

from gradwire_common.foreign_text import printable

WIDE = 1000  # columns of a file or a pipe, where nothing needs to be cut or folded


class _TextConsole(Console):
    """Square brackets and colons are characters like any other; those that do not show are written as escapes."""

    def __init__(self) -> None:
        piped = not sys.stdout.isatty() and "COLUMNS" not in os.environ
        super().__init__(markup=False, emoji=False, highlight=False, width=WIDE if piped else None)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str("\n".join(map(printable, text.split("\n"))), **options)


def open_console() -> Console:
    """Return the console of standard output. Colours come as styles, never as marks in a text."""
    return _TextConsole()

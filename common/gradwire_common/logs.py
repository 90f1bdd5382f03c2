"""Logging for processes: one line an event, to standard error."""

import logging

from gradwire_common.foreign_text import printable

MAX_MESSAGE = 4000  # characters


class OneLine(logging.Formatter):
    """Writes an event in one line of printable characters; a traceback follows in lines of its own."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Return the line."""
        return printable(super().formatMessage(record), MAX_MESSAGE)


def configure(level: str = "INFO", name: str = "gradwire") -> None:
    """Send the log of this process to standard error; `name` says which process speaks."""
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine(f"%(asctime)s {name} %(levelname)s: %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)

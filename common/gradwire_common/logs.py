"""Logging for processes: one line an event, to standard error."""

import logging


def configure(level: str = "INFO", name: str = "gradwire") -> None:
    """Send the log of this process to standard error; `name` says which process speaks."""
    logging.basicConfig(
        level=level.upper(), format=f"%(asctime)s {name} %(levelname)s: %(message)s", datefmt="%H:%M:%S", force=True
    )

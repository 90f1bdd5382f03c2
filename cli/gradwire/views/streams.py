"""Standard output and error of commands: no character and no full disk ends them in a traceback."""

import errno
import os
import sys
from contextlib import suppress
from typing import TextIO

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EPIPE, errno.EBADF)


def take_any_character() -> None:
    """Let characters that a terminal does not know be written as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def cannot_be_written(error: OSError) -> bool:
    """Say whether `error` is of a file or a terminal that takes no more."""
    return error.errno in _FULL


def print_error(line: str) -> None:
    """Print the line of an error; where standard error takes no more, the exit code has to do."""
    with suppress(OSError, ValueError):
        print(line, file=sys.stderr, flush=True)


def flush() -> None:
    """Write what standard output still holds. Raises OSError where it cannot be written."""
    if sys.stdout is not None:
        sys.stdout.flush()


def give_up() -> None:
    """Let what could not be written be dropped, so that Python does not try again at its end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            _drop(stream)


def _drop(stream: TextIO) -> None:
    with suppress(OSError, ValueError):
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, stream.fileno())
        os.close(nothing)

"""How this program ends by Ctrl-C or SIGTERM: at once, or in order while there is something to put in order."""

import os
import signal
import sys
from contextlib import suppress
from typing import Any

from gradwire.exit_codes import INTERRUPTED

SIGNALS = (signal.SIGINT, signal.SIGTERM)  # a container's first process ignores the second unless it has a handler
MESSAGE = "error: interrupted\n"
SHOW_CURSOR = "\x1b[?25h"  # which a spinner may have hidden


def end_at_once() -> None:
    """End this process at either signal from now on, wherever it is: an exception may be lost in somebody's import."""
    _handle(_end)


def end_in_order() -> None:
    """Let either signal raise KeyboardInterrupt from now on."""
    _handle(signal.default_int_handler)


def _handle(handler: Any) -> None:
    for number in SIGNALS:
        if number != signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN:  # as in a shell's background
            signal.signal(number, handler)


def _end(number: int, frame: Any) -> None:  # noqa: ARG001
    with suppress(Exception):  # it may be in use
        sys.stdout.flush()
    with suppress(OSError):
        os.write(2, ((SHOW_CURSOR if os.isatty(2) else "") + MESSAGE).encode())
    os._exit(INTERRUPTED)

"""What a command came to: its exit code, and one line for an error."""

import logging
import os
import sys
from contextlib import suppress
from typing import NoReturn

import typer

from gradwire.ending import end_at_once
from gradwire.exit_codes import FAILED, INTERRUPTED, MISUSED
from gradwire.views import streams
from gradwire_common.errors import GradwireError, UsageError
from gradwire_common.foreign_text import printable
from gradwire_common.temporary import settle_temporary_folder


def run(app: typer.Typer) -> NoReturn:
    """Run the command line `app` and exit: 0 done, 1 failed, 2 misused, 130 interrupted; an error is one line."""
    from gradwire.local.lifeline import die_with_parent

    end_at_once()
    die_with_parent()
    streams.take_any_character()
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it tells of its fonts, and of caches that it cannot write
    with suppress(OSError):  # what needs one says so
        settle_temporary_folder()
    code, message = _outcome(app)
    end_at_once()
    if message:
        streams.print_error(f"error: {printable(' '.join(message.split()))}")
    streams.give_up()
    if code == INTERRUPTED:  # a thread may still compile, which nobody waits for
        os._exit(code)
    sys.exit(code)


def _outcome(app: typer.Typer) -> tuple[int, str]:
    """Run a command; return the exit code, and what is to be said of it."""
    try:
        code = app(standalone_mode=False)
        streams.flush()
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except GradwireError as error:
        if _debugging():
            raise
        return MISUSED if isinstance(error, UsageError) else FAILED, str(error)
    except OSError as error:
        if _debugging() or not streams.cannot_be_written(error):
            raise
        return FAILED, f"cannot write{f' {error.filename}' if error.filename else ''}: {error.strerror}"
    except Exception as error:
        if not hasattr(error, "format_message"):  # typer's own errors have one, whatever its version calls them
            raise
        return MISUSED, error.format_message()
    if code == INTERRUPTED:  # what typer returns after Ctrl-C
        return INTERRUPTED, "interrupted"
    return (code if isinstance(code, int) else 0), ""


def _debugging() -> bool:
    return os.environ.get("GRADWIRE_LOG_LEVEL") == "debug" or logging.getLogger().level == logging.DEBUG

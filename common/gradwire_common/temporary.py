"""Where temporary files go."""

import os
import tempfile

IN_MEMORY = "/dev/shm"  # noqa: S108 - files and folders that Python makes there are their owner's alone


def settle_temporary_folder() -> None:
    """Let Python's temporary files go to memory where no usual folder can be written to: the root may be read-only.

    Raises:
        OSError: there is none in memory either; says where one was looked for.
    """
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        if not os.access(IN_MEMORY, os.W_OK | os.X_OK):
            raise
        tempfile.tempdir = IN_MEMORY

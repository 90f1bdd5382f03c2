"""Files and folders that only their owner can read, made without following a link that somebody else has put there."""

import os
from io import FileIO
from pathlib import Path

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it that are missing, each for its owner alone; one that is there stays as it is.

    Raises:
        OSError: it cannot be made, or something else is there.
    """
    try:
        folder.mkdir(PRIVATE_FOLDER)
    except FileNotFoundError:
        make_folder(folder.parent)
        folder.mkdir(PRIVATE_FOLDER, exist_ok=True)
    except OSError:
        if not folder.is_dir():
            raise


def open_file(path: Path, mode: str) -> FileIO:
    """Open a file, unbuffered, in a mode of FileIO's: a new one is its owner's alone, and a link is not followed.

    Raises:
        OSError: it cannot be opened, or is a link.
    """
    return FileIO(str(path), mode, opener=open_descriptor)


def open_descriptor(path: str | Path, flags: int) -> int:
    """Open a file as `open_file` does, by the flags of os.open; return the descriptor."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE_FILE)


def make_empty(path: Path) -> None:
    """Leave a new and empty file at `path`, its owner's alone, in place of any file or link there.

    Raises:
        OSError: it cannot be made.
    """
    path.unlink(missing_ok=True)
    os.close(open_descriptor(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))

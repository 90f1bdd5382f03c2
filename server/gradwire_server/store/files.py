"""Files that are there wholly or not at all, whatever happens to the machine while they are written."""

import os
from collections.abc import Callable
from pathlib import Path

from gradwire_common.private_files import make_empty

PARTIAL = ".partial"


def write_durably(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file beside `path`, its owner's alone, bring it to the disk, and only then give it its name.

    Raises:
        OSError: it could not be written, for want of room for instance; `path` is as it was.
    """
    partial = path.with_name(path.name + PARTIAL)
    try:
        make_empty(partial)
        write(partial)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Bring the names in `folder` to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""A file that always holds the frame in hand, so that a crash leaves it behind."""

import mmap
import os
import tempfile
from pathlib import Path
from types import TracebackType

ROOM = 1 << 20  # bytes; longer frames are kept in part


class FrameLog:
    """A file of frames' last; the kernel writes it even where the process dies.

    Attributes:
        path: the file; its first eight bytes are the frame's length.
    """

    def __init__(self, path: Path | None, process: int):
        path = path or Path(tempfile.gettempdir()) / f"gradwire-fuzz-{os.getppid()}-last-frame"
        self.path = path.with_name(f"{path.name}-{process}")

    def __enter__(self) -> "FrameLog":
        """Make the file."""
        self.path.write_bytes(bytes(ROOM))
        self._file = self.path.open("r+b")
        self._map = mmap.mmap(self._file.fileno(), ROOM)
        return self

    def keep(self, frame: bytes) -> bytes:
        """Write `frame` to the file, and return it."""
        kept = frame[: ROOM - 8]
        self._map[: 8 + len(kept)] = len(kept).to_bytes(8, "little") + kept
        return frame

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Close the file; remove it where all went well."""
        self._map.close()
        self._file.close()
        if error is None:
            self.path.unlink()
        else:
            print(f"the frame is in {self.path}; try it again with --frame")


def read_kept(path: Path) -> bytes:
    """Return the frame that a FrameLog left at `path`."""
    content = path.read_bytes()
    return content[8 : 8 + int.from_bytes(content[:8], "little")]

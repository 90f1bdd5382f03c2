"""A file of lines that survives a full disk: what cannot be written waits until it can."""

import logging
from collections.abc import Sequence
from pathlib import Path

from gradwire_common.private_files import open_file
from gradwire_server.store.files import write_durably

log = logging.getLogger("gradwire.server")


class LineFile:
    """Lines that are appended to a file, each as soon as it comes. None is lost unless the process ends first.

    Attributes:
        path: of the file.

    Args:
        path: path of the file, which is emptied unless `kept`.
        kept: append to what is there.
    """

    def __init__(self, path: Path, *, kept: bool = False):
        self.path = path
        self._unwritten = b""
        self._failing = False
        self._file = open_file(path, "a" if kept else "w")

    def replace(self, lines: Sequence[bytes]) -> None:
        """Let the file hold `lines`, without their newlines, and nothing else. Raises OSError if that fails."""
        write_durably(self.path, lambda partial: partial.write_bytes(b"".join(line + b"\n" for line in lines)))
        self._file.close()
        self._file = open_file(self.path, "a")

    def add(self, line: str) -> None:
        """Append a line; where the disk is full, it waits for the next one."""
        self._unwritten += line.encode() + b"\n"
        try:
            while self._unwritten:
                self._unwritten = self._unwritten[self._file.write(self._unwritten) or 0 :]
        except OSError as error:
            if not self._failing:
                log.warning("%s: cannot be written: %s; its lines wait", self.path, error)
            self._failing = True
        else:
            self._failing = False

    def close(self) -> None:
        """Write what still waits, and close the file; what cannot be written now is lost."""
        try:
            self._file.write(self._unwritten)
        except OSError as error:
            log.warning("%s: the last %d bytes could not be written: %s", self.path, len(self._unwritten), error)
        self._file.close()

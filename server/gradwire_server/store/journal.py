"""The journal: pushes that count and rounds that closed, each on the disk before any worker is told of it.

A segment is a file of records after one version of the weights:

    magic  b"GWJ1", version u64
    record kind u8, length of the meta data u32, length of the data u64, CRC-32 of all of the record u32, meta, data

Integers are little-endian, meta data are JSON. What follows the last intact record was being written when the process
or the machine stopped; no worker had been told of it, so it is left out.
"""

import json
import logging
import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

from isal.isal_zlib import crc32

from gradwire_common.errors import CheckpointError
from gradwire_common.private_files import open_file
from gradwire_server.store.files import sync_folder

log = logging.getLogger("gradwire.server")

MAGIC = b"GWJ1"
_START = struct.Struct("<4sQ")
_HEAD = struct.Struct("<BIQ")
_CHECK = struct.Struct("<I")


class Kind(IntEnum):
    """What a record holds."""

    PUSH = 1  # meta: whose push it is; data: its frames
    COMMIT = 2  # meta: which pushes made the next version


@dataclass(frozen=True, slots=True)
class Record:
    """One entry of a journal."""

    kind: Kind
    meta: dict[str, Any]
    data: bytes | memoryview = b""


class Segment:
    """A journal file that is being written.

    Attributes:
        length: bytes that are on the disk for certain.
    """

    def __init__(self, path: Path, version: int):
        """Begin the segment of what follows `version`. Raises OSError if that cannot be written."""
        self.path = path
        self._file = open_file(path, "w")
        self.length = 0
        try:
            self._write([_START.pack(MAGIC, version)])
            sync_folder(path.parent)
        except OSError:
            self._file.close()
            path.unlink()
            raise

    @classmethod
    def reopen(cls, path: Path, length: int) -> "Segment":
        """Continue a segment whose first `length` bytes are intact; what follows them is cut off."""
        segment = cls.__new__(cls)
        segment.path, segment.length = path, length
        segment._file = open_file(path, "r+")
        segment._file.truncate(length)
        segment._file.seek(length)
        return segment

    def append(self, records: Sequence[Record]) -> None:
        """Bring `records` to the disk, all of them or none.

        Raises:
            OSError: they could not be written.
        """
        self._write([piece for record in records for piece in _pieces(record)])

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, pieces: Sequence[bytes | memoryview]) -> None:
        length = self.length
        try:
            for piece in pieces:
                rest = memoryview(piece)
                while rest:
                    rest = rest[self._file.write(rest) :]
                length += len(piece)
            os.fsync(self._file.fileno())
        except OSError:
            self._file.truncate(self.length)
            self._file.seek(self.length)
            raise
        self.length = length


class Reader:
    """The intact records of the segment of what follows `version`.

    Attributes:
        length: bytes that were intact, once all have been read; 0 if not even the segment's beginning is.
    """

    def __init__(self, path: Path, version: int):
        self.path = path
        self.length = 0
        self._version = version

    def __iter__(self) -> Iterator[Record]:
        """Yield them. Raises CheckpointError if the file is no such segment."""
        with self.path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            start = file.read(_START.size)
            if len(start) < _START.size:
                return
            if start != _START.pack(MAGIC, self._version):
                want = f"a journal of what follows version {self._version}"
                raise CheckpointError(f"{self.path}: begins with {start.hex()}, want {want}")
            self.length = _START.size
            while self.length < size:
                record, length = _read(file, size - self.length)
                if record is None:
                    left = size - self.length
                    log.warning("%s: the last %d bytes are no whole record; they are left out", self.path, left)
                    return
                self.length += length
                yield record


def _pieces(record: Record) -> list[bytes | memoryview]:
    meta = json.dumps(record.meta).encode()
    head = _HEAD.pack(record.kind, len(meta), len(record.data))
    return [head, _CHECK.pack(_crc(head, meta, record.data)), meta, record.data]


def _read(file: Any, room: int) -> tuple[Record | None, int]:
    """Read the next record; None where it is not whole."""
    if room < _HEAD.size + _CHECK.size:
        return None, 0
    head, check = file.read(_HEAD.size), file.read(_CHECK.size)
    kind, n_meta, n_data = _HEAD.unpack(head)
    length = len(head) + len(check) + n_meta + n_data
    if length > room:
        return None, 0
    meta, data = file.read(n_meta), file.read(n_data)
    if _CHECK.unpack(check)[0] != _crc(head, meta, data) or kind not in list(Kind):
        return None, 0
    try:
        told = json.loads(meta)
    except (ValueError, RecursionError):
        return None, 0
    return (Record(Kind(kind), told, data), length) if isinstance(told, dict) else (None, 0)


def _crc(*pieces: bytes | memoryview) -> int:
    crc = 0
    for piece in pieces:
        crc = crc32(piece, crc)
    return crc

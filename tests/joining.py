"""Chunks put together again, as plainly as can be."""

from gradwire_common.errors import BitstreamError
from gradwire_common.transport.chunks import check_chunk


class Joiner:
    """Bytes put together from chunks that arrive in order, up to a limit known beforehand."""

    def __init__(self, limit: int):
        self._limit = limit
        self._pieces: list[bytes] = []
        self.length = 0

    def add(self, offset: int, data: bytes) -> None:
        """Append the chunk that begins at byte `offset`.

        Raises:
            BitstreamError: if it does not begin where the last one ended, or passes the limit.
        """
        check_chunk(offset, len(data), self.length, self._limit)
        self._pieces.append(data)
        self.length += len(data)

    def join(self, length: int) -> bytes:
        """Return all bytes, which the sender says are `length`.

        Raises:
            BitstreamError: if they are not.
        """
        if length != self.length:
            raise BitstreamError(f"got {self.length} bytes, want {length}")
        return b"".join(self._pieces)

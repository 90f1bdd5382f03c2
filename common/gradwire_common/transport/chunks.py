"""Frames cut into chunks that fit one gRPC message, and what each chunk is checked for."""

from collections.abc import Callable, Iterable, Iterator

from gradwire_common.errors import BitstreamError

MIN_CHUNK = 16 << 10  # bytes; smaller chunks spend more on framing than they gain in smoothness
MAX_CHUNK = 1 << 20  # bytes; a quarter of gRPC's default limit of 4 MB
WHOLE_BYTES = 32 << 10  # of frames in one message with its header and end; what a connection's window lets in unread
SECONDS_PER_CHUNK = 0.1  # what one chunk may hold of a limited link


def chunk_size(rate: float) -> int:
    """Return the bytes of data in a chunk for a link of `rate` bytes per second; 0 stands for no limit."""
    return MAX_CHUNK if rate <= 0 else int(min(max(rate * SECONDS_PER_CHUNK, MIN_CHUNK), MAX_CHUNK))


class Splitter:
    """Cuts frames that come one by one into pieces of `size()` bytes; the size is asked for as each piece begins.

    A piece leaves as soon as it is full, or ends with a frame and holds MIN_CHUNK: while later frames are being made.
    """

    def __init__(self, size: Callable[[], int]):
        self._size = size
        self._held: list[bytes | memoryview] = []
        self._n_held, self._wanted = 0, size()

    def add(self, frame: bytes) -> Iterator[bytes]:
        """Yield the pieces that `frame` completes."""
        rest = memoryview(frame)
        while self._n_held + len(rest) >= self._wanted:
            cut = self._wanted - self._n_held
            self._hold(rest[:cut])
            yield self._take()
            rest = rest[cut:]
        self._hold(rest)
        if self._n_held >= MIN_CHUNK:
            yield self._take()

    def finish(self) -> Iterator[bytes]:
        """Yield what is left, if anything is."""
        if self._held:
            yield self._take()

    def _hold(self, piece: memoryview) -> None:
        if piece:
            self._held.append(piece)
            self._n_held += len(piece)

    def _take(self) -> bytes:
        piece = b"".join(self._held)
        self._held, self._n_held, self._wanted = [], 0, self._size()
        return piece


def split(frames: Iterable[bytes], size: Callable[[], int]) -> Iterator[bytes]:
    """Cut the concatenation of `frames` as a Splitter does."""
    splitter = Splitter(size)
    for frame in frames:
        yield from splitter.add(frame)
    yield from splitter.finish()


def check_chunk(offset: int, n_bytes: int, length: int, limit: int) -> None:
    """Check a chunk against the `length` bytes before it, of at most `limit` in all.

    Raises:
        BitstreamError: if it does not begin where the last one ended, or passes the limit.
    """
    if offset != length:
        raise BitstreamError(f"chunk begins at byte {offset}, want {length}")
    if length + n_bytes > limit:
        raise BitstreamError(f"got more than {limit} bytes, the most that this model's frames can take")

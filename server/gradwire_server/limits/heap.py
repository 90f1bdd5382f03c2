"""What the C library and the garbage collector do with the memory of a server."""

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager, suppress

LARGE = 1 << 20  # bytes; arrays of this size and more go back to the system when they are freed
ARENAS = 2  # heaps that all threads share; glibc would make eight times as many as there are cores
_MMAP_THRESHOLD, _ARENA_MAX = -3, -8  # of glibc's malloc.h


def return_large_blocks() -> None:
    """Let freed arrays go back to the system at once, rather than stay in the heap of the thread that made them.

    By default glibc keeps up to 64 MiB of them a thread. Where the C library is another one, nothing happens.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, LARGE)
        mallopt(_ARENA_MAX, ARENAS)


@contextmanager
def unscanned() -> Iterator[None]:
    """Keep the garbage collector from looking meanwhile through what is there already: modules, above all torch's.

    Each of its full passes would look at some 500,000 objects on the event loop, for 0.15 s.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()

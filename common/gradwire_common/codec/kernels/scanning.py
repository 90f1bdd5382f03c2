"""Finding the few buckets that need a second look, by vector code over many at a time."""

import numpy as np
import numpy.typing as npt
from numba import njit

from gradwire_common.codec.kernels.native.memory import matches64, shift_right, trailing_zeros

U8 = npt.NDArray[np.uint8]

GROUP = 64  # bytes of one comparison
SCANNED, SEARCHED = 512, 16  # buckets that are looked at together, and one by one; powers of two


@njit(cache=True, nogil=True)
def holds(buckets: U8, least: np.uint8) -> bool:
    """Return whether one of `buckets` is `least` or more."""
    found = np.uint8(0)
    for i in range(buckets.size):
        found = max(found, buckets[i])
    return bool(found >= least)


@njit(cache=True, nogil=True)
def next_place(buckets: U8, least: np.uint8, start: int) -> int:
    """Return the first place from `start` on that holds `least` or more; buckets.size if none does."""
    while start < buckets.size:
        stop = min(start + SCANNED, buckets.size)
        if not holds(buckets[start:stop], least):
            start = stop
            continue
        width = SCANNED
        while width > SEARCHED:  # halves, without a branch that could be foreseen wrong
            width >>= 1
            start += width * np.int64(not holds(buckets[start : start + width], least))
        while buckets[start] < least:
            start += 1
        return start
    return buckets.size


@njit(cache=True, nogil=True)
def find_byte(buckets: U8, byte: np.uint8, start: int, fast: bool) -> int:
    """Return the first place from `start` on that holds `byte`; buckets.size if none does.

    The fast path loads 64 buckets at a time, all within `buckets`: the last are those before its end.
    """
    if fast and buckets.size >= GROUP:
        address = np.uint64(buckets.ctypes.data)
        while start + GROUP <= buckets.size:
            found = matches64(address + np.uint64(start), byte)
            if found != np.uint64(0):
                return start + np.int64(trailing_zeros(found))
            start += GROUP
        if start < buckets.size:
            last = buckets.size - GROUP
            found = shift_right(matches64(address + np.uint64(last), byte), np.uint64(start - last))
            if found != np.uint64(0):
                return start + np.int64(trailing_zeros(found))
        return buckets.size
    while start < buckets.size and buckets[start] != byte:
        start += 1
    return min(start, buckets.size)

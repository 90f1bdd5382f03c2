"""A bitstream, bit by bit with every access checked: for what is rare, and for the portable path.

Bits fill each byte from its low end; a code's first bit is the lower one.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from gradwire_common.codec.kernels.native.memory import load64

U8 = npt.NDArray[np.uint8]

EXTRA_COUNT_BITS = 5  # a bucket beyond the coded ones: the bit count of what it exceeds them by, then that
EXTRA_MAX_BITS = 21  # K_MAX has 21


@njit(cache=True, nogil=True)
def put(out: U8, place: int, value: int, n_bits: int) -> int:
    """Write the low `n_bits` (at most 32) of `value` at bit `place`; return the place after.

    The last byte's other bits become 0.
    """
    byte, shift = place >> 3, place & 7
    rest = (value & ((1 << n_bits) - 1)) << shift
    if shift > 0:
        rest |= np.int64(out[byte])
    for i in range((shift + n_bits + 7) >> 3):
        out[byte + i] = np.uint8(rest & 255)
        rest >>= 8
    return place + n_bits


@njit(cache=True, nogil=True)
def peek(data: U8, place: int, n_bits: int) -> int:
    """Return the `n_bits` (at most 32) at bit `place`; bits beyond the end are 0."""
    byte, value = place >> 3, 0
    if byte + 5 <= data.size:
        for i in range(5):
            value |= np.int64(data[byte + i]) << (8 * i)
    else:
        for i in range(data.size - byte):
            value |= np.int64(data[byte + i]) << (8 * i)
    return (value >> (place & 7)) & ((1 << n_bits) - 1)


@njit(cache=True, nogil=True)
def window_at(data: U8, place: int, fast: bool) -> np.uint64:
    """Return the 56 bits at bit `place`, and perhaps some more; bits beyond the end are 0.

    The fast path loads eight bytes while so many are left.
    """
    byte = place >> 3
    if fast and byte + 8 <= data.size:
        value = load64(np.uint64(data.ctypes.data) + np.uint64(byte))
    else:
        value = np.uint64(0)
        for i in range(min(8, data.size - byte)):
            value |= np.uint64(data[byte + i]) << np.uint64(8 * i)
    return value >> np.uint64(place & 7)


@njit(cache=True, nogil=True)
def put_extra(out: U8, place: int, value: int) -> int:
    """Write by how much a bucket exceeds the coded ones; return the place after."""
    n_bits = 0
    while value >> n_bits:
        n_bits += 1
    place = put(out, place, n_bits, EXTRA_COUNT_BITS)
    return put(out, place, value, n_bits)


@njit(cache=True, nogil=True)
def peek_extra(data: U8, place: int) -> tuple[int, int]:
    """Return what `put_extra` wrote, and the place after it; -1 where it is no such number."""
    n_bits = peek(data, place, EXTRA_COUNT_BITS)
    place += EXTRA_COUNT_BITS
    if n_bits > EXTRA_MAX_BITS:
        return -1, place
    return peek(data, place, n_bits), place + n_bits


@njit(cache=True, nogil=True)
def put_varints(values: npt.NDArray[np.int64], out: U8) -> int:
    """Write numbers >= 0, seven bits a byte, the lowest first, an upper bit where more follow."""
    place = 0
    for i in range(values.size):
        value = values[i]
        while value >= 128:
            out[place] = np.uint8(value & 127 | 128)
            value >>= 7
            place += 1
        out[place] = np.uint8(value)
        place += 1
    return place


@njit(cache=True, nogil=True)
def read_varints(data: U8, values: npt.NDArray[np.int64]) -> int:
    """Read what `put_varints` wrote into all of `values`; return the bytes read, -1 where one is cut or above 2**35."""
    place = 0
    for i in range(values.size):
        value, shift = 0, 0
        while True:
            if place >= data.size or shift > 28:
                return -1
            byte = np.int64(data[place])
            place += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        values[i] = value
    return place

"""Raw bits: the low bits of symbols, packed in columns so that compilers make vector code of the loops.

Entries come in groups of 64 (the last may be smaller): `width` = ceil(group / 8) columns of up to 8 entries, entry
t * width + j of the group being the t-th of column j. The raw bits of a column follow one another from the low end of a
number of `raw_bits` bytes; byte b of all columns stands before byte b + 1 of all columns.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from gradwire_common.codec.kernels.native.memory import load64, store64
from gradwire_common.codec.kernels.native.raw_vectors import unpack64

U8 = npt.NDArray[np.uint8]

GROUP = 64


@njit(cache=True, nogil=True)
def raw_bytes(n: int, raw_bits: int) -> int:
    """Return the bytes that the raw bits of `n` entries take; 24 bits are three planes of 8."""
    planes = (raw_bits + 7) // 8
    last = n % GROUP
    return (n // GROUP * 8 + (last + 7) // 8) * min(raw_bits, 8) * planes


@njit(cache=True, nogil=True)
def pack_raws(raws: U8, raw_bits: int, fast: bool, out: U8) -> int:
    """Write the low `raw_bits` (1 to 8) of `raws`; return the bytes written."""
    n, place = raws.size, 0
    if raw_bits == 8:  # columns of whole bytes are the entries themselves
        size = (n + 7) // 8 * 8
        for i in range(n):
            out[i] = raws[i]
        for i in range(n, size):
            out[i] = np.uint8(0)
        return size
    if fast:
        if raw_bits == 2:  # what float8 has; a constant lets the compiler unroll everything
            place = _pack_groups(raws, 2, out)
        elif raw_bits == 3:
            place = _pack_groups(raws, 3, out)
        else:
            place = _pack_groups(raws, raw_bits, out)
    for start in range(GROUP * (place // (8 * raw_bits)), n - GROUP + 1, GROUP):
        _pack_columns(raws[start : start + GROUP], 8, raw_bits, out[place : place + 8 * raw_bits])
        place += 8 * raw_bits
    last = n % GROUP
    if last > 0:
        width = (last + 7) // 8
        padded = np.zeros(GROUP, np.uint8)
        padded[:last] = raws[n - last :]
        _pack_columns(padded[: 8 * width], width, raw_bits, out[place : place + width * raw_bits])
        place += width * raw_bits
    return place


@njit(cache=True, nogil=True)
def unpack_raws(data: U8, raw_bits: int, fast: bool, raws: U8) -> int:
    """Read what `pack_raws` wrote into all of `raws`; return the bytes read."""
    n, place = raws.size, 0
    if raw_bits == 8:
        for i in range(n):
            raws[i] = data[i]
        return (n + 7) // 8 * 8
    if fast:
        if raw_bits == 1:  # literals, each of which has vectors of its own
            place = _unpack_groups(data, 1, raws)
        elif raw_bits == 2:
            place = _unpack_groups(data, 2, raws)
        elif raw_bits == 3:
            place = _unpack_groups(data, 3, raws)
        elif raw_bits == 4:
            place = _unpack_groups(data, 4, raws)
        elif raw_bits == 5:
            place = _unpack_groups(data, 5, raws)
        elif raw_bits == 6:
            place = _unpack_groups(data, 6, raws)
        else:
            place = _unpack_groups(data, 7, raws)
    for start in range(GROUP * (place // (8 * raw_bits)), n - GROUP + 1, GROUP):
        _unpack_columns(data[place : place + 8 * raw_bits], 8, raw_bits, raws[start : start + GROUP])
        place += 8 * raw_bits
    last = n % GROUP
    if last > 0:
        width = (last + 7) // 8
        padded = np.empty(GROUP, np.uint8)
        _unpack_columns(data[place : place + width * raw_bits], width, raw_bits, padded[: 8 * width])
        raws[n - last :] = padded[:last]
        place += width * raw_bits
    return place


@njit(cache=True, nogil=True)
def _pack_columns(raws: U8, width: int, raw_bits: int, out: U8) -> None:
    for j in range(out.size):
        out[j] = np.uint8(0)
    for t in range(8):
        byte, shift = raw_bits * t // 8, raw_bits * t % 8
        for j in range(width):
            value = np.int32(raws[t * width + j]) << shift
            out[byte * width + j] |= np.uint8(value & 255)
        if shift + raw_bits > 8:
            for j in range(width):
                out[(byte + 1) * width + j] |= np.uint8(np.int32(raws[t * width + j]) >> (8 - shift))


@njit(cache=True, nogil=True)
def _unpack_columns(data: U8, width: int, raw_bits: int, raws: U8) -> None:
    mask = (1 << raw_bits) - 1
    for t in range(8):
        byte, shift = raw_bits * t // 8, raw_bits * t % 8
        for j in range(width):
            raws[t * width + j] = np.uint8((np.int32(data[byte * width + j]) >> shift) & mask)
        if shift + raw_bits > 8:
            for j in range(width):
                high = np.int32(data[(byte + 1) * width + j]) << (8 - shift)
                raws[t * width + j] |= np.uint8(high & mask)


@njit(cache=True, nogil=True, inline="always")
def _pack_groups(raws: U8, raw_bits: int, out: U8) -> int:
    """Write all whole groups, eight entries a word, byte j of it column j. Loads and stores stay within the groups."""
    source, to = np.uint64(raws.ctypes.data), np.uint64(out.ctypes.data)
    for _ in range(raws.size // GROUP):
        for byte in range(raw_bits):
            word = np.uint64(0)
            for t in range(8 * byte // raw_bits, (8 * byte + 7) // raw_bits + 1):
                eight = load64(source + np.uint64(8 * t))
                shift = raw_bits * t - 8 * byte
                if shift >= 0:
                    word |= (eight & _each_byte(0xFF >> shift)) << np.uint64(shift)
                else:
                    word |= (eight >> np.uint64(-shift)) & _each_byte(0xFF >> -shift)
            store64(to + np.uint64(8 * byte), word)
        source += np.uint64(GROUP)
        to += np.uint64(8 * raw_bits)
    return raws.size // GROUP * 8 * raw_bits


@njit(cache=True, nogil=True, inline="always")
def _unpack_groups(data: U8, raw_bits: int, raws: U8) -> int:
    """Read all whole groups; return the bytes read."""
    source, to = np.uint64(data.ctypes.data), np.uint64(raws.ctypes.data)
    for _ in range(raws.size // GROUP):
        unpack64(raw_bits, source, to)
        source += np.uint64(8 * raw_bits)
        to += np.uint64(GROUP)
    return raws.size // GROUP * 8 * raw_bits


@njit(cache=True, nogil=True, inline="always")
def _each_byte(byte: int) -> np.uint64:
    return np.uint64(byte) * np.uint64(0x0101010101010101)

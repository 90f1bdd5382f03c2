"""A binary arithmetic coder on whole numbers: each bit narrows an interval in the ratio of two whole numbers.

The interval [low, low + width) is a part of [0, 2**56). Bytes that both of its ends share are written; a carry out of
what is not written yet goes into the bytes that are. With weights up to MAX_TOTAL the bits lost are below a hundredth
of a percent. int64 throughout, so that the same lines run uncompiled.

Source: Martin, "Range encoding", 1979; Witten, Neal, Cleary, "Arithmetic coding for data compression", CACM, 1987.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

U8 = npt.NDArray[np.uint8]

WHOLE_BITS = 56  # of the interval at first
BYTE_PLACE = WHOLE_BITS - 8  # the width stays at least 2**48
MAX_TOTAL = 1 << 32  # of the weights of a bit: their ratio keeps 16 bits at least
STATE = 3  # low (decoding: the code less low), width, place: what a caller carries from one kernel to the next
READ_AHEAD = WHOLE_BITS // 8  # bytes that the decoder begins with
WRITTEN_AT_END = 1  # bytes that the encoder ends with


@njit(cache=True, nogil=True)
def encode_bit(bit: bool, zeros: int, total: int, low: int, width: int, place: int, out: U8) -> tuple[int, int, int]:
    """Narrow the interval to that of `bit`, a zero having weight `zeros` of `total`; return low, width and place."""
    border = width // total * zeros
    if bit:
        low += border
        width -= border
    else:
        width = border
    while width < 1 << BYTE_PLACE:
        low, place = _write(low, place, out)
        width <<= 8
    return low, width, place


@njit(cache=True, nogil=True)
def decode_bit(zeros: int, total: int, code: int, width: int, place: int, data: U8) -> tuple[bool, int, int, int]:
    """Return the bit that `encode_bit` was given, then code, width and place; bytes beyond the end are 0."""
    border = width // total * zeros
    bit = code >= border
    if bit:
        code -= border
        width -= border
    else:
        width = border
    while width < 1 << BYTE_PLACE:
        code = (code & ((1 << BYTE_PLACE) - 1)) << 8
        if place < data.size:
            code |= np.int64(data[place])
        place += 1
        width <<= 8
    return bit, code, width, place


@njit(cache=True, nogil=True)
def end_encoding(low: int, place: int, out: U8) -> int:
    """Write the last byte that tells the interval; return how many bytes there are without zeros at the end."""
    _, place = _write(low + (1 << BYTE_PLACE) - 1, place, out)
    while place > 0 and out[place - 1] == 0:
        place -= 1
    return place


@njit(cache=True, nogil=True)
def begin_decoding(data: U8) -> int:
    """Return the code that decoding begins with: the first READ_AHEAD bytes."""
    code = 0
    for i in range(READ_AHEAD):
        code = code << 8 | (np.int64(data[i]) if i < data.size else 0)
    return code


@njit(cache=True, nogil=True)
def _write(low: int, place: int, out: U8) -> tuple[int, int]:
    byte = low >> BYTE_PLACE
    if byte > 255:
        before = place - 1
        while out[before] == 255:
            out[before] = 0
            before -= 1
        out[before] += np.uint8(1)
    out[place] = np.uint8(byte & 255)
    return (low & ((1 << BYTE_PLACE) - 1)) << 8, place + 1

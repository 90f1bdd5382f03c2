# mypy: disable-error-code="arg-type, assignment, call-arg, no-any-return, return-value, var-annotated"
# numba's integers are NumPy's: np.int64 stands where Python has int.
"""Buckets to words of TUPLES, and words to bits, the fast path: four words a flush.

Unguarded accesses, and why each is safe: loads take indices below tuples.size - 3 and table indices below
encoding.size, as the caller promises. Stores write eight bytes at a place at most ceil(bits so far / 8); the caller's
`out` has room for MAX_CODE_LENGTH bits a tuple + 8.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from gradwire_common.codec.kernels.memory import load64, shift_right, store64
from gradwire_common.codec.kernels.tables import RARE_FLAG

U8 = npt.NDArray[np.uint8]
U16 = npt.NDArray[np.uint16]
U64 = npt.NDArray[np.uint64]
I32 = npt.NDArray[np.int32]

_3, _7, _8, _16, _32, _48 = (np.uint64(n) for n in (3, 7, 8, 16, 32, 48))
_BYTE, _HALF = np.uint64(255), np.uint64(65535)
_FLAG = np.uint64(RARE_FLAG)
_ZERO = np.uint64(0)


@njit(cache=True, nogil=True)
def form_tuples(buckets: U8, size: int, base: int, words: U16) -> None:
    """Fill `words` with the numbers whose digits to `base` are `size` successive buckets, the first the highest."""
    if size == 1:
        for i in range(words.size):
            words[i] = np.uint16(buckets[i])
    elif size == 2:
        factor = np.int32(base)
        for i in range(words.size):
            words[i] = np.uint16(np.int32(buckets[2 * i]) * factor + np.int32(buckets[2 * i + 1]))
    elif size == 3:
        factor = np.int32(base)
        for i in range(words.size):
            word = np.int32(buckets[3 * i]) * factor + np.int32(buckets[3 * i + 1])
            words[i] = np.uint16(word * factor + np.int32(buckets[3 * i + 2]))
    elif size == 4:
        factor, square = np.int32(base), np.int32(base * base)
        for i in range(words.size):
            high = np.int32(buckets[4 * i]) * factor + np.int32(buckets[4 * i + 1])
            low = np.int32(buckets[4 * i + 2]) * factor + np.int32(buckets[4 * i + 3])
            words[i] = np.uint16(high * square + low)
    else:
        for i in range(words.size):
            word = 0
            for j in range(size):
                word = word * base + np.int64(buckets[size * i + j])
            words[i] = np.uint16(word)


@njit(cache=True, nogil=True)
def encode_tuples(tuples: U16, encoding: U64, out: U8, rare: I32) -> tuple[int, int]:
    """Write the codes of `tuples`; list the places of rare ones. Returns bytes written and rare tuples."""
    source, table, start = np.uint64(tuples.ctypes.data), np.uint64(encoding.ctypes.data), np.uint64(out.ctypes.data)
    to = start
    bits, n_bits, n_rare = _ZERO, _ZERO, 0
    n_quads = tuples.size // 4
    for quad in range(n_quads):
        four = load64(source)
        source += _8
        e0 = load64(table + ((four & _HALF) << _3))
        e1 = load64(table + (((four >> _16) & _HALF) << _3))
        e2 = load64(table + (((four >> _32) & _HALF) << _3))
        e3 = load64(table + ((four >> _48) << _3))
        if (e0 | e1 | e2 | e3) & _FLAG:
            for i, e in ((0, e0), (1, e1), (2, e2), (3, e3)):
                if e & _FLAG:
                    rare[n_rare] = 4 * quad + i
                    n_rare += 1
            e0, e1, e2, e3 = e0 & ~_FLAG, e1 & ~_FLAG, e2 & ~_FLAG, e3 & ~_FLAG
        l01, l23 = e0 + e1, e2 + e3
        c01, c23 = shift_right(e0, e1) | e1, shift_right(e2, e3) | e3
        length = (l01 + l23) & _BYTE
        bits = shift_right(bits, length) | shift_right(c01, l23) | c23
        n_bits += length
        store64(to, shift_right(bits, -n_bits))
        to += n_bits >> _3
        n_bits &= _7
    for i in range(4 * n_quads, tuples.size):
        e = load64(table + (np.uint64(tuples[i]) << _3))
        if e & _FLAG:
            rare[n_rare] = i
            n_rare += 1
            e = e & ~_FLAG
        length = e & _BYTE
        bits = shift_right(bits, length) | e
        n_bits += length
        store64(to, shift_right(bits, -n_bits))
        to += n_bits >> _3
        n_bits &= _7
    return np.int64(to - start) + np.int64(n_bits > _ZERO), n_rare

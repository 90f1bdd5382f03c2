"""Buckets to words of TUPLES, and words to bits, the fast path: up to 51 bits a flush.

An entry of a table has its code at the top, below zeros, and at the bottom the length and, from RARE_FLAG on, flags.
Shifts by an entry are shifts by its length, for only the low six bits of a shift matter; and the sum of a batch's
entries tells the sum of the lengths and whether any of them is flagged. What a shift carries from an entry's bottom
into the bits stays below them. A flagged batch is only noted, and what is quantised next is fetched between groups of
batches, for compilers run out of registers on anything more.

Unguarded accesses, and why each is safe: loads take words that the batch's count leaves, and table indices below the
table's size, as the caller promises. Stores write eight bytes at a place at most ceil(bits so far / 8); the caller's
`out` has room for MAX_CODE_LENGTH bits a word + 8. Of W words in batches of B at most W / B batches are noted, eight
bytes each, at the end of the 4 W bytes that `rare` has at least; what is listed from them grows from its start, at most
B places of four bytes a batch, and does not reach those not yet read.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from gradwire_common.codec.kernels.layout import Coming
from gradwire_common.codec.kernels.native.memory import fetch, fetch_to_write, load16, load64, shift_right, store64
from gradwire_common.codec.kernels.words.tables import RARE_FLAG

U8 = npt.NDArray[np.uint8]
U16 = npt.NDArray[np.uint16]
U64 = npt.NDArray[np.uint64]
I32 = npt.NDArray[np.int32]

_2, _3, _4, _6, _7, _8, _63 = (np.uint64(n) for n in (2, 3, 4, 6, 7, 8, 63))
_FLAG, _FLAGS = np.uint64(RARE_FLAG), np.uint64(7 * RARE_FLAG)  # of an entry, and where those of four add up
_ZERO = np.uint64(0)
FETCHED, LINE = 512, 64  # bytes: of what is coming at a time, for more would wait for memory; of a line of the caches
MOST_BITS = 51  # of a flush: beside seven that the last may have left, and six of a length
# with _TOO_LONG less _MORE added, what is too long has the bit of _TOO_LONG
_TOO_LONG, _MORE = np.uint64(64), np.uint64(MOST_BITS + 1)


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
def number_tuples(buckets: U8, size: int, base: int, numbers: U16) -> None:
    """Fill `numbers` with what `form_tuples` would give for the tuples that begin at each of `buckets`.

    There are size - 1 buckets more than numbers. Compilers make vectors of either only where its stride is written out.
    """
    factor, n = np.int32(base), numbers.size
    if size == 2:
        for i in range(n):
            numbers[i] = np.uint16(np.int32(buckets[i]) * factor + np.int32(buckets[i + 1]))
    elif size == 3:
        for i in range(n):
            word = np.int32(buckets[i]) * factor + np.int32(buckets[i + 1])
            numbers[i] = np.uint16(word * factor + np.int32(buckets[i + 2]))
    else:
        for i in range(n):
            high = np.int32(buckets[i]) * factor + np.int32(buckets[i + 1])
            low = np.int32(buckets[i + 2]) * factor + np.int32(buckets[i + 3])
            numbers[i] = np.uint16(high * (factor * factor) + low)
        for j in range(4, size):
            for i in range(n):
                numbers[i] = np.uint16(np.int32(numbers[i]) * factor + np.int32(buckets[i + j]))


@njit(cache=True, nogil=True)
def encode_tuples(words: U16, size: int, encoding: U64, coming: Coming, out: U8, rare: I32) -> tuple[int, int]:
    """Write the codes of `words`, of `size` buckets each, four a flush; list the places of rare ones in `rare`.

    `rare` is at least as long as `words`. What is coming is fetched. Returns bytes written and rare words.
    """
    source, table, start = np.uint64(words.ctypes.data), np.uint64(encoding.ctypes.data), np.uint64(out.ctypes.data)
    to, bits, n_bits = start, _ZERO, _ZERO
    listed, n_batches, n_bytes = _flagged(rare, words.size, 4), words.size // 4, 4 * size * coming.width
    n_group = FETCHED // n_bytes
    for batch in range(0, n_batches, n_group):
        _fetch(coming, np.uint64(batch * n_bytes))
        for _ in range(min(n_group, n_batches - batch)):
            e0, e1 = load64(table + (load16(source) << _3)), load64(table + (load16(source + _2) << _3))
            e2, e3 = load64(table + (load16(source + _4) << _3)), load64(table + (load16(source + _6) << _3))
            source += _8
            last = e2 + e3
            total = e0 + e1 + last
            if total & _FLAGS:
                store64(listed, source)
                listed += _8
            total &= _63
            code = shift_right(shift_right(e0, e1) | e1, last) | shift_right(e2, e3) | e3
            bits = shift_right(bits, total) | code
            n_bits += total
            store64(to, shift_right(bits, -n_bits))
            to += n_bits >> _3
            n_bits &= _7
    n_rare = _list_rare(words, encoding, np.uint64(words.ctypes.data), 4, listed, rare)
    return _encode_rest(words, words.size // 4 * 4, encoding, start, to, bits, n_bits, rare, n_rare)


@njit(cache=True, nogil=True)
def encode_pairs(
    buckets: U8, base: int, pairs: U64, encoding: U64, words: U16, coming: Coming, out: U8, rare: I32
) -> tuple[int, int]:
    """Write the codes of `buckets` that are words themselves, four look-ups of two a flush; else as `encode_tuples`.

    Where four are longer than MOST_BITS, the first two have a flush of their own. `words` is scratch for half as many.
    """
    words = words[: buckets.size // 2]
    form_tuples(buckets, 2, base, words)
    source, table, start = np.uint64(words.ctypes.data), np.uint64(pairs.ctypes.data), np.uint64(out.ctypes.data)
    to, bits, n_bits = start, _ZERO, _ZERO
    listed, n_batches, n_bytes = _flagged(rare, buckets.size, 8), buckets.size // 8, 8 * coming.width
    n_group = FETCHED // n_bytes
    for batch in range(0, n_batches, n_group):
        _fetch(coming, np.uint64(batch * n_bytes))
        for _ in range(min(n_group, n_batches - batch)):
            e0, e1 = load64(table + (load16(source) << _3)), load64(table + (load16(source + _2) << _3))
            e2, e3 = load64(table + (load16(source + _4) << _3)), load64(table + (load16(source + _6) << _3))
            source += _8
            first, last = e0 + e1, e2 + e3
            total, code = first + last, shift_right(e0, e1) | e1
            if (total + _TOO_LONG - _MORE) & (_FLAGS | _TOO_LONG):
                if total & _FLAGS:
                    store64(listed, source)
                    listed += _8
                first &= _63
                bits = shift_right(bits, first) | code
                n_bits += first
                store64(to, shift_right(bits, -n_bits))
                to += n_bits >> _3
                n_bits &= _7
                total, code = last, _ZERO
            total &= _63
            bits = shift_right(bits, total) | shift_right(code, last) | shift_right(e2, e3) | e3
            n_bits += total
            store64(to, shift_right(bits, -n_bits))
            to += n_bits >> _3
            n_bits &= _7
    n_rare = _list_rare(buckets, encoding, np.uint64(words.ctypes.data), 8, listed, rare)
    return _encode_rest(buckets, buckets.size // 8 * 8, encoding, start, to, bits, n_bits, rare, n_rare)


@njit(cache=True, nogil=True)
def _fetch(coming: Coming, place: np.uint64) -> None:
    """Have FETCHED bytes of what is coming brought near, from byte `place` on."""
    for line in range(0, FETCHED, LINE):
        fetch(coming.read + place + np.uint64(line))
        fetch_to_write(coming.written + place + np.uint64(line))


@njit(cache=True, nogil=True)
def _flagged(rare: I32, n: int, n_batch: int) -> np.uint64:
    """Return the address in `rare` from which on flagged batches, of `n_batch` of `n` words, are noted."""
    return np.uint64(rare.ctypes.data) + np.uint64(4 * n - 8 * (n // n_batch))


@njit(cache=True, nogil=True)
def _list_rare(words: U16, encoding: U64, first: np.uint64, n_batch: int, end: np.uint64, rare: I32) -> int:
    """Turn the notes up to `end` into a list of rare words; return how many.

    A note is where the batch after it begins, `first` where all begin; a batch has `n_batch` words, in eight bytes.
    """
    n_rare, note = 0, _flagged(rare, words.size, n_batch)
    while note < end:
        batch = np.int64((load64(note) - first) >> _3) - 1
        note += _8
        for i in range(n_batch * batch, n_batch * (batch + 1)):
            if encoding[words[i]] & _FLAG:
                rare[n_rare] = i
                n_rare += 1
    return n_rare


@njit(cache=True, nogil=True)
def _encode_rest(
    words: U16,
    first: int,
    encoding: U64,
    start: np.uint64,
    to: np.uint64,
    bits: np.uint64,
    n_bits: np.uint64,
    rare: I32,
    n_rare: int,
) -> tuple[int, int]:
    """Write the codes of the words from `first` on, at most seven, one by one."""
    for i in range(first, words.size):
        e = encoding[words[i]]
        if e & _FLAG:
            rare[n_rare] = i
            n_rare += 1
        bits = shift_right(bits, e) | e
        n_bits += e & _63
        store64(to, shift_right(bits, -n_bits))
        to += n_bits >> _3
        n_bits &= _7
    return np.int64(to - start) + np.int64(n_bits > _ZERO), n_rare

"""Tables of a codebook, from code lengths: canonical codes, what the encoders look up, what the decoders look up.

Codes are canonical (shorter first, then by word index) and stored reversed, so that a bitstream is filled and read from
the low end of little-endian words.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from gradwire_common.codec.kernels.native.vector_lookups import PACKED_SYMBOLS

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

LENGTH_BITS = 6  # of a packed entry of 32 bits; the rest are buckets, as many of their width as fit
PACKED_INDEX_BITS, PACKED_WIDTHS = 12, (6, 8)
ENTRY_SYMBOLS = 6  # buckets that one decoding entry can hold, a byte each below its two high bytes
RARE_FLAG = 0x80  # in an encoding entry, above its length: the tuple is rare
NO_WORD, UNUSUAL = 0x7FFF, 0x8000  # no bucket, where bits start no word of a run; and a flag above buckets
NO_BYTE = 0xFF  # no bucket; what a rare tuple's places hold where there is no packed table


@njit(cache=True, nogil=True)
def canonical_codes(lengths: U8, codes: U32) -> None:
    """Fill `codes` with the reversed canonical codes of `lengths`; a length of 0 means that the word has none."""
    counts = np.zeros(33, np.int64)
    for i in range(lengths.size):
        counts[np.int64(lengths[i])] += 1
    counts[0] = 0
    following = np.zeros(33, np.int64)
    for length in range(1, 33):
        following[length] = (following[length - 1] + counts[length - 1]) << 1
    for i in range(lengths.size):
        length = np.int64(lengths[i])
        code, reverse = following[length], 0
        if length > 0:
            following[length] += 1
        for _ in range(length):
            reverse = reverse << 1 | (code & 1)
            code >>= 1
        codes[i] = np.uint32(reverse)


@njit(cache=True, nogil=True)
def word_of_bits(lengths: U8, codes: U32, max_length: int, words: I64) -> None:
    """Fill words[v] with the word whose code starts a bitstream that reads v, of 2**max_length; -1 where none does."""
    words[:] = -1
    for i in range(lengths.size):
        length = np.int64(lengths[i])
        if length > 0:
            for v in range(np.int64(codes[i]), 1 << max_length, 1 << length):
                words[v] = i


@njit(cache=True, nogil=True)
def fill_encoding(lengths: U8, codes: U32, tuples: I64, spans: I64, table: U64) -> None:
    """Fill table[tuple] with its code at the top and its length in the low byte; all others are the rare word, flagged.

    A word stands for spans[i] successive tuples: those that begin with its buckets. The last word is the rare one; its
    length is 0 where no tuple is rare, and so is the entry of tuples that no word has.
    """
    rare = lengths.size - 1
    for t in range(table.size):
        table[t] = _entry(lengths, codes, rare) | np.uint64(RARE_FLAG)
    for i in range(tuples.size):
        if lengths[i] > 0:
            for t in range(tuples[i], tuples[i] + spans[i]):
                table[t] = _entry(lengths, codes, i)


@njit(cache=True, nogil=True)
def fill_steps(lengths: U8, tuples: I64, spans: I64, sizes: U8, steps: U8) -> None:
    """Fill steps[tuple] with the buckets of the word that it begins with, the last of `sizes` where that is rare."""
    steps[:] = sizes[tuples.size]
    for i in range(tuples.size):
        if lengths[i] > 0:
            for t in range(tuples[i], tuples[i] + spans[i]):
                steps[t] = sizes[i]


@njit(cache=True, nogil=True)
def fill_pairs(encoding: U64, table: U64) -> None:
    """Fill table[first * encoding.size + second] with the codes and the length of two words, flagged where one is."""
    bottom, flag = np.uint64(255), np.uint64(RARE_FLAG)
    for first in range(encoding.size):
        for second in range(encoding.size):
            one, two = encoding[first], encoding[second]
            length = ((one | two) & flag) | ((one & ~flag & bottom) + (two & ~flag & bottom))
            code = ((one & ~bottom) >> (two & ~flag & bottom)) | (two & ~bottom)
            table[first * encoding.size + second] = code | length


@njit(cache=True, nogil=True)
def fill_words(lengths: U8, codes: U32, table: U64) -> None:
    """Fill table[word] with its code at the top and its length in the low byte."""
    for i in range(lengths.size):
        table[i] = _entry(lengths, codes, i)


@njit(cache=True, nogil=True)
def _entry(lengths: U8, codes: U32, i: int) -> np.uint64:
    length = np.int64(lengths[i])
    if length == 0:
        return np.uint64(0)
    return np.uint64(codes[i]) << np.uint64(64 - length) | np.uint64(length)


@njit(cache=True, nogil=True)
def fill_decoding(
    words: I64, lengths: U8, max_length: int, payloads: U64, sizes: U8, single: U64, multiple: U64
) -> None:
    """Fill the two decoding tables of tuples, both indexed by the next `max_length` bits.

    An entry holds its buckets in the six low bytes, then the bits it takes, then the count of its buckets. `single`
    holds one word, `multiple` as many whole words as the bits and ENTRY_SYMBOLS allow. Bits that start no word have an
    entry of zero.
    """
    for v in range(single.size):
        word = words[v]
        single[v] = np.uint64(0)
        if word >= 0:
            told = np.uint64(lengths[word]) << np.uint64(48) | np.uint64(sizes[word]) << np.uint64(56)
            single[v] = payloads[word] | told
        rest, n_bits, n_symbols, buckets = v, 0, 0, np.uint64(0)
        while True:
            word = words[rest]
            if word < 0:
                break
            length, size = np.int64(lengths[word]), np.int64(sizes[word])
            if n_bits + length > max_length or n_symbols + size > ENTRY_SYMBOLS:
                break
            buckets |= payloads[word] << np.uint64(8 * n_symbols)
            n_bits += length
            n_symbols += size
            rest >>= length
        multiple[v] = buckets | np.uint64(n_bits) << np.uint64(48) | np.uint64(n_symbols) << np.uint64(56)


@njit(cache=True, nogil=True)
def fill_packed(words: I64, lengths: U8, max_length: int, payloads: U64, sizes: U8, width: int, table: U32) -> None:
    """Fill the packed decoding table of tuples, indexed by the next PACKED_INDEX_BITS bits, all of which start a word.

    An entry holds the bits it takes in the lowest LENGTH_BITS, then the buckets of as many whole words as fit, `width`
    bits each, then ones.
    """
    known = (1 << max_length) - 1
    for v in range(table.size):
        most = min(PACKED_SYMBOLS, (32 - LENGTH_BITS) // width)
        rest, n_bits, n_symbols, entry = v, 0, 0, 0
        while True:
            word = words[rest & known]
            length, size = np.int64(lengths[word]), np.int64(sizes[word])
            if n_bits + length > PACKED_INDEX_BITS or n_symbols + size > most:
                break
            for i in range(size):
                bucket = np.int64(payloads[word] >> np.uint64(8 * i) & np.uint64(255))
                entry |= bucket << (LENGTH_BITS + width * (n_symbols + i))
            n_bits += length
            n_symbols += size
            rest >>= length
        unused = -1 << (LENGTH_BITS + width * n_symbols)
        table[v] = np.uint32((entry | unused | n_bits) & 0xFFFFFFFF)


@njit(cache=True, nogil=True)
def fill_run_decoding(words: I64, lengths: U8, n_buckets: int, n_classes: int, shift: int, table: U64) -> None:
    """Fill the decoding table of runs, indexed by the next bits.

    An entry holds, from the low end: all its bits (8), the bits of its code (8), zeros before the entry (16), a mask of
    the bits that follow the code and tell more zeros (8), eight bits of zero, bucket (15; 0 for the word that is all
    zeros), and UNUSUAL where it is not coded. Bits that start no word have NO_WORD for a bucket, UNUSUAL, and no more.
    """
    for v in range(table.size):
        word = words[v]
        table[v] = np.uint64(UNUSUAL | NO_WORD) << np.uint64(48)
        if word < 0:
            continue
        length, zeros, bucket, n_more = np.int64(lengths[word]), n_classes << shift, 0, 0
        if word < n_classes * n_buckets:
            zeros, bucket, n_more = (word // n_buckets) << shift, word % n_buckets + 1, shift
            bucket |= UNUSUAL if bucket == n_buckets else 0
        more = (1 << n_more) - 1
        table[v] = (
            np.uint64(bucket) << np.uint64(48)
            | np.uint64(more) << np.uint64(32)
            | np.uint64(zeros) << np.uint64(16)
            | np.uint64(length << 8)
            | np.uint64(length + n_more)
        )

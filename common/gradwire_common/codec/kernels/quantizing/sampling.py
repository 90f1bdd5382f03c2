"""The symbols of a sample, counted, and what they take with a code."""

import numpy as np
import numpy.typing as npt
from numba import njit

from gradwire_common.codec.kernels.grids import BFLOAT16, FLOAT32, INFINITY_BITS, Grid
from gradwire_common.codec.kernels.moments import largest_bits
from gradwire_common.codec.kernels.quantizing.quantize import symbols_of

F32 = npt.NDArray[np.float32]
I32 = npt.NDArray[np.int32]
U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

N_TABLES = 4  # in turn, so that equal symbols that follow one another need not wait for each other


@njit(cache=True, nogil=True)
def count_chunks(x: F32, starts: I64, chunk: int, grid: Grid, symbols: I32, counts: I64) -> int:
    """Fill `symbols` with those of the chunks of `x` at `starts`, and add to counts[bucket], the last for any beyond.

    Buckets are those without raw bits: 0, +1, -1, +2, ...; of the floats the exponent field. Returns how many of
    `counts` there are up to the last that is not 0; -1 where an entry is not finite.
    """
    tables = np.zeros((N_TABLES, counts.size), np.int32)
    for number in range(starts.size):
        some = x[starts[number] : starts[number] + chunk]
        if largest_bits(some) >= INFINITY_BITS:
            return -1
        found = symbols[number * chunk : (number + 1) * chunk]
        symbols_of(some, grid, found)
        if grid.kind == FLOAT32 or grid.kind == BFLOAT16:
            for i in range(chunk):
                counts[np.int64(found[i]) >> 23 & 255] += 1
        else:
            _count(found, tables)
    for table in range(N_TABLES):
        for bucket in range(counts.size):
            counts[bucket] += tables[table, bucket]
    n_used = counts.size
    while n_used > 0 and counts[n_used - 1] == 0:
        n_used -= 1
    return n_used


@njit(cache=True, nogil=True)
def _count(symbols: I32, tables: I32) -> None:
    last, whole = tables.shape[1] - 1, symbols.size // N_TABLES * N_TABLES
    for start in range(0, whole, N_TABLES):
        for j in range(N_TABLES):
            symbol = np.int64(symbols[start + j])
            tables[j, min(2 * abs(symbol) - np.int64(symbol > 0), last)] += np.int32(1)
    for i in range(whole, symbols.size):
        symbol = np.int64(symbols[i])
        tables[0, min(2 * abs(symbol) - np.int64(symbol > 0), last)] += np.int32(1)


@njit(cache=True, nogil=True)
def tuple_bits(tuples: I64, sizes: U8, lengths: U8, rare_lengths: U8, shares: F64) -> float:
    """Return the bits a bucket takes with words, where buckets have `shares` and do not depend on each other.

    `shares` are of coded buckets and, last, of all others; `sizes` and `lengths` of the words for `tuples` and, last,
    the rare one.
    """
    base, covered, most = shares.size, np.zeros(shares.size), np.int64(sizes[tuples.size])
    bits, rest, n_buckets = 0.0, 1.0, 0.0
    for i in range(tuples.size):
        digits, bucket, weight, size = tuples[i], 0, 1.0, np.int64(sizes[i])
        for _ in range(most - size):
            digits //= base
        for _ in range(size):
            digits, bucket = digits // base, digits % base
            weight *= shares[bucket]
        covered[bucket] += weight
        rest -= weight
        bits += weight * np.float64(lengths[i])
        n_buckets += weight * np.float64(size)
    rest = max(rest, 0.0)
    per_rare = 0.0  # of a rare word's first bucket; its others have about the same code
    for bucket in range(base):
        per_rare += max(shares[bucket] - covered[bucket], 0.0) * np.float64(rare_lengths[bucket])
    bits += rest * np.float64(lengths[tuples.size]) + np.float64(most) * per_rare
    return bits / (n_buckets + rest * np.float64(most))

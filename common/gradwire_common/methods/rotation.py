"""Random rotations in powers of two: signs from a seed, then the orthonormal Hadamard transform of every block.

Source: Ailon, Chazelle, "The fast Johnson-Lindenstrauss transform", SIAM J. Comput. 39(1), 2009.
"""

import math
from functools import lru_cache

import numpy as np

from gradwire_common.methods.method import F32

LEAST = 32  # entries of a block; the last one is filled up by zeros


@lru_cache(maxsize=1024)
def rows_of(n: int, block: int) -> list[tuple[int, slice]]:
    """Return the blocks of `n` entries: of each its entries, and its place among rotated ones.

    As many of `block`, a power of two, as there are, then the largest powers that fit, then one that is filled up.
    """
    rows, start = [], 0
    while start < n:
        size = max(LEAST, min(block, 1 << ((n - start).bit_length() - 1)))
        rows.append((min(size, n - start), slice(start, start + size)))
        start += size
    return rows


def rotate(entries: F32, seed: int, block: int) -> F32:
    """Return `entries`, (n,), rotated block by block: float32, as many as all blocks have."""
    rows = rows_of(entries.size, block)
    rotated = np.zeros(rows[-1][1].stop if rows else 0, np.float32)
    rotated[: entries.size] = entries
    rotated *= _signs(seed, rotated.size)
    _transform(rotated, entries.size, block)
    return rotated


def rotate_back(rotated: F32, n: int, seed: int, block: int) -> F32:
    """Return the `n` entries that were rotated; writes to `rotated`."""
    _transform(rotated, n, block)
    rotated *= _signs(seed, rotated.size)
    return rotated[:n]


def _signs(seed: int, n: int) -> F32:
    """Return signs; Philox's numbers are the same on every machine."""
    words = np.random.Philox(key=np.array([seed, 0], np.uint64)).random_raw(-(-n // 64)).astype("<u8")
    bits = np.unpackbits(words.view(np.uint8), count=n, bitorder="little")
    return 1 - 2 * bits.astype(np.float32)


def _transform(rotated: F32, n: int, block: int) -> None:
    """Apply the transform, which is its own inverse, to every block in place."""
    whole = n // block * block
    if whole:
        _hadamard(rotated[:whole].reshape(-1, block))
    for _, row in rows_of(n, block)[whole // block :]:
        _hadamard(rotated[row].reshape(1, -1))


def _hadamard(rows: F32) -> None:
    n = rows.shape[1]
    half = 1
    while half < n:
        pairs = rows.reshape(rows.shape[0], n // (2 * half), 2, half)
        a, b = pairs[:, :, 0] + pairs[:, :, 1], pairs[:, :, 0] - pairs[:, :, 1]
        pairs[:, :, 0], pairs[:, :, 1] = a, b
        half *= 2
    rows *= np.float32(1 / math.sqrt(n))

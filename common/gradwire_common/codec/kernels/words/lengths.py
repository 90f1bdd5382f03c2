"""Length-limited Huffman code lengths by package-merge, on whole numbers only; and the half bytes they travel as.

Source: Larmore, Hirschberg, "A fast algorithm for optimal length-limited Huffman codes", J. ACM 37(3), 1990.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]

FEW_ZEROS, MANY_ZEROS = 13, 14  # half bytes: n + 3 zeros, n of half a byte; n + 19 zeros, n of a byte
LEAST_FEW, LEAST_MANY, MOST_MANY = 3, 19, 19 + 255  # zeros


@njit(cache=True, nogil=True)
def package_merge(weights: U64, max_length: int, lengths: npt.NDArray[np.uint8]) -> None:
    """Fill `lengths` with the code lengths of ascending `weights`; 2 <= weights.size <= 2**max_length.

    At each of `max_length` levels the list is the leaves merged with the pairs of the level before, a leaf first where
    weights are equal. The first 2 n - 2 of the last list are taken; a leaf's length is how often it is taken.
    """
    n = weights.size
    is_package = np.zeros((max_length, 2 * n), np.bool_)
    sizes = np.zeros(max_length, np.int64)
    before = np.zeros(2 * n, np.uint64)
    here = np.zeros(2 * n, np.uint64)
    n_before = 0
    for level in range(max_length):
        leaf, pair, n_here = 0, 0, 0
        n_pairs = n_before // 2
        while leaf < n or pair < n_pairs:
            package = np.uint64(0)
            if pair < n_pairs:
                package = before[2 * pair] + before[2 * pair + 1]
            if leaf < n and (pair >= n_pairs or weights[leaf] <= package):
                here[n_here] = weights[leaf]
                leaf += 1
            else:
                here[n_here] = package
                is_package[level, n_here] = True
                pair += 1
            n_here += 1
        sizes[level] = n_here
        n_before = n_here
        before, here = here, before
    lengths[:] = 0
    n_taken = 2 * n - 2
    for level in range(max_length - 1, -1, -1):
        n_packages = 0
        for i in range(n_taken):
            n_packages += np.int64(is_package[level, i])
        for i in range(n_taken - n_packages):
            lengths[i] += np.uint8(1)
        n_taken = 2 * n_packages


@njit(cache=True, nogil=True)
def pack_halves(lengths: U8, halves: U8) -> int:
    """Fill `halves` with what `lengths` travel as, half a byte in each place; return how many.

    Half bytes 0..12 are lengths; 13 and a half byte n mean n + 3 zeros, 14 and two half bytes n (lower first) n + 19
    zeros. There are at most as many as lengths.
    """
    i, n = 0, 0
    while i < lengths.size:
        zeros = 0
        while i + zeros < lengths.size and zeros < MOST_MANY and lengths[i + zeros] == 0:
            zeros += 1
        if zeros >= LEAST_MANY:
            halves[n] = np.uint8(MANY_ZEROS)
            halves[n + 1] = np.uint8((zeros - LEAST_MANY) & 15)
            halves[n + 2] = np.uint8((zeros - LEAST_MANY) >> 4)
            n += 3
        elif zeros >= LEAST_FEW:
            halves[n] = np.uint8(FEW_ZEROS)
            halves[n + 1] = np.uint8(zeros - LEAST_FEW)
            n += 2
        else:
            zeros = 1
            halves[n] = lengths[i]
            n += 1
        i += zeros
    return n


@njit(cache=True, nogil=True)
def unpack_halves(halves: U8, lengths: U8) -> int:
    """Read what `pack_halves` wrote into all of `lengths`; return the half bytes read.

    Returns -1 where `halves` end early, -2 where they hold a 15, -3 where the last zeros are too many.
    """
    i, n = 0, 0
    while i < lengths.size:
        if n >= halves.size:
            return -1
        value, zeros = np.int64(halves[n]), 0
        n += 1
        if value == FEW_ZEROS:
            if n >= halves.size:
                return -1
            zeros = np.int64(halves[n]) + LEAST_FEW
            n += 1
        elif value == MANY_ZEROS:
            if n + 1 >= halves.size:
                return -1
            zeros = np.int64(halves[n]) + 16 * np.int64(halves[n + 1]) + LEAST_MANY
            n += 2
        elif value > MANY_ZEROS:
            return -2
        else:
            lengths[i] = np.uint8(value)
            i += 1
            continue
        if i + zeros > lengths.size:
            return -3
        lengths[i : i + zeros] = np.uint8(0)
        i += zeros
    return n

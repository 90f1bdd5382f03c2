"""Symbols of a small alphabet, coded by what has been seen of them so far; nothing is sent of their distribution.

A symbol is the way down a binary tree, its highest bit first. Each node counts the zeros and ones that it has seen, and
takes (zeros + 1/2) / (all + 1) for the probability of a zero: n bits cost their entropy and about log2(n) / 2.

Source: Krichevsky, Trofimov, "The performance of universal encoding", IEEE Trans. IT 27(2), 1981.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from gradwire_common.methods.kernels.intervals import decode_bit, encode_bit

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

MOST_COUNTED = 1 << 20  # bits at a node; then both counts are halved, and weights stay far below MAX_TOTAL


@njit(cache=True, nogil=True)
def encode_symbols(symbols: U8, depth: int, counts: I64, state: I64, out: U8) -> None:
    """Write symbols below 2**depth, and move `state` and `counts` on.

    Args:
        symbols: any number of them.
        depth: bits of a symbol, 0 to 8.
        counts: (2**depth, 2) zeros and ones seen at each node; node 1 is the root.
        state: (STATE,) of the coder.
        out: with room for depth bits and one byte a symbol behind the place.
    """
    low, width, place = state[0], state[1], state[2]
    for i in range(symbols.size):
        symbol, node = np.int64(symbols[i]), 1
        for level in range(depth - 1, -1, -1):
            bit = (symbol >> level) & 1
            zeros, ones = counts[node, 0], counts[node, 1]
            low, width, place = encode_bit(bit == 1, 2 * zeros + 1, 2 * (zeros + ones) + 2, low, width, place, out)
            _count(counts, node, bit)
            node = 2 * node + bit
    state[0], state[1], state[2] = low, width, place


@njit(cache=True, nogil=True)
def decode_symbols(data: U8, depth: int, counts: I64, state: I64, symbols: U8) -> None:
    """Fill `symbols` with what `encode_symbols` was given. Any bytes give some symbols below 2**depth."""
    code, width, place = state[0], state[1], state[2]
    for i in range(symbols.size):
        node = 1
        for _ in range(depth):
            zeros, ones = counts[node, 0], counts[node, 1]
            one, code, width, place = decode_bit(2 * zeros + 1, 2 * (zeros + ones) + 2, code, width, place, data)
            bit = np.int64(one)
            _count(counts, node, bit)
            node = 2 * node + bit
        symbols[i] = np.uint8(node - (1 << depth))
    state[0], state[1], state[2] = code, width, place


@njit(cache=True, nogil=True)
def _count(counts: I64, node: int, bit: int) -> None:
    counts[node, bit] += 1
    if counts[node, 0] + counts[node, 1] >= MOST_COUNTED:
        counts[node, 0] >>= 1
        counts[node, 1] >>= 1

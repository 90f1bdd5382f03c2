"""Which entries of each block are sent, coded in as many bits as there are ways to choose them.

An entry is sent with probability r / l where r entries of the block's last l are: all subsets of a size are equally
likely, so a block takes log2 of the binomial coefficient. Source: Cover, "Enumerative source encoding", IEEE Trans. IT
19(1), 1973, whose ranks this coder writes without numbers of hundreds of bits.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from gradwire_common.methods.kernels.intervals import decode_bit, encode_bit

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]


@njit(cache=True, nogil=True)
def encode_subsets(places: I64, counts: I64, length: int, state: I64, out: U8) -> None:
    """Write which entries of blocks are sent, and move `state` on.

    Args:
        places: ascending within each block, from 0 to length - 1; the blocks' one after the other.
        counts: how many each block has.
        length: entries of a block, at most MAX_TOTAL.
        state: (STATE,) of the coder.
        out: with room for length / 8 + 8 bytes a block behind the place.
    """
    low, width, place = state[0], state[1], state[2]
    first = 0
    for block in range(counts.size):
        left, entry = counts[block], 0
        for i in range(first, first + counts[block]):
            while entry < places[i]:
                rest = length - entry
                low, width, place = encode_bit(False, rest - left, rest, low, width, place, out)
                entry += 1
            rest = length - entry
            low, width, place = encode_bit(True, rest - left, rest, low, width, place, out)
            entry += 1
            left -= 1
        first += counts[block]
    state[0], state[1], state[2] = low, width, place


@njit(cache=True, nogil=True)
def decode_subsets(data: U8, counts: I64, length: int, state: I64, places: I64) -> None:
    """Fill `places` with what `encode_subsets` was given; counts are from 0 to `length`. Any bytes give some places."""
    code, width, place = state[0], state[1], state[2]
    first = 0
    for block in range(counts.size):
        left, entry = counts[block], 0
        while left > 0:
            rest = length - entry
            sent, code, width, place = decode_bit(rest - left, rest, code, width, place, data)
            if sent:
                places[first] = entry
                first += 1
                left -= 1
            entry += 1
    state[0], state[1], state[2] = code, width, place

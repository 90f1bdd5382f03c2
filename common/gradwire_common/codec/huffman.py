"""Canonical, length-limited Huffman codes: weights -> code lengths -> codes and word look-up."""

import numpy as np
import numpy.typing as npt

from gradwire_common.codec.kernels.words.lengths import package_merge
from gradwire_common.errors import BitstreamError, UsageError

U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]

MAX_CODE_LENGTH = 12  # bits; bounds a decoding table at 2**12 entries of eight bytes


def code_lengths(weights: U64, max_length: int = MAX_CODE_LENGTH) -> U8:
    """Return the code lengths that make the weighted sum of lengths least.

    Weights are whole numbers, and no step rounds, so that every machine gets the same lengths. Words are ranked by
    weight, then by index; package-merge gives the lengths of the ranks, a leaf before a package of the same weight.

    Args:
        weights: (n,) uint64; a weight of 0 means that the word needs no code. Their sum is below 2**58.
        max_length: Longest code, in bits.

    Returns:
        (n,) uint8; 0 where the weight is. A word that is alone gets one bit.

    Raises:
        UsageError: more words than codes of `max_length` bits.

    Source: Larmore, Hirschberg, J. ACM 37(3), 1990.
    """
    used = np.flatnonzero(weights)
    lengths = np.zeros(weights.size, np.uint8)
    if used.size > 1 << max_length:
        raise UsageError(
            f"{used.size} words cannot have codes of at most {max_length} bits, want at most {1 << max_length}"
        )
    if used.size < 2:
        lengths[used] = 1
        return lengths
    order = used[np.argsort(weights[used], kind="stable")]
    ranked = np.empty(used.size, np.uint8)
    package_merge(weights[order], max_length, ranked)
    lengths[order] = ranked
    return lengths


def check_lengths(lengths: U8, max_length: int) -> None:
    """Check that `lengths` are those of a code that any bits can be read with, or of one word alone.

    Raises:
        BitstreamError: a length above `max_length`, or a Kraft sum that is not 1.
    """
    used = lengths[lengths > 0].astype(np.int64)
    if used.size and int(used.max()) > max_length:
        raise BitstreamError(f"codebook has a code of {int(used.max())} bits, want at most {max_length}")
    kraft = int((1 << (max_length - used)).sum())
    alone = used.size == 0 or (used.size == 1 and int(used[0]) == 1)
    if kraft != 1 << max_length and not alone:
        raise BitstreamError(f"codebook's Kraft sum is {kraft} / {1 << max_length}, want 1")

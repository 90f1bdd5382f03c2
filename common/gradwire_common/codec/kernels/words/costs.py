# mypy: disable-error-code="arg-type, assignment, return-value"
# numba's integers are NumPy's: np.int64 stands where Python has int.
"""What codes cost: bits under a model's weights, without building a codebook. For choosing among many schemes.

Three answers, each dearer and nearer than the one before: entropy, Huffman's code, the code of limited length.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from gradwire_common.codec.kernels.words.lengths import package_merge

U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]
F64 = npt.NDArray[np.float64]

WEIGHT_BITS = 30  # the unit of weights is 2**-30
NO_CODE = np.inf  # bits of more words than codes


@njit(cache=True, nogil=True)
def keep_tuples(buckets: U64, size: int, least: int, words: U64, rare: U64) -> int:
    """Fill `words` with the weights of all tuples of at least `least`, and of the rare word; return how many.

    Args:
        buckets: Weights of the coded buckets, descending, then of all others.
        size: Buckets in a tuple.
        least: Weight of a tuple that is a word.
        words: Room for n**size + 1; in no order.
        rare: (n + 1,), receives the weights of the rare list's code; `words.tuple_words` says what they are.
    """
    n, least = buckets.size - 1, np.uint64(least)
    shift, one = np.uint64(WEIGHT_BITS), np.uint64(1)
    n_words, total = 0, np.uint64(0)
    for first in range(n):
        begin, end = n_words, n_words
        if buckets[first] >= least:
            words[end] = buckets[first]
            end += 1
        for _ in range(size - 1):  # products only shrink, so what is too light already needs no successors
            stop = end
            for i in range(begin, stop):
                for b in range(n):
                    weight = (words[i] * buckets[b]) >> shift
                    if weight < least:
                        break
                    words[end] = weight
                    end += 1
            for i in range(end - stop):
                words[begin + i] = words[stop + i]
            end = begin + end - stop
        covered = np.uint64(0)
        for i in range(begin, end):
            covered += words[i]
        rare[first] = max(buckets[first], covered + one) - covered
        total += covered
        n_words = end
    rare[n] = max(buckets[n], one)
    words[n_words] = max(one << shift, total + one) - total
    return n_words + 1


@njit(cache=True, nogil=True)
def entropy_sum(weights: U64) -> float:
    """Sum of weight times ideal length: no code is shorter."""
    total, logs = 0.0, 0.0
    for i in range(weights.size):
        weight = np.float64(weights[i])
        if weight > 0.0:
            total += weight
            logs += weight * np.log2(weight)
    return total * np.log2(total) - logs if total > 0.0 else 0.0


@njit(cache=True, nogil=True)
def huffman_sum(ascending: U64) -> float:
    """Sum of weight times length of Huffman's code of any length, for ascending weights: the sum of all its nodes."""
    n = ascending.size
    nodes = np.empty(n, np.uint64)
    leaf, node, total = 0, 0, 0.0
    for made in range(n - 1):
        pair = np.uint64(0)
        for _ in range(2):
            if leaf < n and (node >= made or ascending[leaf] <= nodes[node]):
                pair += ascending[leaf]
                leaf += 1
            else:
                pair += nodes[node]
                node += 1
        nodes[made] = pair
        total += np.float64(pair)
    return total


@njit(cache=True, nogil=True)
def limited_sum(ascending: U64, max_length: int) -> float:
    """Sum of weight times length of the best code of at most `max_length` bits; NO_CODE where there is none."""
    n = ascending.size
    if n > 1 << max_length:
        return NO_CODE
    if n < 2:
        return np.float64(ascending.sum())
    lengths, total = np.empty(n, np.uint8), 0.0
    package_merge(ascending, max_length, lengths)
    for i in range(n):
        total += np.float64(ascending[i]) * np.float64(lengths[i])
    return total

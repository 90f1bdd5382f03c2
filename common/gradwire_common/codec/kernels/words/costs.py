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
def keep_tuples(buckets: U64, size: int, least: int, growth: int, words: U64, rare: U64) -> tuple[int, float]:
    """Fill `words` with the weights of all words of at least `least`, and of the rare word.

    Args:
        buckets: Weights of the coded buckets, descending, then of all others.
        size: Most buckets of a word.
        least: Weight that a word has.
        growth: Weight of a word that grows; 0 where all have `size` buckets.
        words: Receives the words, in no order.
        rare: (n + 1,), receives the weights of the rare list's code; `words.tuple_words` says what they are.

    Returns:
        How many words there are, and their buckets times their weights; 0 where `words` has no room for them.
    """
    n, least, growth, shift = buckets.size - 1, np.uint64(least), np.uint64(growth), np.uint64(WEIGHT_BITS)
    places = size if growth else 1
    covered, ended = np.zeros((places, n + 1), np.uint64), np.zeros(places, np.uint64)
    growing, grown = np.empty(words.size, np.uint64), np.empty(words.size, np.uint64)
    growing_digits, grown_digits = np.empty(words.size, np.uint64), np.empty(words.size, np.uint64)
    growing[0], growing_digits[0] = np.uint64(1) << shift, np.uint64(0)
    n_growing, n_words, total, n_buckets = 1, 0, np.uint64(0), 0.0
    for place in range(size):
        n_grown = 0
        for i in range(n_growing):
            for b in range(n):
                weight, digits = (growing[i] * buckets[b]) >> shift, growing_digits[i] | np.uint64(b << 8 * place)
                if weight < least:  # products only shrink, so what is too light already needs no successors
                    break
                if n_words + 1 == words.size or n_grown == words.size:
                    return 0, 0.0
                if place + 1 < size and weight >= growth:
                    grown[n_grown], grown_digits[n_grown] = weight, digits
                    n_grown += 1
                    continue
                words[n_words] = weight
                n_words += 1
                total += weight
                n_buckets += np.float64(weight) * (place + 1)
                covered[0, digits & np.uint64(255)] += weight
                for j in range(1, places):
                    if j > place:
                        ended[j] += weight
                    else:
                        covered[j, (digits >> np.uint64(8 * j)) & np.uint64(255)] += weight
        growing, grown, n_growing = grown, growing, n_grown
        growing_digits, grown_digits = grown_digits, growing_digits
    for b in range(n + 1):
        rare[b] = np.uint64(0)
        weight = max(buckets[b], np.uint64(1))
        for j in range(places):
            gone = (weight * ended[j] >> shift) + covered[j, b]
            rare[b] += max(weight, gone) - gone
        rare[b] = max(rare[b], np.uint64(1))
    words[n_words] = max(np.uint64(1) << shift, total + np.uint64(1)) - total
    return n_words + 1, n_buckets + np.float64(words[n_words]) * size


@njit(cache=True, nogil=True)
def weigh_runs(buckets: U64, n_classes: int, detail: int, words: U64) -> None:
    """Fill `words` with the weights of the words of runs, (n_classes * n + 1,) for (n + 1,) weights of buckets.

    `words.run_words` says what they are.
    """
    one, shift, n, least = np.uint64(1 << WEIGHT_BITS), np.uint64(WEIGHT_BITS), buckets.size - 1, np.uint64(1)
    total = np.uint64(0)
    for b in range(1, n + 1):
        total += max(buckets[b], least)
    stay, reach = max(one, total + least) - total, one
    for _ in range(detail):
        stay = stay * stay >> shift
    for c in range(n_classes):
        stop = reach * (one - stay) >> shift
        for b in range(n):
            share = (max(buckets[b + 1], least) << shift) // total
            words[c * n + b] = max(stop * share >> shift, least)
        reach = reach * stay >> shift
    words[n_classes * n] = max(reach, least)


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

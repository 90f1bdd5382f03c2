import heapq

import numpy as np
import pytest

from gradwire_common.codec.huffman import check_lengths, code_lengths
from gradwire_common.codec.kernels.words.tables import canonical_codes
from gradwire_common.errors import BitstreamError, UsageError


def weights_of(*values):
    return np.array(values, np.uint64)


def huffman_cost(weights):
    """The sum of merged weights is the cost of the best code (Huffman 1952)."""
    heap, cost = [int(w) for w in weights], 0
    heapq.heapify(heap)
    while len(heap) > 1:
        merged = heapq.heappop(heap) + heapq.heappop(heap)
        cost += merged
        heapq.heappush(heap, merged)
    return cost


def test_known_lengths():
    for weights, limit, expected in [
        ((1, 1), 12, (1, 1)),
        ((8, 4, 2, 1, 1), 12, (1, 2, 3, 4, 4)),
        ((8, 4, 2, 1, 1), 3, (1, 3, 3, 3, 3)),
        ((5, 0, 5), 12, (1, 0, 1)),
        ((0, 7, 0), 12, (0, 1, 0)),
        ((0, 0), 12, (0, 0)),
    ]:
        assert tuple(code_lengths(weights_of(*weights), limit)) == expected


def test_lengths_cost_as_little_as_a_huffman_tree_where_the_limit_allows():
    rng = np.random.default_rng(1)
    for n in (2, 3, 10, 100):
        weights = rng.integers(1, 1 << 12, n).astype(np.uint64)
        lengths = code_lengths(weights, 12)
        assert int((weights * lengths).sum()) >= huffman_cost(weights)
        if lengths.max() < 12:
            assert int((weights * lengths).sum()) == huffman_cost(weights)
        check_lengths(lengths, 12)


def test_the_limit_holds_and_the_code_stays_complete():
    weights = np.array([1 << min(i, 29) for i in range(60)], np.uint64)
    for limit in (6, 8, 12):
        lengths = code_lengths(weights, limit)
        assert lengths.max() <= limit
        check_lengths(lengths, limit)


def test_codes_are_canonical_and_no_code_starts_another():
    lengths = np.array([2, 0, 1, 3, 3], np.uint8)
    codes = np.empty(5, np.uint32)
    canonical_codes(lengths, codes)
    words = {format(int(c), f"0{n}b")[::-1] for c, n in zip(codes, lengths, strict=True) if n}
    assert words == {"0", "10", "110", "111"}


def test_too_many_words_are_refused():
    with pytest.raises(UsageError, match="300 words"):
        code_lengths(np.ones(300, np.uint64), 8)


def test_lengths_of_no_code_are_refused():
    for lengths in ([1, 1, 1], [2, 2], [13, 1], [1, 2]):
        with pytest.raises(BitstreamError):
            check_lengths(np.array(lengths, np.uint8), 12)

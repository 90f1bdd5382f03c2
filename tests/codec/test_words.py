import numpy as np
import pytest

from gradwire_common.codec.words.scheme import ONE, RUNS, TUPLES, WordScheme, rounded_weights, run_words, tuple_words
from gradwire_common.errors import BitstreamError


def tuples_scheme(**changes):
    fields = {"coding": TUPLES, "beta_index": 56, "ratio_index": 0, "raw_bits": 0, "n_buckets": 3, "size": 2}
    return WordScheme(**{**fields, "detail": 14, "max_length": 12, **changes})


def test_weights_keep_twelve_significant_bits():
    got = rounded_weights(np.array([1.0, 0.5, 1 / 3, 2.0**-40, 0.0]))
    assert list(got[:2]) == [ONE, ONE // 2]
    assert int(got[2]) % (1 << 17) == 0
    assert list(got[3:]) == [1, 1]


def test_tuple_weights_are_products():
    buckets = rounded_weights(np.array([0.5, 0.25, 0.25, 0.0]))
    tuples, _, words, rare = tuple_words(tuples_scheme(), buckets)
    assert list(tuples) == [0, 1, 2, 4, 5, 6, 8, 9, 10]
    assert [int(w) / ONE for w in words[:-1]] == [1 / 4, 1 / 8, 1 / 8, 1 / 8, 1 / 16, 1 / 16, 1 / 8, 1 / 16, 1 / 16]
    assert int(words[-1]) == 1
    assert rare.size == 4


def test_rare_tuples_share_a_word():
    buckets = rounded_weights(np.array([0.9, 0.0995, 0.0005, 0.0]))
    tuples, _, words, _ = tuple_words(tuples_scheme(detail=10), buckets)
    assert list(tuples) == [0, 1, 4, 5]
    assert int(words.sum()) == ONE


def test_words_grow_while_they_are_likely():
    buckets = rounded_weights(np.array([0.5, 0.3125, 0.1875, 0.0]))
    scheme = tuples_scheme(size=3, growth=4)  # those of weight 1/2 grow
    assert scheme.growth_weight == ONE // 2
    tuples, sizes, words, rare = tuple_words(scheme, buckets)
    assert list(tuples) == [0, 4, 8, 16, 32]  # 0 with each bucket behind it; 1; 2; filled up with zeros
    assert list(sizes) == [2, 2, 2, 1, 1, 3]  # the rare word's last
    assert [int(w) / ONE for w in words[:-1]] == [0.25, 0.15625, 0.09375, 0.3125, 0.1875]
    assert list(rare[:-1]) == [1, 1, 1]  # all that is coded has a word


def test_growth_weights_fall_by_quarters_of_an_octave():
    weights = [tuples_scheme(growth=growth).growth_weight / ONE for growth in range(1, 9)]
    assert weights == [7 / 8, 6 / 8, 5 / 8, 4 / 8, 7 / 16, 6 / 16, 5 / 16, 4 / 16]
    assert tuples_scheme().growth_weight == 0


def test_rare_buckets_of_words_that_grow_are_weighed_at_every_place():
    scheme = tuples_scheme(n_buckets=2, size=2, detail=8, growth=4)
    buckets = rounded_weights(np.array([0.9970703125, 0.0009765625, 0.001953125]))
    tuples, _, words, rare = tuple_words(scheme, buckets)
    assert list(tuples) == [0]
    p, q, r = (int(weight) for weight in buckets)
    assert list(rare) == [2 * (p - int(words[0])), 2 * q, 2 * r]


def test_run_weights_add_up_to_one():
    scheme = tuples_scheme(coding=RUNS, size=8, detail=2)
    words = run_words(scheme, rounded_weights(np.array([0.9, 0.05, 0.05, 0.0])))
    assert words.size == scheme.n_words == 25
    assert abs(int(words.sum()) / ONE - 1) < 1e-6
    assert abs(int(words[-1]) / ONE - 0.9**32) < 1e-4


def test_schemes_out_of_bounds_are_refused():
    for changes in (
        {"raw_bits": 9},
        {"n_buckets": 255},
        {"size": 7},
        {"max_length": 13},
        {"n_buckets": 63, "size": 3},
        {"coding": RUNS, "size": 32, "detail": 8},
        {"coding": RUNS, "size": 8, "detail": 2, "raw_bits": 1},
    ):
        with pytest.raises(BitstreamError):
            tuples_scheme(**changes)

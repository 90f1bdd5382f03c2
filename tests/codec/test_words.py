import numpy as np
import pytest

from gradwire_common.codec.words import ONE, RUNS, TUPLES, WordScheme, rounded_weights, run_words, tuple_words
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
    tuples, words, rare = tuple_words(tuples_scheme(), buckets)
    assert list(tuples) == [0, 1, 2, 4, 5, 6, 8, 9, 10]
    assert [int(w) / ONE for w in words[:-1]] == [1 / 4, 1 / 8, 1 / 8, 1 / 8, 1 / 16, 1 / 16, 1 / 8, 1 / 16, 1 / 16]
    assert int(words[-1]) == 1
    assert rare.size == 4


def test_rare_tuples_share_a_word():
    buckets = rounded_weights(np.array([0.9, 0.0995, 0.0005, 0.0]))
    tuples, words, _ = tuple_words(tuples_scheme(detail=10), buckets)
    assert list(tuples) == [0, 1, 4, 5]
    assert int(words.sum()) == ONE


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

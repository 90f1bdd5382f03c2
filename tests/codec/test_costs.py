"""What a scheme is expected to take is what its codebook takes on its own model."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from gradwire_common.codec.codebook import bucket_weights, grid_indices, grid_model, model_codebook
from gradwire_common.codec.formats import UNIFORM, format_named
from gradwire_common.codec.kernels.words.costs import huffman_sum, keep_tuples, limited_sum
from gradwire_common.codec.model.gennorm import GenNorm
from gradwire_common.codec.model.rates import ratio_for_bits
from gradwire_common.codec.model.rates.integrals import entropy_integral
from gradwire_common.codec.words.choice import choose_scheme
from gradwire_common.codec.words.costs import ExpectedBits
from gradwire_common.codec.words.scheme import MAX_WORDS, ONE, RUNS, TUPLES, WordScheme, run_words, tuple_words

SCHEMES = [
    ("uniform", WordScheme(TUPLES, 111, 16, 0, 15, 3, 14, 12)),
    ("uniform", WordScheme(TUPLES, 63, 29, 0, 179, 1, 12, 11)),
    ("uniform", WordScheme(TUPLES, 111, -96, 3, 116, 1, 12, 11)),
    ("uniform", WordScheme(TUPLES, 140, 32, 0, 5, 4, 20, 12)),
    ("uniform", WordScheme(TUPLES, 111, 16, 0, 15, 3, 14, 12, 0, 23)),
    ("uniform", WordScheme(TUPLES, 87, 8, 0, 53, 2, 14, 12, 0, 11)),
    ("float8-1-4-3", WordScheme(TUPLES, 100, -300, 3, 18, 3, 14, 12, 0, 29)),
    ("float8-1-5-2", WordScheme(TUPLES, 63, 60, 2, 40, 2, 14, 12, 9)),
    ("float4-1-2-1", WordScheme(TUPLES, 111, 60, 0, 11, 2, 12, 11)),
    ("bfloat16", WordScheme(TUPLES, 111, 0, 8, 19, 2, 14, 12, 110)),
    ("uniform", WordScheme(RUNS, 111, 110, 0, 5, 16, 2, 12)),
    ("uniform", WordScheme(RUNS, 63, 97, 0, 27, 4, 0, 12)),
]


@pytest.mark.parametrize(("name", "scheme"), SCHEMES)
def test_expected_bits_are_those_of_the_codebook(name, scheme):
    form = format_named(name)
    weights, codebook = bucket_weights(form, scheme), model_codebook(form, scheme)
    expected, beyond = ExpectedBits(form, scheme), 10.0 * int(weights[-1]) / ONE
    got = expected.bits(scheme.max_length) - beyond - scheme.raw_bits
    if scheme.coding == TUPLES:
        _, sizes, words, rare = tuple_words(scheme, weights)
        per_rare = scheme.size * float((rare * codebook.rare_lengths).sum()) / float(rare.sum())
        spent = float((words * codebook.lengths).sum()) + float(words[-1]) * per_rare
        want = spent / float((words * sizes).sum())
    else:
        words = run_words(scheme, weights)
        place_bits = np.append(np.full(words.size - 1, scheme.detail), 0)
        spent = float((words * (codebook.lengths + place_bits)).sum()) / float(words.sum())
        zero, longest = 1 - int(weights[1:].sum()) / ONE, scheme.size << scheme.detail
        want = spent / ((1 - zero**longest) / (1 - zero))
    assert got == pytest.approx(want, rel=1e-6)
    assert expected.least <= expected.unlimited <= expected.bits(scheme.max_length) + 1e-12


@pytest.mark.parametrize(("name", "scheme"), [pair for pair in SCHEMES if pair[1].coding == TUPLES])
def test_the_same_tuples_are_kept_as_in_the_codebook(name, scheme):
    form = format_named(name)
    weights = bucket_weights(form, scheme)
    _, sizes, want_words, want_rare = tuple_words(scheme, weights)
    words, rare = np.empty(MAX_WORDS + 1, np.uint64), np.empty(weights.size, np.uint64)
    descending, least = np.append(np.sort(weights[:-1])[::-1], weights[-1]), ONE >> scheme.detail
    n, n_buckets = keep_tuples(descending, scheme.size, least, scheme.growth_weight, words, rare)
    assert_array_equal(np.sort(words[:n]), np.sort(want_words))
    assert int(words[n - 1]) == int(want_words[-1])
    assert_array_equal(np.sort(rare), np.sort(want_rare))
    assert n_buckets == pytest.approx(float((want_words * sizes).sum()))


def test_more_words_than_codes_cost_more_than_anything():
    scheme = WordScheme(TUPLES, 111, -160, 0, 127, 2, 20, 12, 0, 40)
    assert ExpectedBits(UNIFORM, scheme).bits(12) == np.inf


def test_known_sums():
    weights = np.array([1, 1, 2, 3, 5, 8], np.uint64)  # lengths 5, 5, 4, 3, 2, 1
    assert huffman_sum(weights) == 45
    assert limited_sum(weights, 5) == 45
    assert limited_sum(weights, 3) == 1 * 3 + 1 * 3 + 2 * 3 + 3 * 3 + 5 * 2 + 8 * 2
    assert limited_sum(weights, 2) == np.inf


@pytest.mark.parametrize("beta_index", [63, 87, 111, 140, 159])
@pytest.mark.parametrize("bits", [0.1, 0.5, 1, 3, 4, 5, 6])
def test_no_chosen_scheme_takes_much_more_than_entropy(beta_index, bits):
    beta = grid_model(beta_index, 0).beta
    ratio_index = grid_indices(GenNorm(beta, 1.0), float(ratio_for_bits(beta, bits)))[1]
    model = grid_model(beta_index, ratio_index)
    scheme, _ = choose_scheme(UNIFORM, beta_index, ratio_index)
    got = ExpectedBits(UNIFORM, scheme).bits(scheme.max_length)
    assert got < 1.0115 * float(entropy_integral(beta, 1 / model.alpha))


def test_words_grow_where_one_length_loses_more_than_a_percent_and_the_tensor_is_not_small():
    for beta_index, ratio_index in ((111, 16), (140, -4)):  # uniform at 2 bits
        large, _ = choose_scheme(UNIFORM, beta_index, ratio_index)
        small, _ = choose_scheme(UNIFORM, beta_index, ratio_index, 1000)
        assert large.growth > 0
        assert small.growth == 0
        assert ExpectedBits(UNIFORM, large).bits(12) < 0.997 * ExpectedBits(UNIFORM, small).bits(12)

"""The data's own code is estimated as it turns out, and only chosen where it is shorter."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from gradwire_common.codec.codebook import grid_indices, model_codebook
from gradwire_common.codec.formats import Uniform
from gradwire_common.codec.frames import decode_frame, encode_frame, read_header
from gradwire_common.codec.model.fit import fit_gennorm
from gradwire_common.codec.model.gennorm import GenNorm
from gradwire_common.codec.segments import encode_body
from gradwire_common.codec.words import choice
from gradwire_common.codec.words.choice import choose_scheme
from gradwire_common.codec.words.measured import own_codebook
from gradwire_common.codec.words.samples import bucket_counts, sample_bits, sample_of


def half_zeros(n):
    """Entries of which half are exact zeros in spans of 40: what a layer behind a ReLU gets."""
    rng = np.random.default_rng(5)
    spans = np.repeat(rng.random(-(-n // 40)) < 0.5, 40)[:n]
    return np.where(spans, 0, rng.laplace(0, 1, n)).astype(np.float32)


def fitted_code(quantizer, model):
    """The codebook that `model`, the fit, gives, and the entries of a segment."""
    scheme, segment = choose_scheme(quantizer.format, *grid_indices(model, quantizer.unit))
    return model_codebook(quantizer.format, scheme), segment


def bits_with(codebook, quantizer, sample):
    return sample_bits(codebook, sample, *bucket_counts(quantizer, codebook.scheme, sample))


def body_length(values, quantizer, codebook, segment):
    return sum(len(part) for part in encode_body(values, quantizer, codebook, segment, None, 1))


def test_estimated_bits_of_words_that_grow_are_those_of_the_body():
    model, quantizer = GenNorm(1.0, 1.0), Uniform(1.4)
    values = model.sample(np.random.default_rng(4), 16000).astype(np.float32)
    codebook, segment = fitted_code(quantizer, model)
    assert codebook.scheme.growth > 0
    got = bits_with(codebook, quantizer, sample_of(values, quantizer, codebook.scheme, segment, runs=False))
    assert got == pytest.approx(8 * body_length(values, quantizer, codebook, segment), rel=0.005)


def test_explicit_lengths_replace_words_that_grow(monkeypatch):
    monkeypatch.setattr(choice, "FEW_ENTRIES", 0)
    model, quantizer = GenNorm(1.0, 1.0), Uniform(1.4)
    values = model.sample(np.random.default_rng(4), 16000).astype(np.float32)
    frame = encode_frame(values, quantizer, model, explicit_lengths=True)
    scheme = read_header(frame).scheme
    assert read_header(frame).explicit
    assert scheme.growth == 0
    assert_array_equal(decode_frame(frame), quantizer.dequantize(quantizer.quantize(values)))
    assert len(frame) < 1.06 * len(encode_frame(values, quantizer, model))


@pytest.mark.parametrize("step", [0.2, 1.0, 4.0])
def test_estimated_bits_are_those_of_the_body(step):
    values, quantizer = half_zeros(16000), Uniform(step)
    fitted, segment = fitted_code(quantizer, fit_gennorm(values))
    own = own_codebook(values, quantizer, fitted, segment, wanted=True)
    for codebook in (fitted, own):
        sample = sample_of(values, quantizer, codebook.scheme, segment, runs=True)
        got = bits_with(codebook, quantizer, sample)
        want = 8 * body_length(values, quantizer, codebook, segment)
        assert sample.whole
        assert got == pytest.approx(want, rel=0.02, abs=400)  # blocks of zeros make tuples dependent; padding


@pytest.mark.parametrize("n", [600, 3000, 16000, 70000])
def test_a_frame_is_no_longer_than_with_the_fits_code(n):
    values, quantizer = half_zeros(n), Uniform(1.0)
    frame = encode_frame(values, quantizer)
    n_fitted = body_length(values, quantizer, *fitted_code(quantizer, fit_gennorm(values)))
    assert read_header(frame).body_length <= n_fitted + 4
    assert_array_equal(decode_frame(frame), quantizer.dequantize(quantizer.quantize(values)))

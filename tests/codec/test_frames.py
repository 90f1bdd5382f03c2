import numpy as np
import pytest
from numpy.testing import assert_array_equal

from gradwire_common.codec import codebook
from gradwire_common.codec.formats import FLOAT8_1_5_2, MINIFLOATS, Minifloat, Uniform, all_formats, build_quantizer
from gradwire_common.codec.frames import (
    HEADER_MAX,
    add_frame,
    check_frame,
    decode_frame,
    encode_frame,
    read_header,
    warm_up,
)
from gradwire_common.codec.model.fit import fit_gennorm
from gradwire_common.codec.model.gennorm import GenNorm
from gradwire_common.codec.model.rates import ratio_for_bits
from gradwire_common.codec.segments import TASK_ENTRIES
from gradwire_common.errors import BitstreamError, CodebookMismatchError, NonFiniteError, UsageError

NAMES = [form.name for form in all_formats()]


def tensors():
    rng = np.random.default_rng(5)
    laplace = rng.laplace(size=20000).astype(np.float32)
    atoms, rows = laplace.copy(), laplace.reshape(200, 100).copy()
    atoms[rng.random(laplace.size) < 0.7] = 0
    rows[rng.random(200) < 0.8] = 0
    return {
        "empty": laplace[:0],
        "one entry": np.ones(1, np.float32),
        "one zero": np.zeros(1, np.float32),
        "seven": laplace[:7],
        "laplace": laplace,
        "atoms": atoms,
        "rows": rows.ravel(),
        "zeros": np.zeros(9999, np.float32),
        "constant": np.full(9999, -0.1, np.float32),
        "signs": np.sign(laplace) * np.float32(1e-3),
        "denormal": laplace * np.float32(1e-42),
        "huge": laplace * np.float32(1e37),
        "heavy": rng.standard_cauchy(20000).astype(np.float32),
        "outlier": np.append(laplace * np.float32(1e-6), np.float32(1e6)),
    }


def quantizers(values):
    model = fit_gennorm(values)
    for name in NAMES:
        for ratio in (0.02, 1.0, 6.0, 20.0) if name == "uniform" else (1.0,):
            yield build_quantizer(name, model, ratio * model.alpha)


@pytest.mark.parametrize("explicit", [False, True])
@pytest.mark.parametrize("name", tensors())
def test_every_tensor_comes_back_as_its_levels(name, explicit):
    values = tensors()[name]
    for quantizer in quantizers(values):
        residual = np.empty_like(values)
        frame = encode_frame(values, quantizer, residual=residual, explicit_lengths=explicit)
        levels = quantizer.dequantize(quantizer.quantize(values))
        assert_array_equal(decode_frame(frame), levels)
        assert_array_equal(residual, values - levels)
        header = read_header(frame[:HEADER_MAX])
        assert (header.n_entries, header.quantizer, header.frame_length) == (values.size, quantizer, len(frame))


def test_float32_comes_back_bit_for_bit():
    values = np.random.default_rng(0).integers(0, 0x7F800000, 5000, dtype=np.uint32).view(np.float32)
    values[::3] *= -1
    values[::7] = np.float32(-0.0)
    got = decode_frame(encode_frame(values, build_quantizer("lossless")))
    assert_array_equal(got.view(np.uint32), values.view(np.uint32))


def test_add_is_a_rounded_product_and_a_rounded_sum():
    rng = np.random.default_rng(1)
    for values in (tensors()["laplace"], tensors()["atoms"]):
        for quantizer in quantizers(values):
            frame = encode_frame(values, quantizer)
            accumulator = rng.normal(size=values.size).astype(np.float32)
            expected = accumulator + np.float32(0.3) * decode_frame(frame)
            add_frame(frame, 0.3, accumulator)
            assert_array_equal(accumulator, expected)


@pytest.mark.parametrize("raw", [False, True])
def test_long_frames_are_decoded_added_and_checked_piece_by_piece(raw):
    values = np.random.default_rng(2).laplace(size=2 * TASK_ENTRIES + 1000).astype(np.float32)
    for quantizer in (build_quantizer("lossless"), Uniform(0.5)):
        frame = encode_frame(values, quantizer, raw=raw)
        levels = quantizer.dequantize(quantizer.quantize(values))
        assert_array_equal(decode_frame(frame), levels)
        total = np.ones_like(values)
        add_frame(frame, 3.0, total)
        assert_array_equal(total, np.float32(1) + np.float32(3) * levels)
        check_frame(frame)


@pytest.mark.parametrize("raw", [False, True])
def test_a_frame_is_decoded_to_an_array_of_its_size_and_no_other(raw):
    values = np.random.default_rng(7).laplace(size=TASK_ENTRIES + 10).astype(np.float32)
    frame = encode_frame(values, Uniform(0.5), raw=raw)
    out = np.full_like(values, np.nan)
    assert decode_frame(frame, out=out) is out
    assert_array_equal(out, decode_frame(frame))
    with pytest.raises(BitstreamError, match=f"holds {values.size} entries, want 3"):
        decode_frame(frame, out=out[:3])
    for wrong in (out.astype(np.float64), out[::2], out[None]):
        with pytest.raises(UsageError, match="out is"):
            decode_frame(frame, out=wrong)


def test_a_level_of_zero_leaves_even_minus_zero_alone():
    for step in (1.0, 30.0):
        accumulator = np.full(1000, -0.0, np.float32)
        add_frame(encode_frame(np.zeros(1000, np.float32), Uniform(step), GenNorm(1.0, 1.0)), 1.0, accumulator)
        assert np.signbit(accumulator).all()
    values = np.random.default_rng(6).normal(size=5000).astype(np.float32)
    values[::50] = 0  # so rare a bucket, at such a scale, that it is beyond the coded ones
    accumulator = np.full(values.size, -0.0, np.float32)
    add_frame(encode_frame(values, Minifloat(FLOAT8_1_5_2, 1000.0), GenNorm(2.0, 2**0.5)), 1.0, accumulator)
    assert np.signbit(accumulator[::50]).all()


def test_the_residual_is_exact_at_the_ends_of_the_scales():
    some = np.random.default_rng(5).laplace(size=5000).astype(np.float32)
    for form in MINIFLOATS:
        for scale in (form.parameter.low, form.parameter.high):
            quantizer = Minifloat(form, scale)
            values = np.clip(some.astype(np.float64) / scale, -3e38, 3e38).astype(np.float32)
            residual = np.empty_like(values)
            frame = encode_frame(values, quantizer, residual=residual)
            assert_array_equal(residual, values - quantizer.dequantize(quantizer.quantize(values)))
            assert_array_equal(decode_frame(frame), quantizer.dequantize(quantizer.quantize(values)))


def test_the_residual_may_be_the_values_themselves():
    for name in NAMES:
        values = tensors()["laplace"]
        quantizer = build_quantizer(name, fit_gennorm(values), 0.7)
        expected = values - quantizer.dequantize(quantizer.quantize(values))
        frame = encode_frame(values.copy(), quantizer)
        assert encode_frame(values, quantizer, fit_gennorm(tensors()["laplace"]), residual=values) == frame
        assert_array_equal(values, expected)


def test_threads_make_and_read_the_same_bytes():
    values = GenNorm(0.8, 1.0).sample(np.random.default_rng(2), 600_000)
    quantizer = Uniform(0.5)
    frame = encode_frame(values, quantizer)
    assert encode_frame(values, quantizer, threads=3) == frame
    assert_array_equal(decode_frame(frame, threads=3), decode_frame(frame))


@pytest.mark.parametrize("beta", [0.7, 1.0, 1.5, 2.0])
@pytest.mark.parametrize("bits", [0.01, 0.03, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0])
def test_bits_are_within_one_and_a_half_percent_of_entropy(beta, bits):
    values = GenNorm(beta, 1.0).sample(np.random.default_rng(3), 1 << 20)
    quantizer = Uniform(float(ratio_for_bits(beta, bits)))
    _, counts = np.unique(quantizer.quantize(values), return_counts=True)
    share = counts / values.size
    entropy = float(-(share * np.log2(share)).sum())
    spent = 8 * (len(encode_frame(values, quantizer, GenNorm(beta, 1.0))) - 64) / values.size
    assert spent <= 1.015 * entropy


def test_a_small_tensor_costs_at_most_64_bytes_more_than_its_symbols():
    values = tensors()["laplace"][:50]
    for quantizer in (Uniform(0.5), build_quantizer("float4-1-2-1", GenNorm(1.0, 1.0))):
        assert len(encode_frame(values, quantizer, GenNorm(1.0, 1.0))) <= 64 + 50 * 4 / 8


def test_the_datas_own_code_is_sent_where_the_fit_is_wrong():
    values = tensors()["laplace"]
    model = GenNorm(1.0, 1.0)
    assert not read_header(encode_frame(values, Uniform(0.5), model)).explicit
    frame = encode_frame(values, Uniform(0.5), GenNorm(2.0, 9.0))
    assert read_header(frame).explicit
    assert len(frame) < 1.05 * len(encode_frame(values, Uniform(0.5), model))
    assert_array_equal(decode_frame(frame), Uniform(0.5).dequantize(Uniform(0.5).quantize(values)))


def test_frames_one_after_the_other_know_their_ends():
    values = tensors()["laplace"]
    first, second = encode_frame(values, Uniform(0.5)), encode_frame(values[:9], Uniform(2.0))
    both = first + second
    header = read_header(both)
    assert header.frame_length == len(first)
    assert_array_equal(decode_frame(both), decode_frame(first))
    assert_array_equal(decode_frame(both[header.frame_length :]), decode_frame(second))


def test_a_codebook_that_differs_here_is_noticed(monkeypatch):
    values = tensors()["laplace"]
    frame, explicit = (encode_frame(values, Uniform(0.5), explicit_lengths=flag) for flag in (False, True))
    rounded = codebook.rounded_weights
    monkeypatch.setattr(codebook, "rounded_weights", lambda p: np.maximum(rounded(p)[::-1], 1))
    for cached in (codebook.magnitude_weights, codebook.layout_weights, codebook.model_codebook):
        cached.cache_clear()
    try:
        with pytest.raises(CodebookMismatchError, match="explicit"):
            decode_frame(frame)
        decode_frame(explicit)
    finally:
        monkeypatch.undo()
        for cached in (codebook.magnitude_weights, codebook.layout_weights, codebook.model_codebook):
            cached.cache_clear()


def test_non_finite_values_are_refused():
    for bad in (np.nan, np.inf, -np.inf):
        for place in (0, 9000, 19999):
            values = tensors()["laplace"]
            values[place] = bad
            for name in NAMES:
                with pytest.raises(NonFiniteError):
                    encode_frame(values, build_quantizer(name, GenNorm(1.0, 1.0), 0.5), GenNorm(1.0, 1.0))


def test_arrays_of_the_wrong_kind_are_refused():
    values = np.ones(4, np.float32)
    for bad in (values.astype(np.float64), values.reshape(2, 2), values[::2]):
        with pytest.raises(UsageError):
            encode_frame(bad, Uniform(1.0))
    with pytest.raises(UsageError):
        encode_frame(values, Uniform(1.0), residual=np.ones(3, np.float32))
    with pytest.raises(BitstreamError, match="4 entries, want 3"):
        add_frame(encode_frame(values, Uniform(1.0)), 1.0, np.ones(3, np.float32))


def test_the_warm_up_says_how_long_it_took():
    assert warm_up() >= 0

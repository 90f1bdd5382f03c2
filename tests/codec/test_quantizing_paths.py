"""Entries are quantised alike by machine code and by the loops that every processor has."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from gradwire_common.codec.formats import FLOAT4_1_2_1, Minifloat, Uniform, format_named
from gradwire_common.codec.kernels.dispatch import fast_path
from gradwire_common.codec.kernels.quantizing.float4 import quantize_float4
from gradwire_common.codec.kernels.quantizing.minifloat import quantize_minifloat
from gradwire_common.codec.kernels.quantizing.uniform import quantize_uniform
from gradwire_common.codec.segments import grid_tables
from gradwire_common.codec.words.scheme import TUPLES, WordScheme


def hard_entries(unit, rng):
    """Entries at the borders between levels that are `unit` apart and beside them, of every size, and signed zeros."""
    borders = (np.arange(-600, 600) * np.float32(unit / 2)).astype(np.float32)
    beside = [np.nextafter(borders, np.float32(to)) for to in (-np.inf, np.inf)]
    anything = rng.integers(0, 1 << 32, 4000, dtype=np.uint32).view(np.float32)
    return np.concatenate([borders, *beside, anything[np.isfinite(anything)], np.zeros(5, np.float32), [-0.0] * 5])


def quantized(kernel, x, grid, fast):
    buckets, residual = np.zeros(x.size, np.uint8), np.zeros(x.size, np.float32)
    told = kernel(x, grid, residual, fast, buckets)
    alone = np.zeros(x.size, np.uint8)
    assert kernel(x, grid, residual[:0], fast, alone) == told
    assert_array_equal(alone, buckets)
    return told, buckets.tolist(), residual.view(np.int32).tolist()


@pytest.mark.skipif(not fast_path(), reason="unchecked access forbidden")
@pytest.mark.parametrize("unit", [2.0**-149, 1e-20, 0.003, 1.0, 1e30])
def test_entries_are_quantized_alike_64_at_a_time(unit):
    rng = np.random.default_rng(17)
    x = hard_entries(unit, rng).astype(np.float32)
    runs = [(quantize_uniform, Uniform(max(unit, 1e-37)), n_coded) for n_coded in (1, 61, 250, 253, 254)]
    runs += [(quantize_float4, Minifloat(FLOAT4_1_2_1, 0.5 / max(unit, 1e-37)), 11)]
    for kernel, quantizer, n_coded in runs:
        grid = grid_tables(quantizer, WordScheme(TUPLES, 0, 0, 0, n_coded, 1, 13, 12)).grid
        for some in (x, x[:63], x[: 64 * 5], x[7:]):
            assert quantized(kernel, some, grid, True) == quantized(kernel, some, grid, False)


@pytest.mark.skipif(not fast_path(), reason="unchecked access forbidden")
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_entry_that_is_not_finite_is_seen_64_at_a_time(bad):
    nothing, buckets = np.empty(0, np.float32), np.zeros(200, np.uint8)
    for place in (0, 63, 64, 191, 199):
        x = np.zeros(200, np.float32)
        x[place] = bad
        for quantizer, kernel, want in (
            (Uniform(1.0), quantize_uniform, -1),
            (Minifloat(FLOAT4_1_2_1, 1.0), quantize_float4, False),
        ):
            grid = grid_tables(quantizer, WordScheme(TUPLES, 0, 0, 0, 11, 1, 13, 12)).grid
            assert kernel(x, grid, nothing, True, buckets) == want


@pytest.mark.skipif(not fast_path(), reason="unchecked access forbidden")
@pytest.mark.parametrize("name", ["float8-1-5-2", "float8-1-4-3"])
@pytest.mark.parametrize("raw_bits", [1, 2, 3, 4])
def test_small_floats_are_quantized_alike_64_at_a_time(name, raw_bits):
    rng = np.random.default_rng(18)
    for scale in (2.0**-100, 1.0, 3.3, 1e20):
        quantizer = Minifloat(format_named(name), scale)
        borders = (format_named(name).borders / scale).astype(np.float32)
        borders = np.concatenate([borders, quantizer.levels, [0.0, -0.0]]).astype(np.float32)
        beside = [np.nextafter(borders, np.float32(to)) for to in (-np.inf, np.inf)]
        x = np.concatenate([borders, *beside, hard_entries(1 / scale, rng)]).astype(np.float32)
        x = np.concatenate([x, -x])
        for origin, n_coded in ((0, 5), (3, 20), (7, 60)):
            grid = grid_tables(quantizer, WordScheme(TUPLES, 0, 0, raw_bits, n_coded, 1, 13, 12, origin)).grid
            got = []
            for fast in (True, False):
                buckets, raws, residual = np.zeros(x.size, np.uint8), np.zeros(x.size, np.uint8), np.zeros_like(x)
                told = quantize_minifloat(x, grid, residual, fast, buckets, raws)
                assert quantize_minifloat(x, grid, residual[:0], fast, buckets, raws) == told
                got.append((told, buckets.tolist(), raws.tolist(), residual.view(np.int32).tolist()))
            assert got[0] == got[1]
        for place in (0, 63, 64, 191, 199):
            some = np.zeros(200, np.float32)
            some[place] = np.nan
            assert quantize_minifloat(some, grid, residual[:0], True, buckets, raws) == -1

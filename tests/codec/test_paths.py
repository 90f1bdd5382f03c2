"""The fast and the portable path make and read the same bytes."""

import numpy as np
import pytest
from numba import njit
from numpy.testing import assert_array_equal

from gradwire_common.codec.formats import (
    FLOAT8_1_4_3,
    FLOAT8_1_5_2,
    MINIFLOATS,
    Minifloat,
    all_formats,
    build_quantizer,
)
from gradwire_common.codec.frames import add_frame, decode_frame, encode_frame, read_header
from gradwire_common.codec.kernels.dispatch import fast_path
from gradwire_common.codec.kernels.layout import coming_after
from gradwire_common.codec.kernels.levels.level_tables import place_few, place_magnitudes
from gradwire_common.codec.kernels.levels.levels import largest_bucket
from gradwire_common.codec.kernels.native import vector_lookups
from gradwire_common.codec.kernels.native.batch_lookups import (
    INDEX_BITS,
    N_BATCHES,
    PLACE,
    STATE_SIZE,
    TABLE,
    TO,
    look_up_batches,
)
from gradwire_common.codec.kernels.native.processor import HAS_BMI2, HAS_VBMI2, IN_REGISTERS
from gradwire_common.codec.kernels.native.vector_lookups import decode_eight, decode_four
from gradwire_common.codec.kernels.portable import encode_tuples as portable_tuples
from gradwire_common.codec.kernels.quantizing.codes import join_codes, join_packed
from gradwire_common.codec.kernels.quantizing.minifloat import place_codes
from gradwire_common.codec.kernels.raws import pack_raws, raw_bytes, unpack_raws
from gradwire_common.codec.kernels.scanning import find_byte
from gradwire_common.codec.kernels.words.parsing import N_WALKERS, parse, parse_one_by_one, place_words
from gradwire_common.codec.kernels.words.side_by_side import fill_constants
from gradwire_common.codec.kernels.words.tables import RARE_FLAG, fill_pairs
from gradwire_common.codec.kernels.words.tuple_encoding import encode_pairs, encode_tuples
from gradwire_common.codec.kernels.words.tuples import look_up_batches_anywhere
from gradwire_common.codec.model.fit import fit_gennorm
from gradwire_common.codec.model.gennorm import GenNorm
from gradwire_common.codec.segments import grid_tables
from gradwire_common.codec.words import choice
from gradwire_common.codec.words.scheme import RUNS, TUPLES, WordScheme


@pytest.fixture
def portable(monkeypatch):
    """Switch to the portable path, and back."""

    def switch(on):
        monkeypatch.setenv("GRADWIRE_PORTABLE", "1" if on else "0")

    return switch


@pytest.mark.parametrize("name", [form.name for form in all_formats()])
def test_both_paths_make_and_read_the_same_bytes(name, portable):
    rng = np.random.default_rng(11)
    for n in (1, 63, 64, 1000, 70001):
        values = (rng.standard_gamma(0.7, n) * rng.choice([-1, 1], n)).astype(np.float32)
        for ratio in (0.05, 1.0, 8.0):
            quantizer = build_quantizer(name, fit_gennorm(values), ratio)
            portable(False)
            frame = encode_frame(values, quantizer)
            before = rng.choice(np.array([1, 0.1, 0, -0.0], np.float32), n)
            decoded, added = decode_frame(frame), before.copy()
            add_frame(frame, 0.1, added)
            portable(True)
            assert not fast_path()
            assert encode_frame(values, quantizer) == frame
            assert_array_equal(decode_frame(frame).view(np.int32), decoded.view(np.int32))
            add_frame(frame, 0.1, before)
            assert_array_equal(before.view(np.int32), added.view(np.int32))


@pytest.mark.parametrize(("beta", "step"), [(0.7, 1.2), (1.0, 1.4), (1.5, 0.9), (2.0, 1.4)])
def test_both_paths_make_and_read_the_same_words_that_grow(beta, step, portable, monkeypatch):
    monkeypatch.setattr(choice, "FEW_ENTRIES", 0)
    model, quantizer = GenNorm(beta, 1.0), build_quantizer("uniform", step=step)
    for n in (1, 7, 8, 9, 63, 64, 1000, 4097, 300_001):
        values = model.sample(np.random.default_rng(n), n).astype(np.float32)
        values[300::400] *= 20  # rare words
        portable(False)
        frame, residual = encode_frame(values, quantizer, model), values.copy()
        scheme = read_header(frame).scheme
        assert n < 64 or scheme.growth > 0
        assert encode_frame(residual, quantizer, model, residual=residual) == frame
        decoded = decode_frame(frame)
        assert_array_equal(decoded, quantizer.dequantize(quantizer.quantize(values)))
        assert_array_equal(residual, values - decoded)
        portable(True)
        assert encode_frame(values, quantizer, model) == frame
        assert_array_equal(decode_frame(frame), decoded)


@pytest.mark.parametrize("step", [4.0, 5.0, 7.0, 12.0])
def test_both_paths_make_and_read_the_same_runs(step, portable):
    model, quantizer = GenNorm(1.0, 1.0), build_quantizer("uniform", step=step)
    for n in (5, 64, 1000, 4097, 300_001):
        for every in (0, 1500, 100):  # outliers, which are not coded
            values = model.sample(np.random.default_rng(n), n).astype(np.float32)
            if every:
                values[::every] *= 1e3
            portable(False)
            frame = encode_frame(values, quantizer, model)
            header, want = read_header(frame), quantizer.dequantize(quantizer.quantize(values))
            assert n < 64 or every == 100 or header.scheme.coding == RUNS
            assert_array_equal(decode_frame(frame), want)
            before = np.where(np.arange(n) % 3, np.float32(-0.0), np.float32(0.1))
            added = before.copy()
            add_frame(frame, 0.3, added)
            portable(True)
            assert encode_frame(values, quantizer, model) == frame
            assert_array_equal(decode_frame(frame), want)
            add_frame(frame, 0.3, before)
            assert_array_equal(added.view(np.int32), before.view(np.int32))


@pytest.mark.parametrize("longest", range(2, 7))
def test_parsing_finds_the_words_that_go_on_from_the_first(longest):
    rng = np.random.default_rng(18)
    for n in (*range(40), 100, 1000, 5000):
        for n_tuples in (1, 2, 5, 300):
            steps = rng.integers(1, longest + 1, n_tuples).astype(np.uint8)
            numbers = rng.integers(0, n_tuples, n).astype(np.uint16)
            if n_tuples == 2:  # walkers that begin at one half and the other never meet
                steps[:], numbers[:] = [1, longest], np.arange(n) >= n // 2
            got, want = np.zeros(n, np.uint16), np.zeros(n, np.uint16)
            n_words = parse(numbers, steps, longest, np.empty(n + N_WALKERS**2, np.uint16), got)
            assert n_words == parse_one_by_one(numbers, steps, want)
            assert_array_equal(got, want)
            listed = np.flatnonzero(rng.random(n_words) < 0.1).astype(np.int32)
            places = np.append(0, np.cumsum(steps[want[:n_words]]))[listed]
            place_words(listed, want, steps)
            assert_array_equal(listed, places)


@pytest.mark.parametrize("densest", range(9))
def test_both_paths_read_bitstreams_whose_words_change_in_length(densest, portable):
    quiet, loud = np.float32(0.1), np.float32(3)
    rng = np.random.default_rng(16)
    values = rng.standard_normal(1 << 18).astype(np.float32)
    quantizer = build_quantizer("uniform", fit_gennorm(values), 0.5)
    eighths = values.reshape(8, -1)
    eighths *= quiet
    if densest < 8:
        eighths[densest] *= loud / quiet
    else:
        eighths[:, -eighths.shape[1] // 16 :] *= loud / quiet  # every bitstream's end
    frame = encode_frame(values, quantizer)
    portable(False)
    decoded = decode_frame(frame)
    portable(True)
    np.testing.assert_array_equal(decode_frame(frame), decoded)
    np.testing.assert_array_equal(decoded, quantizer.dequantize(quantizer.quantize(values)))


@pytest.mark.parametrize("raw_bits", range(1, 9))
def test_raw_bits_come_back(raw_bits):
    rng = np.random.default_rng(12)
    for n in (0, 1, 7, 8, 9, 63, 64, 65, 200):
        raws = rng.integers(0, 1 << raw_bits, n).astype(np.uint8)
        packed = [np.zeros(raw_bytes(n, raw_bits), np.uint8) for _ in range(2)]
        for fast in (False, True):
            assert pack_raws(raws, raw_bits, fast and fast_path(), packed[fast]) == packed[fast].size
            got = np.empty_like(raws)
            assert unpack_raws(packed[fast], raw_bits, fast and fast_path(), got) == packed[fast].size
            assert_array_equal(got, raws)
        assert_array_equal(packed[0], packed[1])


@pytest.mark.parametrize("raw_bits", range(6))
@pytest.mark.parametrize("form", [FLOAT8_1_4_3, FLOAT8_1_5_2])
def test_packed_raw_bits_make_the_codes_that_single_ones_make(form, raw_bits):
    rng, scheme = np.random.default_rng(17), WordScheme(TUPLES, 63, 0, raw_bits, 12, 1, 12, 12, 3 * (raw_bits > 0))
    grid = grid_tables(Minifloat(form, 1.0), scheme).grid
    for n in (0, 1, 63, 64, 65, 200):
        buckets = rng.integers(0, largest_bucket(grid) + 1, n).astype(np.uint8)
        raws = rng.integers(0, 1 << raw_bits, n).astype(np.uint8)
        packed, want = np.zeros(raw_bytes(n, raw_bits) if raw_bits else 0, np.uint8), buckets.copy()
        if raw_bits:
            pack_raws(raws, raw_bits, False, packed)
        all_exist = join_codes(want, raws, grid) <= 2 * form.n_positive + 1
        for fast in (False, fast_path()):
            got = buckets.copy()
            assert join_packed(got, packed, grid, fast, np.empty(n, np.uint8)) == all_exist
            assert_array_equal(got, want)


@pytest.mark.parametrize("place", [0, 63, 64, 70])
def test_a_code_that_does_not_exist_is_noticed_wherever_it_is(place):
    scheme = WordScheme(TUPLES, 63, 0, 4, 16, 1, 12, 12)  # sixteen buckets of eight magnitudes each, of which 124 exist
    grid, raws = grid_tables(Minifloat(FLOAT8_1_5_2, 1.0), scheme).grid, np.zeros(71, np.uint8)
    packed, scratch = np.empty(raw_bytes(71, 4), np.uint8), np.empty(71, np.uint8)
    for raw, exists in ((7, True), (8, False)):
        raws[place] = raw
        pack_raws(raws, 4, False, packed)
        for fast in (False, fast_path()):
            buckets = np.zeros(71, np.uint8)
            buckets[place] = 15
            assert join_packed(buckets, packed, grid, fast, scratch) == exists


@pytest.mark.skipif(not (IN_REGISTERS and fast_path()), reason="no machine code here, or forbidden")
@pytest.mark.parametrize("form", MINIFLOATS)
@pytest.mark.parametrize("weight", [None, 1.0, -0.3, 1e-30])
def test_levels_looked_up_are_those_computed(form, weight):
    quantizer, rng = Minifloat(form, 0.37), np.random.default_rng(18)
    tables = grid_tables(quantizer, WordScheme(TUPLES, 63, 0, 0, min(2 * form.n_positive + 1, 254), 1, 12, 12))
    for n in (0, 1, 63, 64, 65, 1000):
        codes = rng.integers(0, 2 * form.n_positive + 2, n).astype(np.uint8)
        want, adding = rng.choice(np.array([3, 1e-9, 0, -0.0], np.float32), n), weight is not None
        got, factor = want.copy(), np.float32(weight if adding else 1)
        place_codes(codes, tables.grid, factor, adding, want)
        place_magnitudes(codes, tables.magnitudes, factor, adding, got)
        assert_array_equal(got.view(np.int32), want.view(np.int32))


@pytest.mark.skipif(not (IN_REGISTERS and fast_path()), reason="no machine code here, or forbidden")
@pytest.mark.parametrize("count", [1, 32, 33, 64])
def test_few_levels_are_looked_up_by_bucket(count):
    rng = np.random.default_rng(19)
    levels = rng.standard_normal(count).astype(np.float32)
    for n in (0, 1, 63, 64, 65, 1000):
        buckets, got = rng.integers(0, count, n).astype(np.uint8), rng.standard_normal(n).astype(np.float32)
        want = got + levels[buckets]
        place_few(buckets, levels, True, got)
        assert_array_equal(got, want)
        place_few(buckets, levels, False, got)
        assert_array_equal(got, levels[buckets])


def test_raw_bits_fill_columns():
    packed = np.zeros(16, np.uint8)
    raws = np.zeros(64, np.uint8)
    raws[[0, 8, 32, 63]] = (1, 2, 3, 1)  # columns 0, 0, 0, 7; two bits each
    pack_raws(raws, 2, False, packed)
    assert list(packed[:8]) == [0b1001, 0, 0, 0, 0, 0, 0, 0]
    assert list(packed[8:]) == [0b11, 0, 0, 0, 0, 0, 0, 0b1000000]


def test_a_byte_is_found_wherever_it_is():
    rng = np.random.default_rng(14)
    for size in (0, 1, 63, 64, 65, 200):
        buckets = rng.integers(0, 40, size).astype(np.uint8)
        for start in {0, 1, size // 2, max(size - 1, 0), size}:
            after = np.flatnonzero(buckets[start:] == 7)
            want = start + int(after[0]) if after.size else size
            for fast in {False, fast_path()}:
                assert find_byte(buckets, np.uint8(7), start, fast) == want


@njit
def _take_turns(n_streams, width, state):
    fill_constants(width, state)
    if n_streams == 8:
        decode_eight(np.uint64(state.ctypes.data))
    else:
        decode_four(np.uint64(state.ctypes.data))


@pytest.mark.skipif(not (HAS_VBMI2 and fast_path()), reason="no machine code here, or forbidden")
@pytest.mark.parametrize(("width", "most"), [(6, 4), (8, 3)])
@pytest.mark.parametrize(("n_streams", "n_turns"), [(4, 1), (8, 1), (4, 9), (8, 9)])
def test_turns_find_the_buckets_that_the_bits_say(n_streams, n_turns, width, most):
    rng, none = np.random.default_rng(15), (1 << width) - 1
    data = rng.integers(0, 256, 4096).astype(np.uint8)
    bits = int.from_bytes(data.tobytes(), "little")
    found = [[int(b) for b in rng.integers(0, none, n)] for n in rng.integers(0, most + 1, 1 << 12)]
    lengths = rng.integers(1, 13, len(found))
    packed = [sum(b << 6 + width * j for j, b in enumerate([*some, *[none] * (most - len(some))])) for some in found]
    table = np.array(packed, np.uint32) | lengths.astype(np.uint32) | np.uint32(3 << 30 if width * most < 26 else 0)
    starts, room = np.arange(n_streams) * 430, vector_lookups.TURN_BUCKETS * n_turns
    out, state = np.zeros((n_streams, room), np.uint8), np.zeros(vector_lookups.STATE_SIZE, np.uint64)
    targets = out.ctypes.data + room * np.arange(n_streams)
    state[vector_lookups.PLACE : vector_lookups.PLACE + n_streams] = data.ctypes.data + starts
    state[vector_lookups.WINDOW : vector_lookups.WINDOW + n_streams] = 1 << 63
    state[vector_lookups.TO : vector_lookups.TO + n_streams] = targets
    state[vector_lookups.TABLE], state[vector_lookups.N_TURNS] = table.ctypes.data, n_turns
    _take_turns(n_streams, width, state)
    for i, start in enumerate(starts):
        place, want = 8 * int(start), []
        for _ in range(n_turns * vector_lookups.SLOTS):
            index = bits >> place & 4095
            want += found[index]
            place += int(lengths[index])
        assert int(state[vector_lookups.TO + i]) - targets[i] == len(want)
        assert out[i, : len(want)].tolist() == want
        window = int(state[vector_lookups.WINDOW + i])
        assert 8 * (int(state[vector_lookups.PLACE + i]) - data.ctypes.data) + 64 - window.bit_length() == place


@pytest.mark.skipif(not fast_path(), reason="unchecked access forbidden")
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 1.0])
def test_words_and_their_rare_ones_are_written_alike(share):
    rng, base = np.random.default_rng(14), 21
    lengths = rng.integers(0, 13, base).astype(np.uint64)
    codes = rng.integers(0, 1 << 12, base).astype(np.uint64) & ((np.uint64(1) << lengths) - np.uint64(1))
    table = np.where(lengths > 0, codes << (64 - lengths) % 64, 0).astype(np.uint64) | lengths
    table |= np.where(rng.random(base) < share, np.uint64(RARE_FLAG), np.uint64(0))
    pairs = np.empty(base * base, np.uint64)
    fill_pairs(table, pairs)
    coming = coming_after(np.empty(0, np.float32), np.empty(0, np.float32))
    for n in (*range(20), 500, 501, 502, 503):
        words = rng.integers(0, base, n)
        got = []
        for run in (portable_tuples, encode_tuples, encode_pairs):
            out, rare = np.zeros(2 * n + 8, np.uint8), np.zeros(n + 2, np.int32)
            if run is portable_tuples:
                n_bytes, n_rare = run(words.astype(np.uint16), table, out, rare)
            elif run is encode_tuples:
                n_bytes, n_rare = run(words.astype(np.uint16), 1, table, coming, out, rare)
            else:
                scratch = np.empty(n // 2, np.uint16)
                n_bytes, n_rare = run(words.astype(np.uint8), base, pairs, table, scratch, coming, out, rare)
            got.append((out[:n_bytes].tolist(), rare[:n_rare].tolist()))
        assert got[1] == got[0]
        assert got[2] == got[0]
        assert got[0][1] == np.flatnonzero(table[words] & np.uint64(RARE_FLAG)).tolist()


@njit
def _as_machine_code(state):
    look_up_batches(np.uint64(state.ctypes.data))


@pytest.mark.skipif(not (HAS_BMI2 and fast_path()), reason="no machine code here, or unchecked access forbidden")
def test_the_machine_code_does_what_the_loop_does():
    rng, n_batches, got = np.random.default_rng(13), 50, []
    data = rng.integers(0, 256, 4096).astype(np.uint8)
    table = rng.integers(0, 1 << 48, 1 << 11).astype(np.uint64)
    table |= rng.integers(0, 13, table.size).astype(np.uint64) << np.uint64(48)
    table |= rng.integers(0, 7, table.size).astype(np.uint64) << np.uint64(56)
    for run in (_as_machine_code, look_up_batches_anywhere):
        out, state = np.zeros(4 * 2048, np.uint8), np.zeros(STATE_SIZE, np.uint64)
        state[PLACE : PLACE + 4] = data.ctypes.data + np.arange(4) * 1000
        state[TO : TO + 4] = out.ctypes.data + np.arange(4) * 2048
        state[TABLE], state[INDEX_BITS], state[N_BATCHES] = table.ctypes.data, 11, n_batches
        run(state)
        state[TO : TO + 4] -= np.uint64(out.ctypes.data)
        got.append((out, state[:12]))
    assert_array_equal(got[0][0], got[1][0])
    assert_array_equal(got[0][1], got[1][1])
    assert got[0][1][TO] > 0

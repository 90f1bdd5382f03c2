# mypy: disable-error-code="arg-type, assignment, no-any-return, return-value"
# numba's integers are NumPy's: np.int64 stands where Python has int.
"""Segments of a frame: quantise + residual + encode in one pass over the entries, decode + dequantise + add in another.

A segment is independent of all others. Its entries go to four bitstreams, a quarter each; then come the rare list and
the raw bits. All five lengths stand in the index.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from gradwire_common.codec.kernels import portable, runs, tuples
from gradwire_common.codec.kernels.levels import largest_bucket, place_floats, place_levels, scatter
from gradwire_common.codec.kernels.quantize import (
    BFLOAT16,
    FLOAT4_LEVELS,
    FLOAT32,
    INFINITY_BITS,
    MINIFLOAT,
    UNIFORM,
    Grid,
    buckets_beyond,
    largest_bits,
    quick_beyond,
    quick_float4_buckets,
    quick_uniform_buckets,
    split_symbols,
    subtract_levels,
    subtract_uniform,
    symbols_of,
)
from gradwire_common.codec.kernels.rares import decode_rares, encode_rares, has_rare
from gradwire_common.codec.kernels.raws import pack_raws, unpack_raws

F32 = npt.NDArray[np.float32]
U8 = npt.NDArray[np.uint8]
U16 = npt.NDArray[np.uint16]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

N_STREAMS = 4
INDEX_FIELDS = 5  # bytes of each bitstream, bytes of the rare list
BLOCK = 4096  # entries that are quantised at a time; all that a block needs fits the first-level cache
SLACK = 64  # bytes after every buffer that the fast path writes eight bytes at a time


class Book(NamedTuple):
    """A codebook as the kernels take it; see codebooks.Codebook."""

    is_runs: bool
    size: int
    n_classes: int
    detail: int
    n_coded: int
    max_length: int
    encoding: U64
    decoding: U64
    single: U64
    rare_codes: U32
    rare_lengths: U8
    rare_decoding: I64


@njit(cache=True, nogil=True)
def quarter(n: int, size: int) -> int:
    """Return the entries of the first bitstream of a segment of `n`: a quarter, in whole words."""
    return (n + N_STREAMS * size - 1) // (N_STREAMS * size) * size


@njit(cache=True, nogil=True)
def encode_segments(
    x: F32,
    residual: F32,
    grid: Grid,
    book: Book,
    segment: int,
    fast: bool,
    out: U8,
    index: I64,
) -> int:
    """Encode all of `x` in segments of `segment` entries; fill `residual` unless it is empty.

    `out` has room for `room(...)` bytes a segment. Returns the bytes written, or -1 - i where entry i (or a later one
    in its block) is not finite.
    """
    most = min(segment, x.size)
    n_quarter = quarter(most, book.size)
    scaled, symbols = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.int32)
    buckets = np.zeros(most + SLACK, np.uint8)
    raws = np.zeros((3 if grid.kind == FLOAT32 else 1, most + SLACK if grid.raw_bits > 0 else 0), np.uint8)
    beyond, rare = np.empty(most, np.int32), np.empty(0 if book.is_runs else n_quarter + 4, np.int32)
    words = np.empty(0 if book.is_runs else n_quarter // book.size + 8, np.uint16)
    rare_bits = np.zeros(0, np.uint8)
    is_float4 = grid.kind == MINIFLOAT and grid.raw_bits == 0 and grid.largest == FLOAT4_LEVELS
    quick_float4 = is_float4 and residual.size == 0 and book.n_coded > 2 * FLOAT4_LEVELS
    place = 0
    for number in range(index.shape[0]):
        first = number * segment
        n = min(segment, x.size - first)
        n_beyond = 0
        for start in range(0, n, BLOCK):
            stop = min(start + BLOCK, n)
            entries = x[first + start : first + stop]
            if largest_bits(entries.view(np.uint32)) >= INFINITY_BITS:
                return -1 - (first + start)
            if grid.kind == UNIFORM and grid.raw_bits == 0:
                largest = quick_uniform_buckets(entries, grid, buckets[start:stop])
                if largest >= book.n_coded:
                    n_beyond = quick_beyond(entries, grid, buckets[start:stop], beyond, n_beyond)
                if residual.size > 0:
                    subtract_uniform(entries, grid, residual[first + start : first + stop])
                continue
            if quick_float4:
                quick_float4_buckets(entries, grid, buckets[start:stop])
                continue
            block = symbols[: stop - start]
            symbols_of(entries, grid, scaled[: stop - start], block)
            if split_symbols(block, grid, buckets[start:stop], raws[:, start:stop]) >= book.n_coded:
                n_beyond = buckets_beyond(block, grid, beyond, n_beyond)
            if residual.size > 0:
                subtract_levels(entries, block, grid, scaled[: stop - start], residual[first + start : first + stop])
        n_quarter = quarter(n, book.size)
        used, rare_place = 0, 0
        for stream in range(N_STREAMS):
            start, stop = min(stream * n_quarter, n), min((stream + 1) * n_quarter, n)
            part = buckets[start:stop]
            if book.is_runs:
                if fast:
                    n_bytes, n_used = runs.encode_runs(
                        part, book.n_coded, book.n_classes, book.detail, book.encoding, beyond[used:], out[place:]
                    )
                else:
                    n_bytes, n_used = portable.encode_runs(
                        part, book.n_coded, book.n_classes, book.detail, book.encoding, beyond[used:], out[place:]
                    )
                used += n_used
            else:
                some = words[: (stop - start + book.size - 1) // book.size]
                padded = buckets[start : start + some.size * book.size]
                padded[stop - start :] = np.uint8(0)
                form_tuples(padded, book.size, book.n_coded + 1, some)
                if fast:
                    n_bytes, n_rare = tuples.encode_tuples(some, book.encoding, out[place:], rare)
                else:
                    n_bytes, n_rare = portable.encode_tuples(some, book.encoding, out[place:], rare)
                if n_rare > 0:
                    need = (rare_place >> 3) + n_rare * book.size * 5 + 8
                    if need > rare_bits.size:
                        grown = np.zeros(2 * need, np.uint8)
                        grown[: rare_bits.size] = rare_bits
                        rare_bits = grown
                    rare_place, n_used = encode_rares(
                        padded,
                        book.size,
                        rare,
                        n_rare,
                        beyond[used:],
                        book.rare_codes,
                        book.rare_lengths,
                        rare_bits,
                        rare_place,
                    )
                    used += n_used
            index[number, stream] = n_bytes
            place += n_bytes
        n_bytes = (rare_place + 7) >> 3
        out[place : place + n_bytes] = rare_bits[:n_bytes]
        index[number, N_STREAMS] = n_bytes
        place += n_bytes
        if grid.raw_bits > 0:
            for plane in range(raws.shape[0]):
                place += pack_raws(raws[plane, :n], min(grid.raw_bits, 8), fast, out[place:])
    return place


@njit(cache=True, nogil=True)
def form_tuples(buckets: U8, size: int, base: int, words: U16) -> None:
    """Fill `words` with the numbers whose digits to `base` are `size` successive buckets, the first the highest."""
    if size == 1:
        for i in range(words.size):
            words[i] = np.uint16(buckets[i])
    elif size == 2:
        factor = np.int32(base)
        for i in range(words.size):
            words[i] = np.uint16(np.int32(buckets[2 * i]) * factor + np.int32(buckets[2 * i + 1]))
    elif size == 3:
        factor = np.int32(base)
        for i in range(words.size):
            word = np.int32(buckets[3 * i]) * factor + np.int32(buckets[3 * i + 1])
            words[i] = np.uint16(word * factor + np.int32(buckets[3 * i + 2]))
    elif size == 4:
        factor, square = np.int32(base), np.int32(base * base)
        for i in range(words.size):
            high = np.int32(buckets[4 * i]) * factor + np.int32(buckets[4 * i + 1])
            low = np.int32(buckets[4 * i + 2]) * factor + np.int32(buckets[4 * i + 3])
            words[i] = np.uint16(high * square + low)
    else:
        for i in range(words.size):
            word = 0
            for j in range(size):
                word = word * base + np.int64(buckets[size * i + j])
            words[i] = np.uint16(word)


@njit(cache=True, nogil=True)
def decode_segments(
    data: U8,
    places: I64,
    index: I64,
    segment: int,
    book: Book,
    grid: Grid,
    magnitudes: F32,
    levels: F32,
    weight: np.float32,
    fast: bool,
    adding: bool,
    out: F32,
) -> int:
    """Decode segments into all of `out`, or add `weight` times their levels to it.

    Segment i starts at byte places[i] of `data` and has the lengths index[i]. `levels` holds what an entry becomes or
    adds, by bucket << raw_bits | raw; NaN where the grid has no such level.

    Returns the number of segments; -1 - i where segment i is damaged.
    """
    most = min(segment, out.size)
    n_quarter = quarter(most, book.size)
    buckets = np.empty(most + SLACK, np.uint8)
    raws = np.empty((3 if grid.kind == FLOAT32 else 1, most + SLACK if grid.raw_bits > 0 else 0), np.uint8)
    beyond = np.empty(0, np.int32)
    run_places = np.empty(n_quarter if book.is_runs else 0, np.int32)
    run_buckets = np.empty(n_quarter if book.is_runs else 0, np.int32)
    starts, ends, borders = (
        np.empty(N_STREAMS, np.int64),
        np.empty(N_STREAMS, np.int64),
        np.empty(N_STREAMS + 1, np.int64),
    )
    limit = largest_bucket(grid)
    for number in range(index.shape[0]):
        first = number * segment
        n = min(segment, out.size - first)
        n_quarter = quarter(n, book.size)
        place = places[number]
        for stream in range(N_STREAMS):
            starts[stream] = place
            place += index[number, stream]
            ends[stream] = place
            borders[stream] = min(stream * n_quarter, n)
        borders[N_STREAMS] = n
        part = out[first : first + n]
        if book.is_runs:
            if not adding:
                part[:] = np.float32(0)
            for stream in range(N_STREAMS):
                size = borders[stream + 1] - borders[stream]
                if fast:
                    end, n_listed = runs.decode_runs(
                        data,
                        starts[stream],
                        ends[stream],
                        book.decoding,
                        book.n_coded,
                        limit,
                        size,
                        run_places,
                        run_buckets,
                    )
                else:
                    some = data[starts[stream] : ends[stream]]
                    end, n_listed = portable.decode_runs(
                        some, book.decoding, book.max_length, book.n_coded, limit, size, run_places, run_buckets
                    )
                    end = end + starts[stream] if end >= 0 else end
                if end != ends[stream]:
                    return -1 - number
                there = part[borders[stream] : borders[stream + 1]]
                if not scatter(
                    run_places[:n_listed], run_buckets[:n_listed], grid, magnitudes, levels, weight, adding, there
                ):
                    return -1 - number
            continue
        if fast:
            if not tuples.decode_tuples(data, starts, ends, book.decoding, book.single, book.size, buckets, borders):
                return -1 - number
        else:
            for stream in range(N_STREAMS):
                some = data[starts[stream] : ends[stream]]
                there8 = buckets[borders[stream] : borders[stream + 1]]
                if portable.decode_tuples(some, book.single, book.max_length, book.size, there8) != some.size:
                    return -1 - number
        n_beyond = 0
        n_rare_bytes = index[number, N_STREAMS]
        if n_rare_bytes > 0:
            most_beyond = min(8 * n_rare_bytes, n)
            if beyond.size < most_beyond:
                beyond = np.empty(most_beyond, np.int32)
            rare_place = 0
            for stream in range(N_STREAMS):
                rare_place, n_beyond = decode_rares(
                    data[place : place + n_rare_bytes],
                    rare_place,
                    book.size,
                    book.rare_decoding,
                    book.n_coded,
                    limit,
                    buckets[borders[stream] : borders[stream + 1]],
                    beyond,
                    n_beyond,
                )
                if rare_place < 0:
                    return -1 - number
            if (rare_place + 7) >> 3 != n_rare_bytes:
                return -1 - number
            place += n_rare_bytes
        elif has_rare(buckets[:n]):
            return -1 - number
        if grid.raw_bits > 0:
            for plane in range(raws.shape[0]):
                place += unpack_raws(data[place:], min(grid.raw_bits, 8), fast, raws[plane, :n])
        if grid.kind == FLOAT32 or grid.kind == BFLOAT16:
            if not place_floats(buckets[:n], raws[:, :n], grid, beyond, weight, adding, part):
                return -1 - number
        elif not place_levels(
            buckets[:n],
            raws[0, : n if grid.raw_bits > 0 else 0],
            grid,
            magnitudes,
            levels,
            beyond,
            n_beyond,
            weight,
            adding,
            part,
        ):
            return -1 - number
    return index.shape[0]

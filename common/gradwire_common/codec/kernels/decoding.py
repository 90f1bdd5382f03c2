# mypy: disable-error-code="arg-type, assignment, no-any-return, return-value"
# numba's integers are NumPy's: np.int64 stands where Python has int.
"""The bytes of segments to levels: decode, dequantise and store or add, a segment at a time through the caches."""

import numpy as np
import numpy.typing as npt
from numba import njit

from gradwire_common.codec.kernels import portable, runs, tuples
from gradwire_common.codec.kernels.floats import place_floats
from gradwire_common.codec.kernels.grids import BFLOAT16, FLOAT32, Grid
from gradwire_common.codec.kernels.layout import N_STREAMS, Book, Work, quarter
from gradwire_common.codec.kernels.levels import largest_bucket, place_levels, restore_beyond, scatter
from gradwire_common.codec.kernels.rares import decode_rares
from gradwire_common.codec.kernels.raws import raw_bytes, unpack_raws

F32 = npt.NDArray[np.float32]
U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]


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
    work: Work,
    out: F32,
) -> int:
    """Decode segments into all of `out`, or add `weight` times their levels to it.

    Segment i starts at byte places[i] of `data` and has the lengths index[i]. `levels` holds what an entry becomes or
    adds, by bucket << raw_bits | raw; NaN where the grid has no such level.

    Returns the number of segments; -1 - i where segment i is damaged.
    """
    borders = np.empty(N_STREAMS + 1, np.int64)
    for number in range(index.shape[0]):
        first = number * segment
        n = min(segment, out.size - first)
        part, place, lengths = out[first : first + n], places[number], index[number]
        if book.is_runs:
            if not adding:
                part[:] = np.float32(0)
            for stream in range(N_STREAMS):
                start, stop = min(stream * quarter(n, 1), n), min((stream + 1) * quarter(n, 1), n)
                n_listed = decode_run_stream(data, place, lengths[stream], book, grid, fast, stop - start, work)
                listed, ends = work.rare[: max(n_listed, 0)], work.ends
                if n_listed < 0 or not scatter(
                    listed, ends, grid, magnitudes, levels, weight, adding, part[start:stop]
                ):
                    return -1 - number
                place += lengths[stream]
            continue
        n_beyond = decode_buckets(data, place, lengths, n, grid, book, fast, work, work.buckets, borders)
        if n_beyond < 0:
            return -1 - number
        buckets, beyond = work.buckets[:n], work.beyond[:n_beyond]
        packed = data[place + lengths.sum() :][: raw_bytes(n, grid.raw_bits)]
        if grid.kind == FLOAT32 or grid.kind == BFLOAT16:
            restore_beyond(buckets, beyond, work.places)
            place_floats(buckets, packed, grid, weight, adding, part)
        else:
            raws = work.raws[0, : n if grid.raw_bits > 0 else 0]
            if grid.raw_bits > 0:
                unpack_raws(packed, grid.raw_bits, fast, raws)
            if not place_levels(buckets, raws, grid, magnitudes, levels, beyond, work.places, weight, adding, part):
                return -1 - number
    return index.shape[0]


@njit(cache=True, nogil=True)
def decode_buckets(
    data: U8,
    place: int,
    lengths: I64,
    n: int,
    grid: Grid,
    book: Book,
    fast: bool,
    work: Work,
    buckets: U8,
    borders: I64,
) -> int:
    """Read the `n` buckets of tuples that start at byte `place` into `buckets`.

    `borders` is scratch of N_STREAMS + 1. Returns how many buckets lie beyond the coded ones, in `work`; -1 where the
    segment is damaged.
    """
    starts, ends = np.empty(N_STREAMS, np.int64), np.empty(N_STREAMS, np.int64)
    for stream in range(N_STREAMS):
        starts[stream] = place
        place += lengths[stream]
        ends[stream] = place
        borders[stream] = min(stream * quarter(n, book.size), n)
    borders[N_STREAMS] = n
    if fast:
        if not tuples.decode_tuples(data, starts, ends, book.decoding, book.single, book.size, buckets, borders):
            return -1
    else:
        for stream in range(N_STREAMS):
            some, there = data[starts[stream] : ends[stream]], buckets[borders[stream] : borders[stream + 1]]
            if portable.decode_tuples(some, book.single, book.max_length, book.size, there) != some.size:
                return -1
    rare_list, rare, limit = data[place : place + lengths[N_STREAMS]], book.rare_decoding, largest_bucket(grid)
    n_read, n_beyond = decode_rares(
        rare_list, book.size, rare, book.n_coded, limit, fast, borders, buckets, work.beyond, work.places
    )
    if n_read != rare_list.size:
        return -1
    return n_beyond


@njit(cache=True, nogil=True)
def decode_run_stream(data: U8, place: int, length: int, book: Book, grid: Grid, fast: bool, n: int, work: Work) -> int:
    """List places and buckets of those of `n` entries that are not zero, in `work`; return how many, -1 if damaged."""
    some = data[place : place + length]
    limit = largest_bucket(grid)
    end, n_listed = runs.decode_runs(some, book.decoding, book.n_coded, limit, n, fast, work.rare, work.ends)
    return n_listed if end == some.size else -1

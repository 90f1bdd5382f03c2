"""The bytes of segments to levels: decode, dequantise and store or add, a segment at a time through the caches."""

import numpy as np
import numpy.typing as npt
from numba import njit

from gradwire_common.codec.kernels import portable
from gradwire_common.codec.kernels.grids import BFLOAT16, FLOAT32, Grid
from gradwire_common.codec.kernels.layout import N_STREAMS, SIDE_BY_SIDE, Book, Work, fill_borders
from gradwire_common.codec.kernels.levels.levels import largest_bucket, place_levels, restore_beyond, scatter
from gradwire_common.codec.kernels.native.processor import HAS_VBMI2
from gradwire_common.codec.kernels.quantizing.floats import place_floats
from gradwire_common.codec.kernels.raws import raw_bytes
from gradwire_common.codec.kernels.words import runs
from gradwire_common.codec.kernels.words.rares import decode_rares
from gradwire_common.codec.kernels.words.side_by_side import decode_side_by_side
from gradwire_common.codec.kernels.words.tuples import decode_tuples

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
    if book.is_runs:
        return _decode_run_segments(
            data, places, index, segment, book, grid, magnitudes, levels, weight, fast, adding, work, out
        )
    for first in range(0, index.shape[0], SIDE_BY_SIDE):
        stop = min(first + SIDE_BY_SIDE, index.shape[0])
        n = min(stop * segment, out.size) - first * segment
        n_right = decode_words(data, places[first:stop], index[first:stop], segment, book, fast, work.buckets[:n])
        if n_right < stop - first:
            return -1 - first - n_right
        for number in range(first, stop):
            part = out[number * segment : (number + 1) * segment]
            n, start = part.size, (number - first) * segment
            buckets = work.buckets[start : start + n]
            place, lengths = places[number], index[number]
            n_beyond = decode_rare_words(data, place, lengths, grid, book, fast, work, buckets)
            if n_beyond < 0:
                return -1 - number
            beyond, packed = work.beyond[:n_beyond], data[place + lengths.sum() :][: raw_bytes(n, grid.raw_bits)]
            if grid.kind == FLOAT32 or grid.kind == BFLOAT16:
                restore_beyond(buckets, beyond, work.places)
                place_floats(buckets, packed, grid, weight, adding, part)
            else:
                existing = place_levels(
                    buckets,
                    packed,
                    grid,
                    magnitudes,
                    levels,
                    beyond,
                    work.places,
                    weight,
                    fast,
                    adding,
                    work.raws[0],
                    part,
                )
                if not existing:
                    return -1 - number
    return index.shape[0]


@njit(cache=True, nogil=True)
def decode_words(data: U8, places: I64, index: I64, segment: int, book: Book, fast: bool, buckets: U8) -> int:
    """Read the words of one or two segments into `buckets`, those of rare ones as the book's `rare_byte`.

    Segment i starts at byte places[i] and has the lengths index[i]; all but the last have `segment` entries. Returns
    how many segments' bitstreams end where they should, before the first that does not.
    """
    n_segments = index.shape[0]
    starts, ends = np.empty(n_segments * N_STREAMS, np.int64), np.empty(n_segments * N_STREAMS, np.int64)
    borders = np.empty(n_segments * N_STREAMS + 1, np.int64)
    for number in range(n_segments):
        place, first = places[number], number * N_STREAMS
        fill_borders(min(segment, buckets.size - number * segment), book.size, borders[first:])
        for stream in range(first, first + N_STREAMS):
            starts[stream] = place
            place += index[number, stream - first]
            ends[stream] = place
        borders[first : first + N_STREAMS + 1] += number * segment
    if fast and HAS_VBMI2 and book.width > 0:
        return decode_side_by_side(data, starts, ends, book, buckets, borders) // N_STREAMS
    for number in range(n_segments):
        first, last = number * N_STREAMS, (number + 1) * N_STREAMS
        if fast:
            between = borders[first : last + 1]
            some, to = starts[first:last], ends[first:last]
            if not decode_tuples(data, some, to, book.decoding, book.single, buckets, between):
                return number
            continue
        for stream in range(first, last):
            some, there = data[starts[stream] : ends[stream]], buckets[borders[stream] : borders[stream + 1]]
            if portable.decode_tuples(some, book.single, book.max_length, there) != some.size:
                return number
    return n_segments


@njit(cache=True, nogil=True)
def decode_rare_words(
    data: U8, place: int, lengths: I64, grid: Grid, book: Book, fast: bool, work: Work, buckets: U8
) -> int:
    """Read the rare list of the segment at byte `place`, and put its buckets where their words are.

    Returns how many buckets lie beyond the coded ones, in `work`; -1 where the list is damaged.
    """
    borders, limit = np.empty(N_STREAMS + 1, np.int64), largest_bucket(grid)
    fill_borders(buckets.size, book.size, borders)
    place += lengths[:N_STREAMS].sum()
    rare_list, rare, marker = data[place : place + lengths[N_STREAMS]], book.rare_decoding, np.uint8(book.rare_byte)
    n_read, n_beyond = decode_rares(
        rare_list, book.size, rare, book.n_coded, limit, marker, fast, borders, buckets, work.beyond, work.places
    )
    if n_read != rare_list.size:
        return -1
    return n_beyond


@njit(cache=True, nogil=True)
def _decode_run_segments(
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
    limit, together = largest_bucket(grid), fast and not np.isnan(levels).any()  # where all buckets have levels
    ends, borders = np.empty(N_STREAMS, np.int64), np.empty(N_STREAMS + 1, np.int64)
    bits, entries = np.empty(N_STREAMS, np.int64), np.empty(N_STREAMS, np.int64)
    for number in range(index.shape[0]):
        part, place = out[number * segment : (number + 1) * segment], places[number]
        fill_borders(part.size, 1, borders)
        for stream in range(N_STREAMS):
            bits[stream], entries[stream] = 8 * place, borders[stream]
            place += index[number, stream]
            ends[stream] = place
        if not adding:
            part[:] = np.float32(0)
        if together:
            longest, listed, beyond = book.n_classes << book.detail, work.rare, work.ends
            n = runs.decode_runs_together(
                data, ends, book.decoding, longest, levels, adding, bits, entries, part, borders, listed, beyond
            )
            if n < 0 or not scatter(listed[:n], beyond, grid, magnitudes, levels, weight, adding, part):
                return -1 - number
        for stream in range(N_STREAMS):
            some, rest = data[: ends[stream]], borders[stream + 1]
            bit, n = runs.decode_runs(
                some, bits[stream], entries[stream], book.decoding, book.n_coded, limit, rest, work.rare, work.ends
            )
            if (bit + 7) >> 3 != ends[stream]:
                return -1 - number
            if not scatter(work.rare[:n], work.ends, grid, magnitudes, levels, weight, adding, part):
                return -1 - number
    return index.shape[0]

"""Bytes in, bytes out, with the codec's own kernels: what its coder does between quantising and levels.

A byte is the symbol that a bucket and its raw bits make together; splitting it and joining it again are in the time.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from gradwire_common.codec.kernels.decoding import decode_rare_words, decode_words
from gradwire_common.codec.kernels.encoding import BLOCK, encode_stream, end_segment
from gradwire_common.codec.kernels.grids import Grid
from gradwire_common.codec.kernels.layout import N_STREAMS, SIDE_BY_SIDE, Book, Work, coming_after, quarter
from gradwire_common.codec.kernels.levels.levels import largest_bucket, restore_beyond
from gradwire_common.codec.kernels.quantizing.codes import join_packed, split_codes
from gradwire_common.codec.kernels.quantizing.quantize import list_beyond
from gradwire_common.codec.kernels.words.runs import decode_runs

U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]


@njit(nogil=True)
def split(symbols: U8, grid: Grid, buckets: U8, raws: U8, beyond: I32, n_beyond: int) -> int:
    """Split bytes in buckets and raw bits; list buckets that are not coded. Returns how many are listed."""
    if grid.raw_bits > 0:
        for i in range(symbols.size):
            raws[i] = symbols[i]
        largest = split_codes(raws, grid, buckets)
    else:
        largest = np.uint8(0)
        for i in range(symbols.size):
            largest = max(largest, symbols[i])
            buckets[i] = symbols[i]
    return n_beyond if largest < grid.n_coded else list_beyond(buckets, grid.n_coded, beyond, n_beyond)


@njit(nogil=True)
def encode_symbols(symbols: U8, grid: Grid, book: Book, segment: int, work: Work, out: U8, index: I64) -> int:
    """Encode all of `symbols` as `encode_segments` does what it has quantised. Returns the bytes written."""
    place = 0
    for number in range(index.shape[0]):
        part, rare_place = symbols[number * segment : (number + 1) * segment], 0
        n_quarter = quarter(part.size, book.size)
        for stream in range(N_STREAMS):
            first, last = min(stream * n_quarter, part.size), min((stream + 1) * n_quarter, part.size)
            n_beyond = 0
            for start in range(first, last, BLOCK):
                stop = min(start + BLOCK, last)
                buckets, raws = work.buckets[start - first : stop - first], work.raws[0, start:stop]
                n_beyond = split(part[start:stop], grid, buckets, raws, work.beyond, n_beyond)
            coming = coming_after(part[first:last], part[:0])
            n_bytes, rare_place = encode_stream(last - first, book, True, work, rare_place, coming, out[place:])
            index[number, stream] = n_bytes
            place += n_bytes
        place += end_segment(part.size, grid, True, work, rare_place, out[place:], index[number])
    return place


@njit(nogil=True)
def decode_symbols(
    data: U8, places: I64, grid: Grid, book: Book, segment: int, work: Work, index: I64, symbols: U8
) -> bool:
    """Undo `encode_symbols`, segment i of which starts at places[i]; return whether all went well."""
    if book.is_runs:
        return decode_run_symbols(data, places, grid, book, segment, work, index, symbols)
    for first in range(0, index.shape[0], SIDE_BY_SIDE):
        stop = min(first + SIDE_BY_SIDE, index.shape[0])
        some = symbols[first * segment : stop * segment]
        if decode_words(data, places[first:stop], index[first:stop], segment, book, True, some) < stop - first:
            return False
        for number in range(first, stop):
            start = (number - first) * segment
            part, place, lengths = some[start : start + segment], places[number], index[number]
            n_beyond = decode_rare_words(data, place, lengths, grid, book, True, work, part)
            if n_beyond < 0:
                return False
            restore_beyond(part, work.beyond[:n_beyond], work.places)
            packed = data[place + lengths.sum() :]
            if grid.raw_bits > 0 and not join_packed(part, packed, grid, True, work.raws[0]):
                return False
    return True


@njit(nogil=True)
def decode_run_symbols(
    data: U8, places: I64, grid: Grid, book: Book, segment: int, work: Work, index: I64, symbols: U8
) -> bool:
    """Do the same with runs."""
    for number in range(index.shape[0]):
        part, place, lengths = symbols[number * segment : (number + 1) * segment], places[number], index[number]
        n = part.size
        part[:] = np.uint8(0)
        for stream in range(N_STREAMS):
            start, stop = min(stream * quarter(n, 1), n), min((stream + 1) * quarter(n, 1), n)
            some, limit = data[: place + lengths[stream]], largest_bucket(grid)
            bit, n_listed = decode_runs(
                some, 8 * place, 0, book.decoding, book.n_coded, limit, stop - start, work.rare, work.ends
            )
            for i in range(n_listed):
                part[start + work.rare[i]] = np.uint8(work.ends[i])
            place += lengths[stream]
            if (bit + 7) >> 3 != place:
                return False
    return True

"""Bytes in, bytes out, with the codec's own kernels: what its coder does between quantising and levels.

A byte is the symbol that a bucket and its raw bits make together; splitting it and joining it again are in the time.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from gradwire_common.codec.kernels.decoding import decode_rare_words, decode_run_stream, decode_words
from gradwire_common.codec.kernels.encoding import BLOCK, encode_buckets
from gradwire_common.codec.kernels.grids import Grid
from gradwire_common.codec.kernels.layout import N_STREAMS, SIDE_BY_SIDE, Book, Work, quarter
from gradwire_common.codec.kernels.raws import unpack_raws
from gradwire_common.codec.kernels.scanning import next_place

U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]


@njit(nogil=True)
def split(symbols: U8, grid: Grid, buckets: U8, raws: U8, beyond: I32, n_beyond: int) -> int:
    """Split bytes in buckets and raw bits; list buckets that are not coded. Returns how many are listed."""
    origin, modulus, last = np.uint8(grid.origin), np.uint8(min(grid.modulus, 255)), np.uint8(grid.n_coded)
    if grid.raw_bits == 0:
        for i in range(symbols.size):
            buckets[i] = min(symbols[i], last)
    elif grid.raw_bits == 2:  # a constant shift stays within bytes
        split_raws(symbols, 2, origin, modulus, last, buckets, raws)
    elif grid.raw_bits == 3:
        split_raws(symbols, 3, origin, modulus, last, buckets, raws)
    else:
        split_raws(symbols, grid.raw_bits, origin, modulus, last, buckets, raws)
    i = next_place(buckets, last, 0)
    while i < buckets.size:
        bucket_there = np.int64(symbols[i]) >> grid.raw_bits
        if grid.raw_bits > 0:
            bucket_there = (bucket_there - grid.origin) % grid.modulus
        beyond[n_beyond] = bucket_there
        n_beyond += 1
        i = next_place(buckets, last, i + 1)
    return n_beyond


@njit(nogil=True, inline="always")
def split_raws(symbols: U8, raw_bits: int, origin: int, modulus: int, last: int, buckets: U8, raws: U8) -> None:
    """Split bytes in coded buckets, `last` for all others, and raw bits."""
    mask = np.uint8((1 << raw_bits) - 1)
    for i in range(symbols.size):
        raws[i] = symbols[i] & mask
    for i in range(symbols.size):
        bucket = np.uint8(symbols[i] >> raw_bits)
        wrapped = np.uint8(bucket + modulus) if bucket < origin else bucket
        buckets[i] = min(np.uint8(wrapped - origin), last)


@njit(nogil=True)
def join(buckets: U8, raws: U8, grid: Grid, beyond: I32, places: I32, symbols: U8) -> None:
    """Undo `split` where there are raw bits; without them `symbols` are `buckets`, and only those beyond are mended."""
    origin, modulus = np.uint8(grid.origin), np.uint8(min(grid.modulus, 255))
    if grid.raw_bits == 2:  # a constant shift stays within bytes
        join_raws(buckets, raws, 2, origin, modulus, symbols)
    elif grid.raw_bits == 3:
        join_raws(buckets, raws, 3, origin, modulus, symbols)
    elif grid.raw_bits > 0:
        join_raws(buckets, raws, grid.raw_bits, origin, modulus, symbols)
    for used in range(beyond.size):
        i = places[used]
        bucket_there = np.int64(beyond[used])
        if grid.raw_bits > 0:
            bucket_there = (bucket_there + grid.origin) % grid.modulus << grid.raw_bits | np.int64(raws[i])
        symbols[i] = np.uint8(bucket_there)


@njit(nogil=True, inline="always")
def join_raws(buckets: U8, raws: U8, raw_bits: int, origin: int, modulus: int, symbols: U8) -> None:
    """Join coded buckets and raw bits."""
    for i in range(symbols.size):
        bucket = np.uint8(buckets[i] + origin)
        wrapped = np.uint8(bucket - modulus)
        symbols[i] = np.uint8(min(bucket, wrapped) << raw_bits) | raws[i]  # below zero is large


@njit(nogil=True)
def encode_symbols(symbols: U8, grid: Grid, book: Book, segment: int, work: Work, out: U8, index: I64) -> int:
    """Encode all of `symbols` as `encode_segments` does what it has quantised. Returns the bytes written."""
    place = 0
    for number in range(index.shape[0]):
        part = symbols[number * segment : (number + 1) * segment]
        n_beyond = 0
        for start in range(0, part.size, BLOCK):
            some = part[start : start + BLOCK]
            stop = start + some.size
            n_beyond = split(some, grid, work.buckets[start:stop], work.raws[0, start:stop], work.beyond, n_beyond)
        place += encode_buckets(part.size, grid, book, True, work, out[place:], index[number])
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
        buckets = work.buckets[: some.size] if grid.raw_bits > 0 else some
        if decode_words(data, places[first:stop], index[first:stop], segment, book, True, work, buckets) < stop - first:
            return False
        for number in range(first, stop):
            start = (number - first) * segment
            part, there = some[start : start + segment], buckets[start : start + segment]
            place, lengths = places[number], index[number]
            n_beyond = decode_rare_words(data, place, lengths, grid, book, True, work, there)
            if n_beyond < 0:
                return False
            raws = work.raws[0, : part.size if grid.raw_bits > 0 else 0]
            if grid.raw_bits > 0:
                unpack_raws(data[place + lengths.sum() :], grid.raw_bits, True, raws)
            join(there, raws, grid, work.beyond[:n_beyond], work.places, part)
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
            n_listed = decode_run_stream(data, place, lengths[stream], book, grid, True, stop - start, work)
            for i in range(n_listed):
                part[start + work.rare[i]] = np.uint8(work.ends[i])
            place += lengths[stream]
            if n_listed < 0:
                return False
    return True

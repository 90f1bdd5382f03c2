"""Bytes in, bytes out, with the codec's own kernels: what its coder does between quantising and levels.

A byte is the symbol that a bucket and its raw bits make together; splitting it and joining it again are in the time.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from gradwire_common.codec.kernels import runs, tuples
from gradwire_common.codec.kernels.levels import largest_bucket
from gradwire_common.codec.kernels.quantize import Grid
from gradwire_common.codec.kernels.rares import decode_rares, encode_rares
from gradwire_common.codec.kernels.raws import pack_raws, unpack_raws
from gradwire_common.codec.kernels.segments import BLOCK, N_STREAMS, SLACK, Book, form_tuples, quarter

U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]


@njit(nogil=True)
def split(symbols: U8, grid: Grid, buckets: U8, raws: U8, beyond: I32, n_beyond: int) -> int:
    """Split bytes in buckets and raw bits; list buckets that are not coded. Returns how many are listed."""
    shift, mask = np.uint8(grid.raw_bits), np.uint8((1 << grid.raw_bits) - 1)
    origin, modulus, last = np.uint8(grid.origin), np.uint8(min(grid.modulus, 255)), np.uint8(grid.n_coded)
    largest = np.uint8(0)
    if grid.raw_bits == 0:
        for i in range(symbols.size):
            largest = max(largest, symbols[i])
            buckets[i] = min(symbols[i], last)
    else:
        for i in range(symbols.size):
            bucket = np.uint8(symbols[i] >> shift)
            wrapped = np.uint8(bucket + modulus) if bucket < origin else bucket
            bucket = np.uint8(wrapped - origin)
            largest = max(largest, bucket)
            buckets[i] = min(bucket, last)
            raws[i] = symbols[i] & mask
    if largest >= last:
        for i in range(symbols.size):
            bucket_there = np.int64(symbols[i]) >> grid.raw_bits
            if grid.raw_bits > 0:
                bucket_there = (bucket_there - grid.origin) % grid.modulus
            if bucket_there >= grid.n_coded:
                beyond[n_beyond] = bucket_there
                n_beyond += 1
    return n_beyond


@njit(nogil=True)
def join(buckets: U8, raws: U8, grid: Grid, beyond: I32, symbols: U8) -> None:
    """Undo `split`."""
    shift = np.uint8(grid.raw_bits)
    origin, modulus = np.uint8(grid.origin), np.uint8(min(grid.modulus, 255))
    largest = np.uint8(0)
    if grid.raw_bits == 0:
        for i in range(symbols.size):
            symbols[i] = buckets[i]
            largest = max(largest, buckets[i])
    else:
        for i in range(symbols.size):
            bucket = np.uint8(buckets[i] + origin)
            bucket = np.uint8(bucket - modulus) if bucket >= modulus else bucket
            symbols[i] = np.uint8(bucket << shift) | raws[i]
            largest = max(largest, buckets[i])
    used = 0
    if largest >= grid.n_coded:
        for i in range(symbols.size):
            if buckets[i] >= grid.n_coded:
                bucket_there = np.int64(beyond[used])
                if grid.raw_bits > 0:
                    bucket_there = (bucket_there + grid.origin) % grid.modulus << grid.raw_bits | np.int64(raws[i])
                symbols[i] = np.uint8(bucket_there)
                used += 1


@njit(nogil=True)
def encode_symbols(symbols: U8, grid: Grid, book: Book, segment: int, out: U8, index: I64) -> int:
    """Encode all of `symbols` as `segments.encode_segments` does what it has quantised. Returns the bytes written."""
    most = min(segment, symbols.size)
    n_quarter = quarter(most, book.size)
    buckets, raws = np.zeros(most + SLACK, np.uint8), np.zeros(most + SLACK, np.uint8)
    beyond, rare = np.empty(most, np.int32), np.empty(n_quarter + 4, np.int32)
    words = np.empty(n_quarter // book.size + 8, np.uint16)
    rare_bits = np.zeros(5 * most + SLACK, np.uint8)
    place = 0
    for number in range(index.shape[0]):
        first = number * segment
        n = min(segment, symbols.size - first)
        n_beyond = 0
        for start in range(0, n, BLOCK):
            stop = min(start + BLOCK, n)
            part = symbols[first + start : first + stop]
            n_beyond = split(part, grid, buckets[start:stop], raws[start:stop], beyond, n_beyond)
        n_quarter = quarter(n, book.size)
        used, rare_place = 0, 0
        for stream in range(N_STREAMS):
            start, stop = min(stream * n_quarter, n), min((stream + 1) * n_quarter, n)
            if book.is_runs:
                n_bytes, n_used = runs.encode_runs(
                    buckets[start:stop],
                    book.n_coded,
                    book.n_classes,
                    book.detail,
                    book.encoding,
                    beyond[used:],
                    out[place:],
                )
                used += n_used
            else:
                some = words[: (stop - start + book.size - 1) // book.size]
                padded = buckets[start : start + some.size * book.size]
                padded[stop - start :] = np.uint8(0)
                form_tuples(padded, book.size, book.n_coded + 1, some)
                n_bytes, n_rare = tuples.encode_tuples(some, book.encoding, out[place:], rare)
                if n_rare > 0:
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
        rare_bits[:n_bytes] = np.uint8(0)
        index[number, N_STREAMS] = n_bytes
        place += n_bytes
        if grid.raw_bits > 0:
            place += pack_raws(raws[:n], grid.raw_bits, True, out[place:])
    return place


@njit(nogil=True)
def decode_symbols(data: U8, grid: Grid, book: Book, segment: int, index: I64, symbols: U8) -> bool:
    """Undo `encode_symbols`; return whether all went well."""
    most = min(segment, symbols.size)
    n_quarter = quarter(most, book.size)
    buckets, raws = np.empty(most + SLACK, np.uint8), np.empty(most + SLACK, np.uint8)
    beyond = np.empty(most, np.int32)
    run_places, run_buckets = np.empty(n_quarter, np.int32), np.empty(n_quarter, np.int32)
    starts, ends = np.empty(N_STREAMS, np.int64), np.empty(N_STREAMS, np.int64)
    borders = np.empty(N_STREAMS + 1, np.int64)
    limit, place = largest_bucket(grid), 0
    for number in range(index.shape[0]):
        first = number * segment
        n = min(segment, symbols.size - first)
        part = symbols[first : first + n]
        n_quarter = quarter(n, book.size)
        for stream in range(N_STREAMS):
            starts[stream] = place
            place += index[number, stream]
            ends[stream] = place
            borders[stream] = min(stream * n_quarter, n)
        borders[N_STREAMS] = n
        if book.is_runs:
            part[:] = np.uint8(0)
            for stream in range(N_STREAMS):
                end, n_listed = runs.decode_runs(
                    data,
                    starts[stream],
                    ends[stream],
                    book.decoding,
                    book.n_coded,
                    limit,
                    borders[stream + 1] - borders[stream],
                    run_places,
                    run_buckets,
                )
                if end != ends[stream]:
                    return False
                there = part[borders[stream] : borders[stream + 1]]
                for i in range(n_listed):
                    there[run_places[i]] = np.uint8(run_buckets[i])
            continue
        if not tuples.decode_tuples(data, starts, ends, book.decoding, book.single, book.size, buckets, borders):
            return False
        n_beyond, rare_place, n_rare_bytes = 0, 0, index[number, N_STREAMS]
        if n_rare_bytes > 0:
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
                    return False
            place += n_rare_bytes
        if grid.raw_bits > 0:
            place += unpack_raws(data[place:], grid.raw_bits, True, raws[:n])
        join(buckets[:n], raws[:n], grid, beyond, part)
    return True

# mypy: disable-error-code="arg-type, assignment, no-any-return, return-value"
# numba's integers are NumPy's: np.int64 stands where Python has int.
"""Entries to the bytes of segments: quantise, residual and encode in one pass, a block and a segment at a time."""

import numpy as np
import numpy.typing as npt
from numba import njit

from gradwire_common.codec.kernels import portable, runs
from gradwire_common.codec.kernels.grids import FLOAT32, Grid
from gradwire_common.codec.kernels.layout import N_STREAMS, Book, Work, quarter
from gradwire_common.codec.kernels.quantize import quantize_block
from gradwire_common.codec.kernels.rares import encode_rares
from gradwire_common.codec.kernels.raws import pack_raws
from gradwire_common.codec.kernels.tuple_encoding import encode_pairs, encode_tuples, form_tuples

F32 = npt.NDArray[np.float32]
I32 = npt.NDArray[np.int32]
U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

BLOCK = 4096  # entries that are quantised at a time; all that a block needs fits the first-level cache


@njit(cache=True, nogil=True)
def encode_segments(
    x: F32, residual: F32, grid: Grid, book: Book, segment: int, fast: bool, work: Work, out: U8, index: I64
) -> int:
    """Encode all of `x` in segments of `segment` entries; fill `residual` unless it is empty.

    Returns the bytes written, or -1 - i where entry i (or a later one in its block) is not finite.
    """
    held, symbols = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.int32)
    in_place, place = x.ctypes.data == residual.ctypes.data, 0
    for number in range(index.shape[0]):
        first = number * segment
        n = min(segment, x.size - first)
        n_beyond = 0
        for start in range(0, n, BLOCK):
            stop = min(start + BLOCK, n)
            some = x[first + start : first + stop]
            if in_place:  # compilers make no vectors where a residual might lie over entries not yet read
                some = held[: stop - start]
                some[:] = x[first + start : first + stop]
            left = residual[first + start : first + stop] if residual.size > 0 else residual
            n_beyond = quantize_block(
                some,
                grid,
                left,
                work.buckets[start:stop],
                work.raws[:, start:stop],
                work.beyond,
                n_beyond,
                symbols,
                fast,
            )
            if n_beyond < 0:
                return -1 - (first + start)
        place += encode_buckets(n, grid, book, fast, work, out[place:], index[number])
    return place


@njit(cache=True, nogil=True)
def encode_buckets(n: int, grid: Grid, book: Book, fast: bool, work: Work, out: U8, lengths: I64) -> int:
    """Write the segment whose `n` buckets, raw bits and buckets beyond are in `work`; return its bytes.

    Fills `lengths` with the bytes of each bitstream and of the rare list.
    """
    n_quarter = quarter(n, book.size)
    place, used, rare_place = 0, 0, 0
    for stream in range(N_STREAMS):
        start, stop = min(stream * n_quarter, n), min((stream + 1) * n_quarter, n)
        beyond = work.beyond[used:]
        if book.is_runs:
            part, at = work.buckets[start:stop], out[place:]
            if fast:
                n_bytes, n_used = runs.encode_runs(
                    part, book.n_coded, book.n_classes, book.detail, book.encoding, beyond, at
                )
            else:
                n_bytes, n_used = portable.encode_runs(
                    part, book.n_coded, book.n_classes, book.detail, book.encoding, beyond, at
                )
            used += n_used
        else:
            n_words = (stop - start + book.size - 1) // book.size
            padded = work.buckets[start : start + n_words * book.size]
            padded[stop - start :] = np.uint8(0)
            n_bytes, n_rare = encode_words(padded, book, fast, work, out[place:])
            if n_rare > 0:
                rare_place, n_used = list_rares(padded, n_rare, beyond, book, fast, work, rare_place)
                used += n_used
        lengths[stream] = n_bytes
        place += n_bytes
    n_bytes = (rare_place + 7) >> 3
    lengths[N_STREAMS] = n_bytes
    out[place : place + n_bytes] = work.rare_bits[:n_bytes]
    place += n_bytes
    if grid.raw_bits > 0:
        for plane in range(3 if grid.kind == FLOAT32 else 1):
            place += pack_raws(work.raws[plane, :n], min(grid.raw_bits, 8), fast, out[place:])
    return place


@njit(cache=True, nogil=True)
def encode_words(buckets: U8, book: Book, fast: bool, work: Work, out: U8) -> tuple[int, int]:
    """Write a bitstream of whole words; list the rare ones in `work`. Returns its bytes and how many are rare."""
    if fast and book.pairs.size > 0:
        return encode_pairs(buckets, book.n_coded + 1, book.pairs, book.encoding, work.words, out, work.rare)
    words = work.words[: buckets.size // book.size]
    form_tuples(buckets, book.size, book.n_coded + 1, words)
    if fast:
        return encode_tuples(words, book.encoding, out, work.rare)
    return portable.encode_tuples(words, book.encoding, out, work.rare)


@njit(cache=True, nogil=True)
def list_rares(
    buckets: U8, n_rare: int, beyond: I32, book: Book, fast: bool, work: Work, place: int
) -> tuple[int, int]:
    """Write the words that `encode_words` found rare at bit `place` of the rare list; as rares.encode_rares."""
    rare, codes, lengths = work.rare[:n_rare], book.rare_codes, book.rare_lengths
    if fast:
        return encode_rares(buckets, book.size, rare, beyond, codes, lengths, work.rare_bits, place)
    return portable.encode_rares(buckets, book.size, rare, beyond, codes, lengths, work.rare_bits, place)

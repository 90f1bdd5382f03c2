"""Entries to the bytes of segments: quantise, residual and encode in one pass, a block and a segment at a time."""

import numpy as np
import numpy.typing as npt
from numba import njit

from gradwire_common.codec.kernels import portable
from gradwire_common.codec.kernels.grids import FLOAT32, Grid
from gradwire_common.codec.kernels.layout import N_STREAMS, Book, Coming, Work, coming_after, quarter
from gradwire_common.codec.kernels.quantizing.quantize import quantize_block
from gradwire_common.codec.kernels.raws import pack_raws
from gradwire_common.codec.kernels.words import runs
from gradwire_common.codec.kernels.words.parsing import parse, parse_one_by_one, place_words
from gradwire_common.codec.kernels.words.rares import encode_rares
from gradwire_common.codec.kernels.words.tuple_encoding import encode_pairs, encode_tuples, form_tuples, number_tuples

F32 = npt.NDArray[np.float32]
U16 = npt.NDArray[np.uint16]
I32 = npt.NDArray[np.int32]
U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

BLOCK = 1 << 14  # entries that are quantised at a time; all that a block needs fits the second-level cache


@njit(cache=True, nogil=True)
def encode_segments(
    x: F32, residual: F32, grid: Grid, book: Book, segment: int, fast: bool, work: Work, out: U8, index: I64
) -> int:
    """Encode all of `x` in segments of `segment` entries; fill `residual` unless it is empty.

    A bitstream is written while its buckets are still in a cache near by. Returns the bytes written, or -1 - i where
    entry i (or a later one in its block) is not finite.
    """
    held, symbols, place = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.int32), 0
    for number in range(index.shape[0]):
        first, lengths, rare_place = number * segment, index[number], 0
        n = min(segment, x.size - first)
        n_quarter = quarter(n, book.size)
        for stream in range(N_STREAMS):
            start, stop = min(stream * n_quarter, n), min((stream + 1) * n_quarter, n)
            some, raws = slice(first + start, first + stop), work.raws[:, start:stop]
            left = residual[some] if residual.size > 0 else residual
            n_done = quantize_stream(x[some], left, grid, fast, work, raws, held, symbols)
            if n_done < stop - start:
                return -1 - (first + start + n_done)
            coming = coming_after(x[some], left)
            lengths[stream], rare_place = encode_stream(stop - start, book, fast, work, rare_place, coming, out[place:])
            place += lengths[stream]
        place += end_segment(n, grid, fast, work, rare_place, out[place:], lengths)
    return place


@njit(cache=True, nogil=True)
def quantize_stream(
    x: F32, residual: F32, grid: Grid, fast: bool, work: Work, raws: U8, held: F32, symbols: I32
) -> int:
    """Quantise the entries of a bitstream: buckets, and those that are not coded, into `work`, the others into `raws`.

    `held` and `symbols` are scratch. Returns the entries of blocks before one that is not finite.
    """
    in_place, n_beyond = x.ctypes.data == residual.ctypes.data, 0
    for start in range(0, x.size, BLOCK):
        stop = min(start + BLOCK, x.size)
        some = x[start:stop]
        if in_place:  # compilers make no vectors where a residual might lie over entries not yet read
            some = held[: stop - start]
            some[:] = x[start:stop]
        left = residual[start:stop] if residual.size > 0 else residual
        buckets = work.buckets[start:stop]
        n_beyond = quantize_block(some, grid, left, buckets, raws[:, start:stop], work.beyond, n_beyond, symbols, fast)
        if n_beyond < 0:
            return start
    return x.size


@njit(cache=True, nogil=True)
def encode_stream(
    n: int, book: Book, fast: bool, work: Work, rare_place: int, coming: Coming, out: U8
) -> tuple[int, int]:
    """Write the bitstream whose `n` buckets and buckets beyond are in `work`; its rare ones follow in the rare list.

    What is `coming` is fetched meanwhile. Returns the bytes written, and where, in bits, the rare list goes on.
    """
    if book.is_runs:
        part, beyond = work.buckets[:n], work.beyond
        if fast:
            n_bytes, _ = runs.encode_runs(
                part, book.n_coded, book.n_classes, book.detail, book.encoding, beyond, work.rare, out
            )
        else:
            n_bytes, _ = portable.encode_runs(
                part, book.n_coded, book.n_classes, book.detail, book.encoding, beyond, out
            )
        return n_bytes, rare_place
    grows = book.steps.size > 0
    padded = work.buckets[: n + book.size - 1 if grows else (n + book.size - 1) // book.size * book.size]
    padded[n:] = np.uint8(0)
    n_bytes, n_rare = encode_words(padded, book, fast, work, coming, out)
    if n_rare > 0:
        rare_place = list_rares(padded, n_rare, book, fast, work, rare_place)
    return n_bytes, rare_place


@njit(cache=True, nogil=True)
def end_segment(n: int, grid: Grid, fast: bool, work: Work, rare_place: int, out: U8, lengths: I64) -> int:
    """Write the rare list and the raw bits of a segment of `n` entries; return their bytes.

    Fills in the bytes of the rare list, the last of `lengths`.
    """
    place = (rare_place + 7) >> 3
    lengths[N_STREAMS] = place
    for i in range(place):
        out[i] = work.rare_bits[i]
    if grid.raw_bits > 0:
        for plane in range(3 if grid.kind == FLOAT32 else 1):
            place += pack_raws(work.raws[plane, :n], min(grid.raw_bits, 8), fast, out[place:])
    return place


@njit(cache=True, nogil=True)
def encode_words(buckets: U8, book: Book, fast: bool, work: Work, coming: Coming, out: U8) -> tuple[int, int]:
    """Write a bitstream of whole words; list where in `buckets` the rare ones start in `work`.

    For words that grow, the last book.size - 1 of `buckets` fill up tuples. Returns its bytes and how many are rare.
    """
    if book.steps.size > 0:
        return _encode_growing(buckets, book, fast, work, coming, out)
    if fast and book.pairs.size > 0:
        return encode_pairs(buckets, book.n_coded + 1, book.pairs, book.encoding, work.words, coming, out, work.rare)
    words = work.words[: buckets.size // book.size]
    form_tuples(buckets, book.size, book.n_coded + 1, words)
    n_bytes, n_rare = _encode_tuples(words, book.size, book, fast, work, coming, out)
    for i in range(n_rare):
        work.rare[i] *= book.size
    return n_bytes, n_rare


@njit(cache=True, nogil=True)
def _encode_growing(buckets: U8, book: Book, fast: bool, work: Work, coming: Coming, out: U8) -> tuple[int, int]:
    numbers = work.numbers[: buckets.size - book.size + 1]
    number_tuples(buckets, book.size, book.n_coded + 1, numbers)
    if fast:
        n_words = parse(numbers, book.steps, book.size, work.found, work.words)
    else:
        n_words = parse_one_by_one(numbers, book.steps, work.words)
    words, mean_size = work.words[:n_words], (numbers.size + n_words - 1) // max(n_words, 1)
    n_bytes, n_rare = _encode_tuples(words, mean_size, book, fast, work, coming, out)
    place_words(work.rare[:n_rare], words, book.steps)
    return n_bytes, n_rare


@njit(cache=True, nogil=True)
def _encode_tuples(
    words: U16, size: int, book: Book, fast: bool, work: Work, coming: Coming, out: U8
) -> tuple[int, int]:
    if fast:
        return encode_tuples(words, size, book.encoding, coming, out, work.rare)
    return portable.encode_tuples(words, book.encoding, out, work.rare)


@njit(cache=True, nogil=True)
def list_rares(buckets: U8, n_rare: int, book: Book, fast: bool, work: Work, place: int) -> int:
    """Write the words that `encode_words` found rare at bit `place` of the rare list; return the place after."""
    rare, codes, lengths = work.rare[:n_rare], book.rare_codes, book.rare_lengths
    if fast:
        place, _ = encode_rares(buckets, book.size, rare, work.beyond, codes, lengths, work.rare_bits, place)
    else:
        place, _ = portable.encode_rares(buckets, book.size, rare, work.beyond, codes, lengths, work.rare_bits, place)
    return place

"""How a segment is laid out: a quarter of its entries in each of four bitstreams, then the rare list, then raw bits."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from gradwire_common.codec.kernels.raws import raw_bytes

U8 = npt.NDArray[np.uint8]
U16 = npt.NDArray[np.uint16]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

N_STREAMS = 4
SIDE_BY_SIDE = 2  # segments whose words are decoded at once
INDEX_FIELDS = 5  # bytes of each bitstream, bytes of the rare list
SLACK = 64  # bytes after every buffer that the fast path writes eight bytes at a time
RARE_BYTES = 5  # most that a bucket takes in the rare list: 12 bits of code, 26 of what lies beyond


class Book(NamedTuple):
    """A codebook as the kernels take it; see codebooks.Codebook."""

    is_runs: bool
    size: int
    n_classes: int
    detail: int
    n_coded: int
    max_length: int
    encoding: U64
    steps: U8
    pairs: U64
    decoding: U64
    single: U64
    rare_codes: U32
    rare_lengths: U8
    rare_decoding: U16
    packed: U32
    width: int
    rare_byte: int


class Work(NamedTuple):
    """The buffers of one segment, for one thread; `work_of` makes them.

    Attributes:
        buckets: Of every entry; a rare tuple's are the book's `rare_byte` until the rare list is read. Decoding has
            room for SIDE_BY_SIDE segments.
        raws: Raw bits of every entry, a row for every eight.
        beyond: The buckets that are not coded, in order; one that is listed here is n_coded in `buckets`.
        places: Decoding tuples: where each of `beyond` stands.
        words: Encoding tuples: the words of a bitstream.
        numbers, found: Encoding tuples that grow: `parsing.parse` says what they are.
        rare: Encoding tuples: places of its rare words. Decoding runs: places of entries that are not zero.
        ends: Decoding runs: the buckets at these places.
        rare_bits: Encoding: the rare list.
    """

    buckets: U8
    raws: npt.NDArray[np.uint8]
    beyond: I32
    places: I32
    words: U16
    numbers: U16
    found: U16
    rare: I32
    ends: I32
    rare_bits: U8


class Coming(NamedTuple):
    """What is quantised next, and fetched while words are written.

    Attributes:
        read: Address of its entries, uint64.
        written: Address of what they leave in the residual, uint64; that of the entries where there is none.
        width: Bytes of an entry in both.
    """

    read: np.uint64
    written: np.uint64
    width: int


def work_of(most: int, planes: int) -> Work:
    """Return buffers for segments of at most `most` entries, whose raw bits have `planes` rows.

    Pages that are never touched cost nothing.
    """
    quarters = quarter(most, 1) + SLACK  # a quarter of a longer word has up to its size more
    return Work(
        np.empty(SIDE_BY_SIDE * most + SLACK, np.uint8),
        np.empty((planes, most + SLACK if planes else 0), np.uint8),
        np.empty(most + SLACK, np.int32),
        np.empty(most + SLACK, np.int32),
        np.empty(quarters, np.uint16),
        np.empty(quarters, np.uint16),
        np.empty(quarters + SLACK, np.uint16),
        np.empty(quarters, np.int32),
        np.empty(quarters, np.int32),
        np.empty(RARE_BYTES * (most + SLACK), np.uint8),
    )


@njit(cache=True, nogil=True)
def coming_after(entries: npt.NDArray[np.generic], residual: npt.NDArray[np.generic]) -> Coming:
    """Return what lies behind `entries` in memory, and behind their `residual` unless it is empty."""
    n_bytes, read = entries.size * entries.itemsize, np.uint64(entries.ctypes.data)
    written = np.uint64(residual.ctypes.data) if residual.size > 0 else read
    return Coming(read + np.uint64(n_bytes), written + np.uint64(n_bytes), entries.itemsize)


@njit(cache=True, nogil=True)
def place_segments(index: I64, segment: int, n_entries: int, raw_bits: int, first: int, places: I64) -> int:
    """Fill `places` with the byte where each segment begins, from `first` on; return where the last one ends."""
    place = first
    for i in range(index.shape[0]):
        places[i] = place
        place += index[i].sum() + raw_bytes(min(segment, n_entries - i * segment), raw_bits)
    return place


@njit(cache=True, nogil=True)
def fill_borders(n: int, size: int, borders: I64) -> None:
    """Fill `borders`, (N_STREAMS + 1,), with where the bitstreams of a segment of `n` entries begin and end."""
    for stream in range(N_STREAMS):
        borders[stream] = min(stream * quarter(n, size), n)
    borders[N_STREAMS] = n


@njit(cache=True, nogil=True)
def quarter(n: int, size: int) -> int:
    """Return the entries of the first bitstream of a segment of `n`: a quarter, in whole words."""
    return (n + N_STREAMS * size - 1) // (N_STREAMS * size) * size

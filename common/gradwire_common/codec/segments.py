"""The body of a coded frame: index and segments. Orchestration of the kernels, over threads if asked."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from gradwire_common.codec.codebook import Codebook
from gradwire_common.codec.formats import Quantizer
from gradwire_common.codec.headers import FrameHeader
from gradwire_common.codec.kernels.decoding import decode_segments
from gradwire_common.codec.kernels.dispatch import fast_path
from gradwire_common.codec.kernels.encoding import encode_segments
from gradwire_common.codec.kernels.grids import Grid, looks_levels_up
from gradwire_common.codec.kernels.layout import INDEX_FIELDS, N_STREAMS, SLACK, Book, Work, place_segments, work_of
from gradwire_common.codec.kernels.levels.levels import fill_levels
from gradwire_common.codec.kernels.words.bits import put_varints, read_varints
from gradwire_common.codec.model.fit import refuse_non_finite
from gradwire_common.codec.words.scheme import RUNS, WordScheme
from gradwire_common.errors import BitstreamError, NonFiniteError

F32 = npt.NDArray[np.float32]
U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

TASK_ENTRIES = 1 << 18  # at least what one call of a kernel works on; bounds the encoder's buffer
MOST_BITS = 12 + 12 + 26 + 24  # an entry: its word, rare code, what lies beyond, raw bits
NOTHING = np.empty(0, np.float32)

KEPT_ENTRIES = 1 << 18  # segments of more get buffers of their own: these are the least and the most a thread keeps
KEPT_BYTES = 16 << 20  # for the encodings of as many segments as are sure to fit; memory only where bytes were written

T = TypeVar("T")

_kept = threading.local()  # .work and .room: no call allocates what the last has left


@dataclass(frozen=True, slots=True, eq=False)
class GridTables:
    """A quantiser and bucket layout as the kernels take them, with the levels >= 0 that they look up."""

    grid: Grid
    magnitudes: F32


@lru_cache(maxsize=256)
def grid_tables(quantizer: Quantizer, scheme: WordScheme) -> GridTables:
    """Return what the kernels need to know of `quantizer` under `scheme`."""
    return GridTables(quantizer.grid(scheme.raw_bits, scheme.origin, scheme.n_buckets), quantizer.magnitudes)


def kernel_book(codebook: Codebook) -> Book:
    """Return `codebook` as the kernels take it."""
    scheme = codebook.scheme
    return Book(
        scheme.coding == RUNS,
        1 if scheme.coding == RUNS else scheme.size,
        scheme.size,
        scheme.detail,
        scheme.n_buckets,
        scheme.max_length,
        codebook.encoding,
        codebook.steps,
        codebook.pairs,
        codebook.decoding,
        codebook.single,
        codebook.rare_codes,
        codebook.rare_lengths,
        codebook.rare_decoding,
        codebook.packed,
        codebook.width,
        codebook.rare_byte,
    )


def room_for(n_entries: int, n_segments: int) -> int:
    """Return the bytes of a buffer that `n_entries` in so many segments can be encoded to, whatever they are."""
    return n_entries * MOST_BITS // 8 + n_segments * N_STREAMS * SLACK + SLACK


def raw_planes(grid: Grid) -> int:
    """Return how many bytes of raw bits an entry has at most."""
    return (grid.raw_bits + 7) // 8


def thread_work(most: int, planes: int) -> Work:
    """Return this thread's buffers for segments of at most `most` entries; they are used again by the next call."""
    have: Work | None = getattr(_kept, "work", None)
    if have is None or have.beyond.size < most + SLACK or have.raws.shape[0] < planes:
        have = work_of(max(most, KEPT_ENTRIES), max(planes, 1))
        if most <= KEPT_ENTRIES:
            _kept.work = have
    return have


def _room(n_bytes: int) -> U8:
    """This thread's buffer for `n_bytes` or more that are copied before its next call."""
    have: U8 | None = getattr(_kept, "room", None)
    if have is None or have.size < n_bytes:
        have = np.empty(max(n_bytes, KEPT_BYTES), np.uint8)
        if n_bytes <= KEPT_BYTES:
            _kept.room = have
    return have


def encode_body(
    values: F32,
    quantizer: Quantizer,
    codebook: Codebook,
    segment: int,
    residual: F32 | None,
    threads: int,
) -> list[bytes | memoryview]:
    """Quantise and encode `values`; return the index and the segments, views that hold until this thread's next call.

    Raises:
        NonFiniteError: a NaN or infinity among `values`; `residual` may be filled in part.
    """
    tables, book, fast = grid_tables(quantizer, codebook.scheme), kernel_book(codebook), fast_path()

    def encode(first: int, stop: int, room: U8) -> tuple[I64, int]:
        some = values[first:stop]
        index = np.empty((-(-some.size // segment), INDEX_FIELDS), np.int64)
        left = NOTHING if residual is None else residual[first:stop]
        work = thread_work(min(segment, some.size), raw_planes(tables.grid))
        n = encode_segments(some, left, tables.grid, book, segment, fast, work, room, index)
        if n < 0:
            raise NonFiniteError(f"got a NaN or infinity at or after entry {first - 1 - n}, want finite numbers")
        return index, n

    def encode_alone(first: int, stop: int) -> tuple[I64, bytes]:
        room = _room(most)
        index, n = encode(first, stop, room)
        return index, room[:n].tobytes()

    task = min(_task_entries(segment), values.size)
    most = room_for(task, -(-task // segment))
    indices: list[I64] = []
    body: list[bytes | memoryview] = []
    if threads > 1 and task < values.size:
        for index, piece in _over_tasks(encode_alone, values.size, segment, threads):
            indices.append(index)
            body.append(piece)
    else:  # into one buffer, as many segments a call as are sure to fit in what is left of it
        room, place, first = _room(most), 0, 0
        while first < values.size:
            n_segments = (room.size - place - SLACK) // (room_for(segment, 1) - SLACK)
            if n_segments == 0 and place > 0:
                body.append(room[:place].tobytes())
                place = 0
                continue
            stop = min(first + max(n_segments, 1) * segment, values.size)
            index, n = encode(first, stop, room[place:])
            indices.append(index)
            place, first = place + n, stop
        body.append(room[:place].data)
    lengths = np.concatenate(indices).ravel()
    packed = np.empty(5 * lengths.size, np.uint8)
    return [packed[: put_varints(lengths, packed)].data, *body]


def decode_body(
    header: FrameHeader,
    codebook: Codebook,
    body: memoryview,
    out: F32 | None,
    weight: float | None,
    threads: int,
    *,
    measured: bool = False,
) -> float:
    """Decode index and segments into `out`, or add `weight` times their levels to it; without `out` only check them.

    Returns:
        The largest magnitude of an entry where there is no `out` and it is to be `measured`; else 0.

    Raises:
        BitstreamError: the bytes are no encoding of header.n_entries entries.
    """
    data, segment, n_entries = np.frombuffer(body, np.uint8), header.segment_entries, header.n_entries
    index = np.empty((-(-n_entries // segment), INDEX_FIELDS), np.int64)
    if index.size > data.size:
        raise BitstreamError(f"frame has an index of {data.size} bytes, want at least {index.size}")
    n_index = read_varints(data, index.ravel())
    if n_index < 0:
        raise BitstreamError(f"frame's index ends early, or has a length above 2**35; want {index.size} lengths")
    places, scheme = np.empty(index.shape[0], np.int64), codebook.scheme
    end = place_segments(index, segment, n_entries, scheme.raw_bits, n_index, places)
    if end != data.size:
        raise BitstreamError(f"frame's segments have {end} bytes, want {data.size}")
    tables, book, fast = grid_tables(header.quantizer, scheme), kernel_book(codebook), fast_path()
    adding, factor = weight is not None, np.float32(1 if weight is None else weight)
    levels = NOTHING
    if looks_levels_up(tables.grid):
        levels = np.empty((scheme.n_buckets + 1) << scheme.raw_bits, np.float32)
        fill_levels(tables.grid, tables.magnitudes, factor, adding, levels)

    scratch = np.empty(min(n_entries, _task_entries(segment)) if out is None else 0, np.float32)

    def decode(first: int, stop: int) -> float:
        some = slice(first // segment, -(-stop // segment))
        n = decode_segments(
            data,
            places[some],
            index[some],
            segment,
            book,
            tables.grid,
            tables.magnitudes,
            levels,
            factor,
            fast,
            adding,
            thread_work(min(segment, stop - first), raw_planes(tables.grid)),
            scratch[: stop - first] if out is None else out[first:stop],
        )
        if n < 0:
            raise BitstreamError(f"segment {first // segment - 1 - n} of the frame is damaged")
        return refuse_non_finite(scratch[: stop - first]) if measured else 0.0

    if out is not None and threads < 2:  # one call: between two of them the caches forget what the other has learnt
        return decode(0, n_entries)
    return max(_over_tasks(decode, n_entries, segment, 1 if out is None else threads))


def _task_entries(segment: int) -> int:
    return -(-TASK_ENTRIES // segment) * segment


def _over_tasks(work: Callable[[int, int], T], n: int, segment: int, threads: int) -> Iterator[T]:
    """Yield work(first, stop) for successive pieces of `n` entries, whole segments each, in order."""
    task = _task_entries(segment)
    firsts = range(0, n, task)
    if threads < 2 or len(firsts) < 2:
        yield from (work(first, min(first + task, n)) for first in firsts)
        return
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(lambda first: work(first, min(first + task, n)), firsts)

"""Time the parts of the codec's kernels: how far coding has come after each, in ns an entry.

    python benchmarks/codec_parts.py --entries 2097152 --rounds 10

On the nine workloads and on uniform at 2 bits, beta 1.5, whose words grow, by the processor time of one thread, best of
several rounds. Encoding: entries quantised (and with their residual), then all of a segment. Decoding: words, with
their rare ones, with the raw bits joined (only float8 has some), with levels stored. Beside them buckets a look-up, the
mean over the decoder's table, and rare words among a thousand entries.
"""

import argparse
import json
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from gradwire_common.codec.codebook import Codebook, model_codebook
from gradwire_common.codec.kernels.decoding import decode_rare_words, decode_segments, decode_words
from gradwire_common.codec.kernels.encoding import BLOCK, encode_segments, quantize_stream
from gradwire_common.codec.kernels.grids import Grid
from gradwire_common.codec.kernels.layout import INDEX_FIELDS, SIDE_BY_SIDE, Book, Work, place_segments
from gradwire_common.codec.kernels.levels.levels import fill_levels, restore_beyond
from gradwire_common.codec.kernels.native.vector_lookups import PACKED_SYMBOLS
from gradwire_common.codec.kernels.quantizing.codes import join_packed
from gradwire_common.codec.kernels.words.tables import LENGTH_BITS
from gradwire_common.codec.segments import grid_tables, kernel_book, room_for, thread_work
from stopwatch import take_turns
from workloads import Part, sampled_workloads, uniform_workload

F32 = npt.NDArray[np.float32]
U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

WORDS, RARE_WORDS, RAW_BITS = 1, 2, 3
COLUMNS = ("quantise", "residual", "encode", "words", "rare words", "raw bits", "levels")


@njit(nogil=True)
def quantize(values: F32, grid: Grid, segment: int, work: Work, residual: F32) -> None:
    """Quantise all entries, segment by segment."""
    held, symbols = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.int32)
    for first in range(0, values.size, segment):
        some = values[first : first + segment]
        left = residual[first : first + segment] if residual.size > 0 else residual
        quantize_stream(some, left, grid, True, work, work.raws[:, : some.size], held, symbols)


@njit(nogil=True)
def decode(
    upto: int, data: U8, places: I64, index: I64, grid: Grid, book: Book, segment: int, work: Work, buckets: U8
) -> None:
    """Decode all segments up to a part."""
    for first in range(0, index.shape[0], SIDE_BY_SIDE):
        stop = min(first + SIDE_BY_SIDE, index.shape[0])
        some = buckets[first * segment : stop * segment]
        decode_words(data, places[first:stop], index[first:stop], segment, book, True, some)
        for number in range(first, stop if upto > WORDS else first):
            part, place, lengths = buckets[number * segment : (number + 1) * segment], places[number], index[number]
            n_beyond = decode_rare_words(data, place, lengths, grid, book, True, work, part)
            if upto == RAW_BITS:
                restore_beyond(part, work.beyond[:n_beyond], work.places)
                join_packed(part, data[place + lengths.sum() :], grid, True, work.raws[0])


class Parts:
    """What to time on one workload."""

    def __init__(self, part: Part):
        codebook = model_codebook(part.quantizer.format, part.scheme)
        tables, book, segment = grid_tables(part.quantizer, part.scheme), kernel_book(codebook), part.segment
        grid, n, one = tables.grid, part.values.size, np.float32(1)
        work = thread_work(min(segment, n), 1)
        index = np.empty((-(-n // segment), INDEX_FIELDS), np.int64)
        places, out = np.empty(index.shape[0], np.int64), np.zeros(room_for(n, index.shape[0]), np.uint8)
        residual, nothing = np.zeros(n, np.float32), np.empty(0, np.float32)
        buckets, entries = np.zeros(n, np.uint8), np.zeros(n, np.float32)
        levels = np.empty((part.scheme.n_buckets + 1) << part.scheme.raw_bits, np.float32)
        fill_levels(grid, tables.magnitudes, one, False, levels)
        n_bytes = encode_segments(part.values, nothing, grid, book, segment, True, work, out, index)
        place_segments(index, segment, n, part.scheme.raw_bits, 0, places)
        data, layout = out[:n_bytes], (grid, book, segment)

        def decode_upto(upto: int) -> Callable[[], object]:
            return lambda: decode(upto, data, places, index, *layout, work, buckets)

        self.runs: dict[str, Callable[[], object]] = {
            "quantise": lambda: quantize(part.values, grid, segment, work, nothing),
            "residual": lambda: quantize(part.values, grid, segment, work, residual),
            "encode": lambda: encode_segments(part.values, nothing, *layout, True, work, out, index),
            "words": decode_upto(WORDS),
            "rare words": decode_upto(RARE_WORDS),
            "raw bits": decode_upto(RAW_BITS),
            "levels": lambda: decode_segments(
                *(data, places, index, segment, book, grid, tables.magnitudes, levels, one, True, False, work, entries)
            ),
        }
        if part.scheme.raw_bits == 0:
            del self.runs["raw bits"]
        self.runs["words"]()
        self.rare_words = 1000 * float(np.count_nonzero(buckets == book.rare_byte)) / part.scheme.size / n
        self.per_look_up = buckets_per_look_up(codebook)


def buckets_per_look_up(codebook: Codebook) -> float:
    """Return the mean over the packed table; NaN where there is none."""
    if codebook.width == 0:
        return float("nan")
    none = (1 << codebook.width) - 1
    starts = range(LENGTH_BITS, 33 - codebook.width, codebook.width)
    found = np.stack([codebook.packed >> start & none for start in starts][:PACKED_SYMBOLS])
    return float((found != none).sum() / codebook.packed.size)


def main() -> None:
    """Measure, print a table, and write it where the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=1 << 21, help="entries of each workload (default 2 Mi)")
    parser.add_argument("--rounds", type=int, default=10, help="timed rounds (default 10)")
    parser.add_argument("--json", type=Path, help="write every figure there")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    print(
        "ns an entry".ljust(14) + "".join(f"{name:>12}" for name in COLUMNS) + f"{'a look-up':>12}{'rare, 1/1000':>14}"
    )
    for workload in chain(sampled_workloads(options.entries), [uniform_workload(1.5, 2.0, options.entries)]):
        parts = Parts(workload.parts[0])
        timings = take_turns(parts.runs, options.rounds)
        ns = {name: 1e9 * timing.best / workload.n_entries for name, timing in timings.items()}
        cells = "".join(f"{ns[name]:12.3f}" if name in ns else f"{'-':>12}" for name in COLUMNS)
        print(f"{workload.name:14}{cells}{parts.per_look_up:12.2f}{parts.rare_words:14.2f}", flush=True)
        rows.append({"workload": workload.name, **ns, "a look-up": parts.per_look_up, "rare in 1000": parts.rare_words})
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()

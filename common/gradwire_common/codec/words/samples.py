"""A sample of a tensor's symbols, counted: what a code would take on them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gradwire_common.codec.codebook import Codebook
from gradwire_common.codec.formats import Quantizer
from gradwire_common.codec.kernels.layout import N_STREAMS, quarter
from gradwire_common.codec.kernels.quantizing.sampling import count_chunks, tuple_bits
from gradwire_common.codec.kernels.words.bits import EXTRA_COUNT_BITS
from gradwire_common.codec.segments import grid_tables
from gradwire_common.codec.words.scheme import RUNS, WordScheme
from gradwire_common.codec.words.tuning import CHUNK, HALF_BYTE, LEAST_SAMPLE, MOST_COUNTED, MOST_SAMPLE
from gradwire_common.errors import NonFiniteError

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """What is known of a tensor's symbols.

    Attributes:
        n: Entries looked at; `whole` if these are all.
        signed: Counts of the buckets of the layout without raw bits: 0, +1, -1, +2, ... (floats: by exponent field).
        gaps, ends: Zeros before each entry that is not zero, and its bucket; empty where runs were not asked for.
    """

    n: int
    whole: bool
    signed: I64
    gaps: I64
    ends: I64


def sample_of(values: F32, quantizer: Quantizer, scheme: WordScheme, segment: int, *, runs: bool) -> Sample:
    """Quantise `values` in evenly spaced chunks, or all of them where they are few; count, and list what `runs` need.

    Raises:
        NonFiniteError: a NaN or infinity among them.
    """
    n, whole = min(max(segment // 8, LEAST_SAMPLE), MOST_SAMPLE), True
    chunk, starts = values.size, np.zeros(1, np.int64)
    if values.size > n:
        whole, chunk = False, CHUNK
        starts = np.linspace(0, values.size - CHUNK, n // CHUNK).astype(np.int64)
    signed = np.zeros(MOST_COUNTED + 1, np.int64)
    symbols = np.empty(starts.size * chunk, np.int32)
    grid = grid_tables(quantizer, scheme).grid
    n_used = int(count_chunks(values, starts, chunk, grid, symbols, signed))
    if n_used < 0:
        raise NonFiniteError("got a NaN or infinity, want finite numbers")
    nothing = np.empty(0, np.int64)
    if not quantizer.format.buckets.signed:
        return Sample(symbols.size, whole, signed[:255], nothing, nothing)
    signed = signed[: max(n_used, 3)]
    if not runs:
        return Sample(symbols.size, whole, signed, nothing, nothing)
    places = np.flatnonzero(symbols != 0)  # five times faster than of integers
    used = symbols[places].astype(np.int64)
    ends = np.minimum(2 * np.abs(used) - (used > 0), MOST_COUNTED)
    before = np.append(-1, places[:-1]) if places.size else places
    if whole:  # runs start again where each bitstream starts
        firsts = np.arange(0, values.size, segment)
        quarters = [quarter(segment, 1)] * (firsts.size - 1) + [quarter(values.size - int(firsts[-1]), 1)]
        starts = (firsts[:, None] + np.arange(N_STREAMS) * np.array(quarters)[:, None]).ravel()
        before = np.maximum(before, starts[np.searchsorted(starts, places, "right") - 1] - 1)
    return Sample(symbols.size, whole, signed, places - before - 1, ends)


def sample_bits(codebook: Codebook, sample: Sample, counts: I64, extra_bits: float) -> float:
    """Bits of the sample, whose buckets have these `counts`, with a codebook."""
    scheme = codebook.scheme
    if scheme.coding == RUNS:
        words, raw_bits = run_counts(scheme, sample)
        return float(words @ codebook.lengths) + raw_bits + extra_bits
    lengths, rare_lengths = codebook.lengths, codebook.rare_lengths
    bits = tuple_bits(codebook.tuples, codebook.sizes, lengths, rare_lengths, counts / sample.n)
    return bits * sample.n + extra_bits + scheme.raw_bits * sample.n


def bucket_counts(quantizer: Quantizer, scheme: WordScheme, sample: Sample) -> tuple[I64, float]:
    """Return how often each coded bucket occurs and, last, any other; and the bits to tell those others."""
    n, signed = scheme.n_buckets, sample.signed
    if scheme.raw_bits == 0:
        counts = np.zeros(max(n, signed.size), np.int64)
        counts[: signed.size] = signed
    else:
        if quantizer.format.buckets.signed:
            signed = np.append(signed, 0) if signed.size % 2 == 0 else signed
            signed = np.append(signed[0], signed[1::2] + signed[2::2])
            signed = np.add.reduceat(signed, np.arange(0, signed.size, 1 << (scheme.raw_bits - 1)))
        n_all = quantizer.format.buckets.n_magnitude_buckets(scheme.raw_bits)
        places = (np.flatnonzero(signed) - scheme.origin) % n_all
        counts = np.zeros(max(n, int(places.max(initial=0)) + 1), np.int64)
        counts[places] = signed[signed > 0]
    others, extra = counts[n:], 0.0
    if others.any():
        extra = float(others @ (EXTRA_COUNT_BITS + np.ceil(np.log2(np.arange(1, others.size + 1)))))
    return np.append(counts[:n], others.sum()), extra


def least_bits(scheme: WordScheme, sample: Sample, counts: I64, extra_bits: float) -> float:
    """Bits of the sample's buckets with their ideal code, of all else that no code shortens, and of code lengths."""
    counts = counts[counts > 0]
    bits = float(counts @ np.log2(sample.n / counts)) + scheme.raw_bits * sample.n + extra_bits
    return bits + HALF_BYTE * counts.size


def run_counts(scheme: WordScheme, sample: Sample) -> tuple[I64, float]:
    """How often each word of a RUNS scheme occurs, and the raw bits that follow words."""
    n, longest = scheme.n_buckets, scheme.size << scheme.detail
    n_longest, rest = np.divmod(sample.gaps, longest)
    words = (rest >> scheme.detail) * n + np.minimum(sample.ends, n) - 1
    counts = np.bincount(words, minlength=scheme.n_words)
    tail = sample.n - int(sample.gaps.sum()) - sample.gaps.size
    counts[-1] += int(n_longest.sum()) + (tail + longest - 1) // longest
    return counts, float(scheme.detail * sample.gaps.size)

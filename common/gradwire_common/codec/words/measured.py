"""The data's own code: for tensors that the fit does not describe, such as many exact zeros or an optimizer's first
steps.

The buckets of a sample are counted. Where the fit's code lengths take noticeably more bits on those counts than their
entropy, code lengths are made from the counts instead, for a few schemes, and the best are used (and sent) if they gain
more than a percent, the cost of sending them counted. Nothing is encoded for it, and tables are built for the winner
only.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from gradwire_common.codec.codebook import Codebook, build_codebook
from gradwire_common.codec.formats import Quantizer
from gradwire_common.codec.huffman import code_lengths
from gradwire_common.codec.kernels.layout import N_STREAMS, quarter
from gradwire_common.codec.kernels.quantizing.sampling import count_chunks, tuple_bits
from gradwire_common.codec.kernels.words.bits import EXTRA_COUNT_BITS
from gradwire_common.codec.kernels.words.lengths import pack_halves
from gradwire_common.codec.segments import grid_tables
from gradwire_common.codec.words.choice import (
    CLASSES_AND_REACH,
    DETAILS,
    MAX_LENGTH,
    MOST_WEIGHED,
    run_schemes,
    tuple_schemes,
)
from gradwire_common.codec.words.scheme import MAX_BUCKETS, ONE, RUNS, TUPLES, WordScheme, rounded_weights, tuple_words
from gradwire_common.errors import NonFiniteError, UsageError

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

LEAST_ENTRIES = 512  # of a tensor whose own code lengths may be worth sending
CHUNK = 1024  # entries; a sample in chunks keeps runs of zeros
LEAST_SAMPLE, MOST_SAMPLE = 1 << 14, 1 << 17  # entries; an eighth of a segment in between
MOST_COUNTED = 1 << 12  # buckets that are told apart
SUSPICIOUS = 1.015  # bits over entropy that make another codebook worth trying
LEAST_GAIN = 0.01  # share of the bits
HALF_BYTE = 4.0  # bits; a length is sent as one
OPTIMISM = 1.44  # bits by which a code made from a sample does better there than elsewhere, a free parameter
FEW_BUCKETS = (250, 63, 15, 7)  # alphabets that are tried, where the sample has as many buckets
UNSEEN = 0.25  # count of a bucket that the sample does not hold


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


@dataclass(frozen=True, slots=True, eq=False)
class Lengths:
    """Code lengths under trial: what `build_codebook` takes, and the bits they cost on the sample."""

    scheme: WordScheme
    tuples: I64
    words: U8
    rare: U8
    bits: float
    table_bits: float


def own_codebook(values: F32, quantizer: Quantizer, fitted: Codebook, segment: int, *, wanted: bool) -> Codebook | None:
    """Return the codebook of the data's own code where it is better than the `fitted` one, or `wanted` anyway.

    Raises:
        NonFiniteError: a NaN or infinity in the sample.
    """
    if values.size < LEAST_ENTRIES and not wanted:
        return None
    scheme = fitted.scheme
    sample = sample_of(values, quantizer, scheme, segment, runs=scheme.coding == RUNS)
    counted = bucket_counts(quantizer, scheme, sample)
    fitted_bits = _bits(fitted, sample, *counted)
    if not wanted and fitted_bits < SUSPICIOUS * _least_bits(scheme, sample, *counted):
        return None
    if scheme.coding != RUNS:
        sample = sample_of(values, quantizer, scheme, segment, runs=True)
    scale = values.size / sample.n
    best, least = None, (1 - LEAST_GAIN) * fitted_bits * scale
    for candidate in _candidates(quantizer, scheme, sample):
        if (
            candidate.coding == TUPLES
            and scale * _least_bits(candidate, sample, *bucket_counts(quantizer, candidate, sample)) >= least
            and not (wanted and best is None)
        ):
            continue
        try:
            trial = _own_lengths(candidate, quantizer, sample)
        except UsageError:  # more words than codes
            continue
        bits = trial.bits * scale + trial.table_bits
        if bits < least or (wanted and best is None):
            best, least = trial, bits
    return None if best is None else build_codebook(best.scheme, best.tuples, best.words, best.rare)


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


def bits_with(codebook: Codebook, quantizer: Quantizer, sample: Sample) -> float:
    """Bits that `sample` takes with a codebook; tuples as if their buckets were independent."""
    return _bits(codebook, sample, *bucket_counts(quantizer, codebook.scheme, sample))


def _bits(codebook: Codebook, sample: Sample, counts: I64, extra_bits: float) -> float:
    """Bits of the sample, whose buckets have these `counts`, with a codebook."""
    scheme = codebook.scheme
    if scheme.coding == RUNS:
        words, raw_bits = _run_counts(scheme, sample)
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


def _least_bits(scheme: WordScheme, sample: Sample, counts: I64, extra_bits: float) -> float:
    """Bits of the sample's buckets with their ideal code, of all else that no code shortens, and of code lengths."""
    counts = counts[counts > 0]
    bits = float(counts @ np.log2(sample.n / counts)) + scheme.raw_bits * sample.n + extra_bits
    return bits + HALF_BYTE * counts.size


def _candidates(quantizer: Quantizer, scheme: WordScheme, sample: Sample) -> Iterator[WordScheme]:
    """The fit's own scheme, and those for as many zeros and magnitudes as the sample has, the likeliest first.

    None has words that grow, which are made from a fit alone.
    """
    indices = (scheme.beta_index, scheme.ratio_index)
    if scheme.growth:
        yield tuple_schemes(indices, scheme.raw_bits, scheme.n_buckets, scheme.origin, (scheme.detail,))[-1]
    else:
        yield scheme
    if not quantizer.format.buckets.signed:
        yield replace(scheme, n_buckets=MAX_BUCKETS, size=1, origin=0)
        return
    zero = sample.signed[0] / sample.n
    reach = np.searchsorted(np.cumsum(sample.signed), sample.n * (1 - 2.0**-10))
    n = min(int(reach) | 1, FEW_BUCKETS[0])
    if zero > 0.3:
        yield from run_schemes(indices, zero, min(n, 63), CLASSES_AND_REACH[:5:2])
        if sample.whole:
            yield WordScheme(RUNS, *indices, 0, min(n, 63), 2, 0, MAX_LENGTH)
    if zero < 0.9:
        for n_coded in dict.fromkeys(min(n, most) for most in FEW_BUCKETS):
            yield from tuple_schemes(indices, 0, n_coded, 0, DETAILS[:1])[: 2 if n_coded < 64 else 1]
    if zero < 0.5 and quantizer.format.buckets.largest >= MOST_WEIGHED:
        for raw_bits in (1, 2):
            yield from tuple_schemes(indices, raw_bits, max(n >> raw_bits, 1) + 1, 0, DETAILS[:1])[:1]


def _own_lengths(scheme: WordScheme, quantizer: Quantizer, sample: Sample) -> Lengths:
    """Code lengths made from the sample's counts."""
    counts, extra_bits = bucket_counts(quantizer, scheme, sample)
    smooth = counts.astype(np.float64) if sample.whole else np.maximum(counts, UNSEEN)
    n_free = 0 if sample.whole else np.count_nonzero(counts)
    if scheme.coding == RUNS:
        words, raw_bits = _run_counts(scheme, sample)
        if sample.whole:  # no word but the last can be missing
            weights = np.append(words[:-1], max(int(words[-1]), 1)).astype(np.uint64)
        else:
            weights = _run_weights(scheme, words, smooth)
        lengths = code_lengths(weights, scheme.max_length)
        bits = float(words @ lengths) + raw_bits + extra_bits + OPTIMISM * (n_free + scheme.size)
        nothing = np.empty(0, np.int64)
        return Lengths(scheme, nothing, lengths, nothing.astype(np.uint8), bits, _table_bits(lengths))
    weights = _weights(smooth)
    tuples, _, word_weights, rare_weights = tuple_words(scheme, weights)
    if scheme.size == 1:  # a bucket that is a word itself is never rare
        rare_weights[tuples] = 0
    lengths, rare = code_lengths(word_weights, scheme.max_length), code_lengths(rare_weights, scheme.max_length)
    n_rare = float(word_weights[-1]) / ONE
    per_rare = scheme.size * float(rare_weights @ rare) / max(float(rare_weights.sum()), 1)
    bits = (float(word_weights @ lengths) / ONE + n_rare * per_rare) / scheme.size + scheme.raw_bits
    placed = np.zeros(scheme.n_tuples, np.uint8)
    placed[tuples] = lengths[:-1]
    table_bits = _table_bits(placed) + _table_bits(rare)
    return Lengths(scheme, tuples, lengths, rare, bits * sample.n + extra_bits + OPTIMISM * n_free, table_bits)


def _table_bits(lengths: U8) -> float:
    """Bits that sending `lengths` takes."""
    return HALF_BYTE * pack_halves(lengths, np.empty(lengths.size, np.uint8))


def _weights(counts: F64) -> U64:
    """Bucket weights of counts; those of 0 stay 0."""
    shares = counts / counts.sum()
    return np.where(shares > 0, rounded_weights(shares * (1 - 1 / ONE)), np.uint64(0))


def _run_counts(scheme: WordScheme, sample: Sample) -> tuple[I64, float]:
    """How often each word of a RUNS scheme occurs, and the raw bits that follow words."""
    n, longest = scheme.n_buckets, scheme.size << scheme.detail
    n_longest, rest = np.divmod(sample.gaps, longest)
    words = (rest >> scheme.detail) * n + np.minimum(sample.ends, n) - 1
    counts = np.bincount(words, minlength=scheme.n_words)
    tail = sample.n - int(sample.gaps.sum()) - sample.gaps.size
    counts[-1] += int(n_longest.sum()) + (tail + longest - 1) // longest
    return counts, float(scheme.detail * sample.gaps.size)


def _run_weights(scheme: WordScheme, words: I64, buckets: F64) -> U64:
    """Weights of the words: of the run's class times of the bucket, and the longest run's own."""
    classes = np.maximum(words[:-1].reshape(scheme.size, scheme.n_buckets).sum(axis=1), UNSEEN)
    ends = np.maximum(buckets[1:], UNSEEN)
    weights = np.append((classes[:, None] * (ends / ends.sum())).ravel(), max(int(words[-1]), UNSEEN))
    return rounded_weights(weights / weights.sum())

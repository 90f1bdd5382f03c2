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
from gradwire_common.codec.kernels.words.lengths import pack_halves
from gradwire_common.codec.words.candidates import run_schemes, tuple_schemes
from gradwire_common.codec.words.samples import Sample, bucket_counts, least_bits, run_counts, sample_bits, sample_of
from gradwire_common.codec.words.scheme import MAX_BUCKETS, ONE, RUNS, TUPLES, WordScheme, rounded_weights, tuple_words
from gradwire_common.codec.words.tuning import (
    CLASSES_AND_REACH,
    DETAILS,
    FEW_BUCKETS,
    HALF_BYTE,
    LEAST_ENTRIES,
    LEAST_GAIN,
    MAX_LENGTH,
    MOST_WEIGHED,
    OPTIMISM,
    SUSPICIOUS,
    UNSEEN,
)
from gradwire_common.errors import UsageError

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]


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
    fitted_bits = sample_bits(fitted, sample, *counted)
    if not wanted and fitted_bits < SUSPICIOUS * least_bits(scheme, sample, *counted):
        return None
    if scheme.coding != RUNS:
        sample = sample_of(values, quantizer, scheme, segment, runs=True)
    scale = values.size / sample.n
    best, least = None, (1 - LEAST_GAIN) * fitted_bits * scale
    for candidate in _candidates(quantizer, scheme, sample):
        if (
            candidate.coding == TUPLES
            and scale * least_bits(candidate, sample, *bucket_counts(quantizer, candidate, sample)) >= least
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
        words, raw_bits = run_counts(scheme, sample)
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


def _run_weights(scheme: WordScheme, words: I64, buckets: F64) -> U64:
    """Weights of the words: of the run's class times of the bucket, and the longest run's own."""
    classes = np.maximum(words[:-1].reshape(scheme.size, scheme.n_buckets).sum(axis=1), UNSEEN)
    ends = np.maximum(buckets[1:], UNSEEN)
    weights = np.append((classes[:, None] * (ends / ends.sum())).ravel(), max(int(words[-1]), UNSEEN))
    return rounded_weights(weights / weights.sum())

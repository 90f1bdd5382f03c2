"""The data's own code: for tensors that the fit does not describe, such as many exact zeros or an optimizer's first
steps.

A sample is encoded with the fit's codebook. Where that takes noticeably more than the sample's entropy, a codebook is
made from the sample's buckets instead, and used (and sent) if the sample says that it gains more than a percent, the
cost of sending it counted.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from gradwire_common.codec.codebooks import Codebook, build_codebook, pack_lengths, word_lengths
from gradwire_common.codec.coder import encode_body, grid_tables
from gradwire_common.codec.kernels.quantize import split_symbols, symbols_of
from gradwire_common.codec.quantizers import Minifloat, Quantizer, Uniform
from gradwire_common.codec.schemes import run_schemes, tuple_schemes
from gradwire_common.codec.words import MAX_BUCKETS, ONE, WordScheme, rounded_weights
from gradwire_common.errors import UsageError

F32 = npt.NDArray[np.float32]
U64 = npt.NDArray[np.uint64]

LEAST_ENTRIES = 4096  # of a tensor that is worth the trial
CHUNK = 1024  # entries; a sample in chunks keeps runs of zeros
LEAST_SAMPLE, MOST_SAMPLE = 1 << 14, 1 << 20  # entries; a quarter of a segment in between
SUSPICIOUS = 1.015  # bits over entropy that make another codebook worth trying
LEAST_GAIN = 0.01  # share of the bits
TRIAL_BITS = 160.0  # what a trial's index and padding may take
FEW_BUCKETS = (250, 63, 15, 7, 3)  # alphabets that are tried, where the sample has as many buckets
UNSEEN = 0.25  # count of a bucket that the sample does not hold


def own_codebook(values: F32, quantizer: Quantizer, fitted: Codebook, segment: int, *, wanted: bool) -> Codebook | None:
    """Return the codebook of the data's own code where that is better than the `fitted` one, or `wanted` all the same.

    Raises:
        NonFiniteError: a NaN or infinity in the sample.
    """
    if values.size < LEAST_ENTRIES and not wanted:
        return None
    sample = sample_of(values, min(max(segment // 4, LEAST_SAMPLE), MOST_SAMPLE))
    fitted_bits = _trial_bits(sample, quantizer, fitted)
    scheme = fitted.scheme
    counts = bucket_counts(sample, quantizer, scheme)
    share = counts[counts > 0] / sample.size
    entropy = sample.size * (float(-(share * np.log2(share)).sum()) + scheme.raw_bits)
    if not wanted and fitted_bits < SUSPICIOUS * entropy + TRIAL_BITS:
        return None
    scale = values.size / max(sample.size, 1)
    best, least = None, ((1 - LEAST_GAIN) * fitted_bits - TRIAL_BITS) * scale
    for candidate in _candidates(sample, quantizer, scheme):
        weights = _weights(bucket_counts(sample, quantizer, candidate), sample.size)
        try:
            codebook = build_codebook(candidate, *word_lengths(candidate, weights))
        except UsageError:  # more words than codes
            continue
        bits = _trial_bits(sample, quantizer, codebook) * scale + 8 * len(pack_lengths(codebook))
        if bits < least or (wanted and best is None):
            best, least = codebook, bits
    return best


def sample_of(values: F32, n: int) -> F32:
    """Return about `n` of `values` in evenly spaced chunks, or all of them where they are few."""
    if values.size <= n:
        return values
    starts = np.linspace(0, values.size - CHUNK, n // CHUNK).astype(np.int64)
    return np.concatenate([values[start : start + CHUNK] for start in starts])


def bucket_counts(sample: F32, quantizer: Quantizer, scheme: WordScheme) -> npt.NDArray[np.int64]:
    """Return how often each coded bucket occurs in `sample`, and last all others."""
    grid = grid_tables(quantizer, scheme).grid  # type: ignore[arg-type]
    symbols, buckets = np.empty(sample.size, np.int32), np.empty(sample.size, np.uint8)
    raws = np.empty((3, sample.size), np.uint8)
    symbols_of(sample, grid, np.empty(sample.size, np.float32), symbols)
    split_symbols(symbols, grid, buckets, raws)
    return np.bincount(buckets, minlength=scheme.n_buckets + 1)


def _candidates(sample: F32, quantizer: Quantizer, scheme: WordScheme) -> list[WordScheme]:
    """The fit's own scheme, and for whole symbols those for as many zeros and magnitudes as the sample has."""
    found = [scheme]
    if isinstance(quantizer, Uniform | Minifloat):
        symbols = quantizer.quantize(sample).astype(np.int64)
        magnitudes = np.abs(symbols - (quantizer.form.n_positive if isinstance(quantizer, Minifloat) else 0))
        zero = float(np.mean(magnitudes == 0))
        n = 2 * int(np.quantile(magnitudes, 1 - 2.0**-12)) + 1
        indices = (scheme.beta_index, scheme.ratio_index)
        for n_coded in dict.fromkeys(min(n, most) for most in FEW_BUCKETS):
            found += tuple_schemes(indices, 0, n_coded, 0)[:3:2]  # of one bucket and of two
            if zero > 0.3:
                found += run_schemes(indices, zero, n_coded)[:1]
    else:
        found.append(replace(scheme, n_buckets=MAX_BUCKETS, size=1, origin=0))
    return list(dict.fromkeys(found))


def _weights(counts: npt.NDArray[np.int64], n: int) -> U64:
    """Bucket weights of counts; a bucket that the sample lacks is not impossible."""
    shares = np.maximum(counts, UNSEEN) / max(n, 1)
    return rounded_weights(shares * min(1.0, (1 - 1 / ONE) / shares.sum()))


def _trial_bits(sample: F32, quantizer: Quantizer, codebook: Codebook) -> float:
    """Bits that the codebook takes on the sample."""
    if sample.size == 0:
        return 0.0
    body = encode_body(sample, quantizer, codebook, sample.size, None, 1)
    return 8.0 * sum(len(part) for part in body)

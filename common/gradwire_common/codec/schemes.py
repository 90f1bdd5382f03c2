"""Which words to code a tensor with: a choice that the encoder makes from the fit alone, and the header tells the
decoder.

The bits that candidates take are computed from their code lengths; the least wins. Another choice changes no format.
"""

from dataclasses import replace
from functools import lru_cache

import numpy as np

from gradwire_common.codec.codebooks import BETA_LAST, expected_bits, grid_model, magnitude_weights, n_magnitude_buckets
from gradwire_common.codec.quantizers import FORMATS
from gradwire_common.codec.words import MAX_RUN, MAX_WORDS, ONE, RUNS, TUPLES, WordScheme
from gradwire_common.errors import UsageError

RARE_BUCKET = ONE >> 15  # a bucket of less weight is not coded
MOST_BUCKETS = 250
MOST_BUCKETS_OF_SIZE = (MOST_BUCKETS, 63, 15, 7, 3, 3)  # (n + 1)**size <= MAX_WORDS; odd, for both signs
FEW_MAGNITUDES = 64
COARSE_BETA, COARSE_RATIO = 8, 4  # steps of the grid
BITS_FOR_TIME = 0.005  # share of the bits that a cycle of decoding is worth ...
MOST_EXCESS = 0.0088  # ... up to this share above the entropy; what is beyond it weighs EXCESS_WEIGHT times
EXCESS_WEIGHT = 5.0
MAX_LENGTH = 12  # bits
LENGTHS_AND_DETAILS = ((12, 14), (11, 13))  # of tuples; the smaller table decodes a tenth faster
SEGMENT_BITS = 1 << 17  # predicted bits of a segment: its index costs 0.06 % of that
SEGMENT_QUANTUM = 256  # entries
MAX_SEGMENT_ENTRIES = 1 << 22


def choose_scheme(kind: str, beta_index: int, ratio_index: int) -> tuple[WordScheme, int]:
    """Return the scheme to code a grid model with, and the entries of a segment.

    Neighbours on the grid share a choice, so that the fits of successive gradients rarely need a new one.
    """
    beta_near = min((beta_index + COARSE_BETA // 2) // COARSE_BETA * COARSE_BETA, BETA_LAST)
    ratio_near = (ratio_index + COARSE_RATIO // 2) // COARSE_RATIO * COARSE_RATIO
    scheme, segment = _choose(kind, beta_near, ratio_near)
    return replace(scheme, beta_index=beta_index, ratio_index=ratio_index), segment


@lru_cache(maxsize=4096)
def _choose(kind: str, beta_index: int, ratio_index: int) -> tuple[WordScheme, int]:
    """Return the scheme of least cost, and the entries of a segment."""
    best, best_bits, least = None, 0.0, np.inf
    entropy = _entropy(kind, beta_index, ratio_index)
    for scheme in _candidates(kind, beta_index, ratio_index):
        try:
            bits = expected_bits(kind, scheme)
        except UsageError:  # more words than codes
            continue
        cost = bits * (1 + BITS_FOR_TIME * _decoding_time(scheme, bits, kind))
        cost += EXCESS_WEIGHT * max(bits - (1 + MOST_EXCESS) * entropy, 0)
        if cost < least:
            best, best_bits, least = scheme, bits, cost
    if best is None:
        raise UsageError(f"no words for {kind}, beta index {beta_index}, ratio index {ratio_index}")
    entries = int(SEGMENT_BITS / max(best_bits, SEGMENT_BITS / MAX_SEGMENT_ENTRIES))
    return best, max(entries // SEGMENT_QUANTUM, 1) * SEGMENT_QUANTUM


def _entropy(kind: str, beta_index: int, ratio_index: int) -> float:
    """Bits an entry of the symbols, where few magnitudes have nearly all weight; 0 elsewhere."""
    if kind in ("float32", "bfloat16"):
        return 0.0
    weights = magnitude_weights(kind, 0, beta_index, ratio_index, FEW_MAGNITUDES)[:-1] / ONE
    if weights.sum() < 1 - 1e-4:
        return 0.0
    return float(-(weights * np.log2(weights)).sum() + weights[1:].sum())


def _decoding_time(scheme: WordScheme, bits: float, kind: str) -> float:
    """Rough cycles an entry."""
    if scheme.coding == TUPLES:
        return (0.28 if scheme.max_length < 12 else 0.33) * (bits - scheme.raw_bits) + (
            0.25 if scheme.raw_bits else 0.0
        )
    zero = int(magnitude_weights(kind, 0, scheme.beta_index, scheme.ratio_index, 1)[0]) / ONE
    return 10 * (1 - zero)


def _candidates(kind: str, beta_index: int, ratio_index: int) -> list[WordScheme]:
    """The schemes worth computing."""
    indices = (beta_index, ratio_index)
    if kind in ("float32", "bfloat16"):
        raw_bits = 24 if kind == "float32" else 8
        first, n = _span(magnitude_weights(kind, raw_bits, *indices, 255)[:-1])
        return tuple_schemes(indices, raw_bits, n, first)
    model = grid_model(*indices)
    zero = int(magnitude_weights(kind, 0, *indices, 1)[0]) / ONE
    found = []
    if zero > 0.3:
        weights = magnitude_weights(kind, 0, *indices, FEW_MAGNITUDES)[:-1]
        n_positive = int((weights[1:] >= (1 - zero) * ONE / 4096).sum())
        found += run_schemes(indices, zero, 2 * n_positive + 1)
    if zero > 0.85:
        return found
    if kind in FORMATS:
        for raw_bits in (
            (0,) if FORMATS[kind].mantissa_bits == 1 else (FORMATS[kind].mantissa_bits, FORMATS[kind].mantissa_bits + 1)
        ):
            first, n = _span(magnitude_weights(kind, raw_bits, *indices, n_magnitude_buckets(kind, raw_bits))[:-1])
            if raw_bits == 0:
                first, n = 0, 2 * (first + n) - 1
            if n <= MOST_BUCKETS:
                found += tuple_schemes(indices, raw_bits, n, first)
        return found
    reach = float(model.quantile(1 - 2.0**-16))  # steps
    widths = 0
    for raw_bits in range(9):
        width = 1 << max(raw_bits - 1, 0)
        n = int(reach / width) + 1 if raw_bits else 2 * int(reach + 0.5) + 1
        if n <= MOST_BUCKETS or raw_bits == 8:
            found += tuple_schemes(indices, raw_bits, min(max(n, 2), MOST_BUCKETS), 0)
            widths += 1
            if widths == 3:
                break
    return found


def tuple_schemes(indices: tuple[int, int], raw_bits: int, n: int, origin: int) -> list[WordScheme]:
    """Tuples of one to six buckets, of as many of the `n` as the encoder's table has room for."""
    found = []
    for size, most in enumerate(MOST_BUCKETS_OF_SIZE, start=1):
        n_coded = min(n, most)
        if size == 1 or (2 * n_coded > n and n > 1):
            for max_length, detail in LENGTHS_AND_DETAILS if size < 4 else LENGTHS_AND_DETAILS[:1]:
                found.append(WordScheme(TUPLES, *indices, raw_bits, n_coded, size, detail, max_length, origin))
    return found


def run_schemes(indices: tuple[int, int], zero: float, n: int) -> list[WordScheme]:
    """Runs in classes a fraction of the mean run wide, for a share `zero` of zeros and `n` buckets."""
    n_buckets = min(max(n, 2), MOST_BUCKETS)
    mean = 1 / max(1 - zero, 2.0**-13)
    found = []
    for classes in (8, 16, 32):
        for reach in (0.75, 1.5, 3.0) if classes == 8 else (1.5,):
            detail = min(max(0, round(float(np.log2(mean * reach / classes)))), 8)
            size = min(classes, MAX_RUN >> detail)
            if size * n_buckets < MAX_WORDS // 4:
                found.append(WordScheme(RUNS, *indices, 0, n_buckets, size, detail, MAX_LENGTH))
    return list(dict.fromkeys(found))


def _span(weights: np.ndarray) -> tuple[int, int]:
    """First of the buckets that are coded, and how many are."""
    common = np.flatnonzero(weights >= RARE_BUCKET)
    if common.size == 0:
        return int(np.argmax(weights)), 1
    first = max(int(common[0]), int(common[-1]) - MOST_BUCKETS + 1)
    return first, int(common[-1]) - first + 1

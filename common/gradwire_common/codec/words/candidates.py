"""The schemes of words that are worth computing for a fit."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from gradwire_common.codec.codebook import grid_model, magnitude_weights
from gradwire_common.codec.formats import Format
from gradwire_common.codec.words.scheme import MAX_RUN, MAX_WORDS, ONE, RUNS, TUPLES, WordScheme
from gradwire_common.codec.words.tuning import (
    CLASSES_AND_REACH,
    DETAILS,
    FEW_MAGNITUDES,
    FEW_MORE,
    GROWTHS,
    MAX_LENGTH,
    MORE_CLASSES_AND_REACH,
    MOST_BUCKETS,
    MOST_BUCKETS_OF_SIZE,
    MOST_BUCKETS_TO_GROW,
    MOST_PACKED,
    MOST_WEIGHED,
    RARE_BUCKET,
)

U64 = npt.NDArray[np.uint64]


def few_weights(form: Format, beta_index: int, ratio_index: int) -> U64:
    """Weights of all magnitudes, or the first FEW_MAGNITUDES, and of all others."""
    n = form.buckets.largest + 1
    return magnitude_weights(form, 0, beta_index, ratio_index, n if n <= MOST_WEIGHED else FEW_MAGNITUDES)


def candidate_schemes(form: Format, beta_index: int, ratio_index: int) -> list[WordScheme]:
    """The schemes worth computing."""
    indices = (beta_index, ratio_index)
    found: list[WordScheme] = []
    if form.buckets.signed:
        weights = few_weights(form, *indices)[:-1]
        zero = int(weights[0]) / ONE
        if zero > 0.3:
            n_positive = int((weights[1:] >= (1 - zero) * ONE / 4096).sum())
            found += run_schemes(indices, zero, 2 * n_positive + 1)
        if zero > 0.85:
            return found
    spans = _weighed_spans if form.buckets.largest < MOST_WEIGHED else _reached_spans
    return found + [scheme for span in spans(form, indices) for scheme in tuple_schemes(indices, *span)]


def _weighed_spans(form: Format, indices: tuple[int, int]) -> Iterator[tuple[int, int, int]]:
    """Raw bits, number and first of the buckets worth coding, of few magnitudes."""
    for raw_bits in form.buckets.tried_raw_bits:
        n_all = form.buckets.n_magnitude_buckets(raw_bits)
        first, n = _span(magnitude_weights(form, raw_bits, *indices, n_all)[:-1])
        if raw_bits == 0:
            first, n = 0, 2 * (first + n) - 1
        if n <= MOST_BUCKETS:
            yield raw_bits, n, first


def _reached_spans(form: Format, indices: tuple[int, int]) -> Iterator[tuple[int, int, int]]:
    """Raw bits, number and first of the buckets worth coding, of more magnitudes than are weighed."""
    reach = float(grid_model(*indices).quantile(1 - 2.0**-16))  # in units of the quantiser
    tried = form.buckets.tried_raw_bits
    for raw_bits in tried:
        n = int(reach / form.buckets.width(raw_bits)) + 1 if raw_bits else 2 * int(reach + 0.5) + 1
        if MOST_PACKED < n < MOST_PACKED + FEW_MORE:
            n = MOST_PACKED
        if n <= MOST_BUCKETS << 2 * (raw_bits == 0) or raw_bits == tried[-1]:
            yield raw_bits, min(max(n, 2), MOST_BUCKETS), 0
        if n <= MOST_BUCKETS >> (raw_bits > 0):
            break


def tuple_schemes(
    indices: tuple[int, int], raw_bits: int, n: int, origin: int, details: Sequence[int] = DETAILS
) -> list[WordScheme]:
    """Tuples of one to six buckets, of as many of the `n` as the encoder's table has room for, with the longest
    codes.
    """
    found = []
    for size, most in enumerate(MOST_BUCKETS_OF_SIZE, start=1):
        n_coded = min(n, most)
        if size == 1 or (2 * n_coded > n and n > 1):
            for detail in details:
                found.append(WordScheme(TUPLES, *indices, raw_bits, n_coded, size, detail, MAX_LENGTH, origin))
    return found


def growing_schemes(whole: Sequence[WordScheme]) -> list[WordScheme]:
    """Tuples that grow, of the buckets that some of the schemes `whole` code one by one."""
    found = []
    for scheme in whole:
        if scheme.coding == TUPLES and scheme.size == 1 and scheme.detail == DETAILS[0]:
            for size, most in MOST_BUCKETS_TO_GROW.items():
                n_coded = min(scheme.n_buckets, most)
                if 2 * n_coded > scheme.n_buckets:
                    found += [replace(scheme, n_buckets=n_coded, size=size, growth=growth) for growth in GROWTHS]
    return found


def run_schemes(
    indices: tuple[int, int], zero: float, n: int, classes_and_reach: Sequence[tuple[int, float]] = CLASSES_AND_REACH
) -> list[WordScheme]:
    """Runs in classes that together reach some times the mean run, for a share `zero` of zeros and `n` buckets."""
    n_buckets = min(max(n, 2), MOST_BUCKETS)
    mean = 1 / max(1 - zero, 2.0**-13)
    found = []
    for classes, reach in classes_and_reach:
        detail = min(max(0, round(float(np.log2(mean * reach / classes)))), 8)
        size = min(classes, MAX_RUN >> detail)
        if size * n_buckets < MAX_WORDS // 4:
            found.append(WordScheme(RUNS, *indices, 0, n_buckets, size, detail, MAX_LENGTH))
    return list(dict.fromkeys(found))


def more_run_schemes(runs: Sequence[WordScheme], zero: float) -> list[WordScheme]:
    """Runs in other classes than those of the schemes `runs`, and with a magnitude less."""
    for scheme in runs:
        if scheme.coding == RUNS:
            indices, n = (scheme.beta_index, scheme.ratio_index), scheme.n_buckets
            more = MORE_CLASSES_AND_REACH
            return run_schemes(indices, zero, n, more) + run_schemes(indices, zero, n - 2, more)
    return []


def _span(weights: np.ndarray) -> tuple[int, int]:
    """First of the buckets that are coded, and how many are."""
    common = np.flatnonzero(weights >= RARE_BUCKET)
    if common.size == 0:
        return int(np.argmax(weights)), 1
    first = max(int(common[0]), int(common[-1]) - MOST_BUCKETS + 1)
    return first, int(common[-1]) - first + 1

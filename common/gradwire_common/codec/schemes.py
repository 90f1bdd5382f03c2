"""Which words to code a tensor with: a choice that the encoder makes from the fit alone, and the header tells the decoder.

The bits that candidates take are computed from their code lengths; the least wins. Another choice changes no format.
"""

from functools import lru_cache

import numpy as np

from gradwire_common.codec.codebooks import expected_bits, grid_model, magnitude_weights, n_magnitude_buckets
from gradwire_common.codec.quantizers import FORMATS
from gradwire_common.codec.words import MAX_RUN, MAX_WORDS, ONE, RUNS, TUPLES, WordScheme
from gradwire_common.errors import UsageError

RARE_BUCKET = ONE >> 15  # a bucket of less weight is not coded
MOST_BUCKETS = 120
MAX_LENGTH = 12  # bits
TUPLE_DETAIL = 14
SEGMENT_BITS = 1 << 17  # predicted bits of a segment: its index costs 0.06 % of that
SEGMENT_QUANTUM = 256  # entries
MAX_SEGMENT_ENTRIES = 1 << 22


@lru_cache(maxsize=4096)
def choose_scheme(kind: str, beta_index: int, ratio_index: int) -> tuple[WordScheme, int]:
    """Return the scheme of least expected bits for a grid model, and the entries of a segment."""
    best, best_bits = None, np.inf
    for scheme in _candidates(kind, beta_index, ratio_index):
        bits = expected_bits(kind, scheme)
        if bits < best_bits:
            best, best_bits = scheme, bits
    if best is None:
        raise UsageError(f"no words for {kind}, beta index {beta_index}, ratio index {ratio_index}")
    entries = int(SEGMENT_BITS / max(best_bits, SEGMENT_BITS / MAX_SEGMENT_ENTRIES))
    return best, max(entries // SEGMENT_QUANTUM, 1) * SEGMENT_QUANTUM


def _candidates(kind: str, beta_index: int, ratio_index: int) -> list[WordScheme]:
    """The schemes worth computing."""
    indices = (beta_index, ratio_index)
    if kind in ("float32", "bfloat16"):
        raw_bits = 24 if kind == "float32" else 8
        first, n = _span(magnitude_weights(kind, raw_bits, *indices, 255))
        return _tuples(indices, raw_bits, n, first, (1, 2))
    model = grid_model(*indices)
    zero = int(magnitude_weights(kind, 0, *indices, 1)[0]) / ONE
    found = []
    if zero > 0.4:
        found += _runs(kind, indices, zero)
    if kind in FORMATS:
        for raw_bits in range(min(4, FORMATS[kind].mantissa_bits + 2)):
            n_all = n_magnitude_buckets(kind, raw_bits)
            first, n = _span(magnitude_weights(kind, raw_bits, *indices, n_all))
            if raw_bits == 0:
                first, n = 0, 2 * (first + n) - 1
            if n <= MOST_BUCKETS:
                found += _tuples(indices, raw_bits, n, first, (1, 2, 3))
        return found
    reach = float(model.quantile(1 - 2.0**-16))  # steps
    for raw_bits in range(9):
        width = 1 << max(raw_bits - 1, 0)
        n = int(reach / width) + 1 if raw_bits else 2 * int(reach + 0.5) + 1
        if n <= MOST_BUCKETS or raw_bits == 8:
            found += _tuples(indices, raw_bits, min(max(n, 2), MOST_BUCKETS), 0, (1, 2, 3, 4))
            if len({scheme.raw_bits for scheme in found if scheme.coding == TUPLES}) == 2:
                break
    return found


def _tuples(indices: tuple[int, int], raw_bits: int, n: int, origin: int, sizes: tuple[int, ...]) -> list[WordScheme]:
    return [
        WordScheme(TUPLES, *indices, raw_bits, n, size, TUPLE_DETAIL, MAX_LENGTH, origin)
        for size in sizes
        if size == 1 or (n + 1) ** size <= MAX_WORDS
    ]


def _runs(kind: str, indices: tuple[int, int], zero: float) -> list[WordScheme]:
    """Runs whose longest word is a coin's toss, in classes a fraction of the mean run."""
    weights = magnitude_weights(kind, 0, *indices, 1 + MOST_BUCKETS // 4)
    n_magnitudes = 1 + int((weights[1:] >= (1 - zero) * ONE / 4096).sum())
    n_buckets = min(2 * n_magnitudes - 1, MOST_BUCKETS)
    mean = 1 / max(1 - zero, 2.0**-13)
    found = []
    for classes in (8, 16, 32):
        for reach in (0.75, 1.5, 3.0):
            detail = max(0, round(float(np.log2(mean * reach / classes))))
            size = min(classes, MAX_RUN >> min(detail, 8))
            if detail <= 8 and size * n_buckets < MAX_WORDS // 4:
                scheme = WordScheme(RUNS, *indices, 0, n_buckets, size, detail, MAX_LENGTH)
                if scheme not in found:
                    found.append(scheme)
    return found


def _span(weights: np.ndarray) -> tuple[int, int]:
    """First of the buckets that are coded, and how many are."""
    common = np.flatnonzero(weights >= RARE_BUCKET)
    if common.size == 0:
        return int(np.argmax(weights)), 1
    first = max(int(common[0]), int(common[-1]) - MOST_BUCKETS + 1)
    return first, int(common[-1]) - first + 1

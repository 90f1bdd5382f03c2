"""Which words to code a tensor with: a choice that the encoder makes from the fit alone, and the header tells the
decoder.

The bits that candidates take are computed from their code lengths; the least wins. Another choice changes no format.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from operator import itemgetter

import numpy as np
import numpy.typing as npt

from gradwire_common.codec.codebook import BETA_LAST, grid_model, magnitude_weights
from gradwire_common.codec.formats import Format
from gradwire_common.codec.kernels.native.vector_lookups import PACKED_SYMBOLS
from gradwire_common.codec.kernels.words.tables import PACKED_WIDTHS
from gradwire_common.codec.words.costs import ExpectedBits
from gradwire_common.codec.words.scheme import MAX_RUN, MAX_WORDS, ONE, RUNS, TUPLES, WordScheme
from gradwire_common.errors import UsageError

U64 = npt.NDArray[np.uint64]

RARE_BUCKET = ONE >> 15  # a bucket of less weight is not coded
MOST_BUCKETS = 250
MOST_BUCKETS_OF_SIZE = (MOST_BUCKETS, 63, 15, 7, 3, 3)  # (n + 1)**size <= MAX_WORDS; odd, for both signs
MOST_BUCKETS_TO_GROW = {2: 63, 3: 23, 4: 9, 5: 5}  # by size; (n + 1)**size <= MAX_GROWN_TUPLES
GROWTHS = (11, 15, 20, 23, 29)  # with all of 2 to 43, uniform at 90 rates would lose a hundredth less
FEW_ENTRIES = 1 << 16  # of fewer, half a percent of the bits is at most 80 bytes: not worth a millisecond's choice
FEW_MAGNITUDES = 64
MOST_WEIGHED = 255  # magnitudes of a format that are all weighed; of more, those within reach
FEW_MORE = 6  # buckets
COARSE_BETA, COARSE_RATIO = 4, 2  # steps of the grid
BITS_FOR_TIME = 0.006  # share of the bits that a cycle of decoding is worth ...
MOST_EXCESS = 0.0088  # ... up to this share above the entropy; what is beyond it weighs EXCESS_WEIGHT times
EXCESS_WEIGHT = 9.0
PROMISED_EXCESS = 0.0097  # of the words; index, rest of the last byte and the fit's error make it a percent
BROKEN_PROMISE = 0.02  # share of the bits
LOOK_UP, SLOW_LOOK_UP, RARE_WORD, RARE_BUCKET_TIME, RAW_TIME = 2.0, 3.0, 40, 15, 0.2  # cycles; docs/performance.md
RUN_TIME = 20  # cycles of a run's word, half of them by encoding it
PARSE_TIME = 2.5  # cycles that encoding an entry takes more where words grow
CUT_WORDS = 0.4  # of a word: what the end of a look-up's bits mostly holds
MOST_PACKED = (1 << min(PACKED_WIDTHS)) - 3  # buckets of which PACKED_SYMBOLS fit in a look-up, else one less
MAX_LENGTH = 12  # bits
DETAILS = (14, 13, 12)  # of tuples; with more words, the limit to their codes' length costs more than it gains
CLASSES_AND_REACH = ((8, 0.75), (8, 1.5), (8, 3.0), (16, 1.5), (32, 1.5), (4, 1.5))  # of runs; reach in mean runs
MORE_CLASSES_AND_REACH = ((12, 2.6), (16, 3.3), (20, 2.0), (6, 0.65), (5, 2.0))
SEGMENT_BITS = 6 << 16  # predicted bits of a segment: its index costs 0.02 % of that
SEGMENT_QUANTUM = 256  # entries
MAX_SEGMENT_ENTRIES = 1 << 22


def choose_scheme(
    form: Format, beta_index: int, ratio_index: int, n_entries: int = FEW_ENTRIES
) -> tuple[WordScheme, int]:
    """Return the scheme to code `n_entries` of a grid model with, and the entries of a segment."""
    return shared_choice(form, beta_index, ratio_index, n_entries >= FEW_ENTRIES)


@lru_cache(maxsize=4096)
def shared_choice(form: Format, beta_index: int, ratio_index: int, thorough: bool) -> tuple[WordScheme, int]:
    """Return a choice that neighbours on the grid share, so that successive gradients rarely need a new one.

    Where it is `thorough`, only if it is good enough for this model too.
    """
    beta_near = min((beta_index + COARSE_BETA // 2) // COARSE_BETA * COARSE_BETA, BETA_LAST)
    ratio_near = (ratio_index + COARSE_RATIO // 2) // COARSE_RATIO * COARSE_RATIO
    scheme, segment = chosen(form, beta_near, ratio_near, thorough)
    scheme = replace(scheme, beta_index=beta_index, ratio_index=ratio_index)
    promised = (1 + PROMISED_EXCESS) * _entropy(form, beta_index, ratio_index)
    if thorough and promised > 0 and ExpectedBits(form, scheme).bits(scheme.max_length) > promised:
        return chosen(form, beta_index, ratio_index, thorough)
    return scheme, segment


@lru_cache(maxsize=4096)
def chosen(form: Format, beta_index: int, ratio_index: int, thorough: bool) -> tuple[WordScheme, int]:
    """Return the scheme of least cost, and the entries of a segment; a `thorough` choice is among more."""
    entropy = _entropy(form, beta_index, ratio_index)
    enough, promised = (1 + MOST_EXCESS) * entropy, (1 + PROMISED_EXCESS) * entropy
    zero = int(_few_weights(form, beta_index, ratio_index)[0]) / ONE

    def cost(scheme: WordScheme, bits: float, words: ExpectedBits) -> float:
        spent = bits * (1 + BITS_FOR_TIME * _time(scheme, bits, words)) + EXCESS_WEIGHT * max(bits - enough, 0)
        return spent + (BROKEN_PROMISE * bits if bits > promised else 0.0)

    candidates = _candidates(form, beta_index, ratio_index)
    best = _cheapest(form, candidates, cost, np.inf)
    if best is None:
        raise UsageError(f"no words for {form.name}, beta index {beta_index}, ratio index {ratio_index}")
    least, scheme, bits = best
    if thorough and entropy > 0 and (bits > enough or scheme.coding == RUNS):
        more = growing_schemes(candidates) + (_more_run_schemes(candidates, zero) if bits > enough else [])
        _, scheme, bits = _cheapest(form, more, cost, least) or best
    entries = int(SEGMENT_BITS / max(bits, SEGMENT_BITS / MAX_SEGMENT_ENTRIES))
    return scheme, max(entries // SEGMENT_QUANTUM, 1) * SEGMENT_QUANTUM


def _cheapest(
    form: Format, candidates: list[WordScheme], cost: Callable[[WordScheme, float, ExpectedBits], float], least: float
) -> tuple[float, WordScheme, float] | None:
    """The candidate of the least cost, that cost first, and its bits an entry; None where none costs less than `least`.

    Bounds of the bits are computed for all, and what is dearer for those that they leave.
    """
    trials, best = [], None
    for scheme in candidates:
        expected = ExpectedBits(form, scheme)
        trials.append((cost(scheme, expected.least, expected), scheme, expected))
    for bound, scheme, expected in sorted(trials, key=itemgetter(0)):
        if bound >= least:
            break
        if cost(scheme, expected.unlimited, expected) >= least:
            continue
        bits = expected.bits(scheme.max_length)
        if cost(scheme, bits, expected) < least:
            least = cost(scheme, bits, expected)
            best = least, scheme, bits
    return best


def _entropy(form: Format, beta_index: int, ratio_index: int) -> float:
    """Bits an entry of the symbols, where few magnitudes have nearly all weight; 0 elsewhere."""
    if not form.buckets.signed:
        return 0.0
    shares = _few_weights(form, beta_index, ratio_index) / ONE
    weights, beyond = shares[:-1], shares[-1]
    if beyond > 1e-4:
        return 0.0
    return float(-(weights * np.log2(weights)).sum() + weights[1:].sum())


def _few_weights(form: Format, beta_index: int, ratio_index: int) -> U64:
    """Weights of all magnitudes, or the first FEW_MAGNITUDES, and of all others."""
    n = form.buckets.largest + 1
    return magnitude_weights(form, 0, beta_index, ratio_index, n if n <= MOST_WEIGHED else FEW_MAGNITUDES)


def _time(scheme: WordScheme, bits: float, words: ExpectedBits) -> float:
    """Rough cycles of decoding an entry, and those of encoding that runs and words that grow take more than others."""
    if scheme.coding != TUPLES:
        return RUN_TIME / words.size
    slots = PACKED_SYMBOLS if scheme.n_buckets <= MOST_PACKED else PACKED_SYMBOLS - 1
    fitting = slots / words.size if scheme.growth else slots // scheme.size
    n_words = MAX_LENGTH / (words.size * max(bits - scheme.raw_bits, 0.1)) - CUT_WORDS
    look_ups = (LOOK_UP if scheme.size <= slots else SLOW_LOOK_UP) / min(max(n_words, 1), max(fitting, 1))
    look_ups += words.rare * (RARE_WORD + RARE_BUCKET_TIME * scheme.size)
    return look_ups / words.size + (RAW_TIME if scheme.raw_bits else 0.0) + (PARSE_TIME if scheme.growth else 0.0)


def _candidates(form: Format, beta_index: int, ratio_index: int) -> list[WordScheme]:
    """The schemes worth computing."""
    indices = (beta_index, ratio_index)
    found: list[WordScheme] = []
    if form.buckets.signed:
        weights = _few_weights(form, *indices)[:-1]
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


def _more_run_schemes(runs: Sequence[WordScheme], zero: float) -> list[WordScheme]:
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

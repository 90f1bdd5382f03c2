"""Which words to code a tensor with: a choice that the encoder makes from the fit alone, and the header tells the
decoder.

The bits that candidates take are computed from their code lengths; the least wins. Another choice changes no format.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from operator import itemgetter

import numpy as np

from gradwire_common.codec.codebook import BETA_LAST
from gradwire_common.codec.formats import Format
from gradwire_common.codec.kernels.native.vector_lookups import PACKED_SYMBOLS
from gradwire_common.codec.words.candidates import (
    candidate_schemes,
    few_weights,
    growing_schemes,
    more_run_schemes,
)
from gradwire_common.codec.words.costs import ExpectedBits
from gradwire_common.codec.words.scheme import ONE, RUNS, TUPLES, WordScheme
from gradwire_common.codec.words.tuning import (
    BITS_FOR_TIME,
    BROKEN_PROMISE,
    COARSE_BETA,
    COARSE_RATIO,
    CUT_WORDS,
    EXCESS_WEIGHT,
    FEW_ENTRIES,
    LOOK_UP,
    MAX_LENGTH,
    MAX_SEGMENT_ENTRIES,
    MOST_EXCESS,
    MOST_PACKED,
    PARSE_TIME,
    PROMISED_EXCESS,
    RARE_BUCKET_TIME,
    RARE_WORD,
    RAW_TIME,
    RUN_TIME,
    SEGMENT_BITS,
    SEGMENT_QUANTUM,
    SLOW_LOOK_UP,
)
from gradwire_common.errors import UsageError


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
    zero = int(few_weights(form, beta_index, ratio_index)[0]) / ONE

    def cost(scheme: WordScheme, bits: float, words: ExpectedBits) -> float:
        spent = bits * (1 + BITS_FOR_TIME * _time(scheme, bits, words)) + EXCESS_WEIGHT * max(bits - enough, 0)
        return spent + (BROKEN_PROMISE * bits if bits > promised else 0.0)

    candidates = candidate_schemes(form, beta_index, ratio_index)
    best = _cheapest(form, candidates, cost, np.inf)
    if best is None:
        raise UsageError(f"no words for {form.name}, beta index {beta_index}, ratio index {ratio_index}")
    least, scheme, bits = best
    if thorough and entropy > 0 and (bits > enough or scheme.coding == RUNS):
        more = growing_schemes(candidates) + (more_run_schemes(candidates, zero) if bits > enough else [])
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
    shares = few_weights(form, beta_index, ratio_index) / ONE
    weights, beyond = shares[:-1], shares[-1]
    if beyond > 1e-4:
        return 0.0
    return float(-(weights * np.log2(weights)).sum() + weights[1:].sum())


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

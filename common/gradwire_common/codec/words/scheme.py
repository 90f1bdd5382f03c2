"""Words: the pieces of a source that one codeword stands for, and their weights under a model.

A symbol is split in a bucket, which is coded, and raw low bits, which are not. Buckets then form words in one of two
ways:

    TUPLES  `size` successive buckets are a word; tuples rarer than 2**-detail share one rare word, and their buckets
            travel in a list of their own with a code of its own (symbol blocks, the k-th extension of the source).
            With a `growth` a word has up to `size` buckets: it grows from the first bucket on for as long as its weight
            reaches `growth_weight` (Tunstall's parse tree; with Huffman's code a variable-to-variable one)
    RUNS    zeros up to the next bucket that is not zero are a word with it: the run's class, 2**detail zeros wide, and
            the bucket are coded together, the place within the class is raw; a word more is `size` classes of zeros and
            no bucket

Everything here is whole numbers: weights have the unit 2**-30.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gradwire_common.codec.kernels.words.costs import weigh_runs
from gradwire_common.errors import BitstreamError

U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

RAW, TUPLES, RUNS = 0, 1, 2  # codings of a frame
WEIGHT_BITS = 30
ONE = 1 << WEIGHT_BITS  # the weight of certainty
SIGNIFICANT_BITS = 12  # of a bucket's weight; the last bit of a floating-point library is far below them
MAX_BUCKETS = 254  # coded alphabet; buckets are bytes, 255 marks a rare tuple
MAX_WORDS = 4096
MAX_TUPLE = 6
MAX_GROWN_TUPLES = 1 << 14  # numbers of tuples have 16 bits, and the encoder's table should stay in the caches
MAX_GROWTH = 63
MAX_RUN = 4096  # entries in one word; bounds what a frame of n bytes can claim to hold


@dataclass(frozen=True, slots=True)
class WordScheme:
    """How entries become words, as the header has it. Checked at birth.

    Attributes:
        coding: TUPLES or RUNS.
        beta_index, ratio_index: The fit on the codebook grid; `codebooks.grid_model` gives it.
        raw_bits: Low bits of every symbol that travel uncoded: 0 to 8, or 24 for float32.
        n_buckets: Buckets 0..n_buckets - 1 are coded; any other is rare.
        size: TUPLES: buckets in a word. RUNS: run classes.
        detail: TUPLES: a word has a weight of at least 2**-detail. RUNS: a class is 2**detail zeros wide.
        max_length: Longest code, in bits.
        origin: The symbol bucket that is bucket 0; lower ones wrap around.
        growth: TUPLES: 0 where all words have `size` buckets; else how light a shorter one is, see `growth_weight`.
    """

    coding: int
    beta_index: int
    ratio_index: int
    raw_bits: int
    n_buckets: int
    size: int
    detail: int
    max_length: int
    origin: int = 0
    growth: int = 0

    def __post_init__(self) -> None:
        for name, got, low, high in (
            ("raw bits", self.raw_bits, 0, 8 if self.raw_bits != 24 else 24),
            ("buckets", self.n_buckets, 1, MAX_BUCKETS),
            ("longest code", self.max_length, 8, 12),
            ("word size", self.size, 2 if self.growth else 1, MAX_TUPLE if self.coding == TUPLES else MAX_RUN),
            ("detail", self.detail, 8 if self.coding == TUPLES else 0, 20 if self.coding == TUPLES else 8),
            ("growth", self.growth, 0, MAX_GROWTH if self.coding == TUPLES else 0),
        ):
            if not low <= got <= high:
                raise BitstreamError(f"frame's {name} is {got}, want {low} to {high}")
        most = MAX_GROWN_TUPLES if self.growth else MAX_WORDS
        if self.coding == TUPLES and (self.n_buckets + 1) ** self.size > most:
            raise BitstreamError(f"frame has {self.n_buckets + 1}**{self.size} tuples, want at most {most}")
        if self.coding == RUNS and (self.size << self.detail > MAX_RUN or self.size * self.n_buckets >= MAX_WORDS):
            raise BitstreamError(f"frame has runs of {self.size} * 2**{self.detail} zeros, want at most {MAX_RUN}")
        if self.coding == RUNS and (self.raw_bits or self.origin):
            raise BitstreamError("frame codes runs with raw bits or an origin, want neither")

    @property
    def n_words(self) -> int:
        """Words of a RUNS codebook; a TUPLES codebook has at most `n_tuples` + 1."""
        return int(self.size * self.n_buckets + 1)

    @property
    def n_tuples(self) -> int:
        """Tuples of n_buckets + 1 buckets, the last of which stands for all rare ones."""
        return int((self.n_buckets + 1) ** self.size)

    @property
    def layout(self) -> tuple[int, int, int, int, int]:
        """What the weights of buckets depend on, whatever the words: raw bits, buckets, origin and the two indices."""
        return self.raw_bits, self.n_buckets, self.origin, self.beta_index, self.ratio_index

    @property
    def growth_weight(self) -> int:
        """TUPLES: weight of the words that grow, all where `growth` is 0; 7/8, 3/4, 5/8, 1/2, 7/16 ... of ONE else."""
        return 0 if self.growth == 0 else (8 - self.growth % 4 << WEIGHT_BITS - 3) >> self.growth // 4


def rounded_weights(probabilities: npt.NDArray[np.float64]) -> U64:
    """Return `probabilities` as weights of SIGNIFICANT_BITS significant bits, uint64, at least 1."""
    fraction, exponent = np.frexp(np.maximum(probabilities, 0) * ONE)
    rounded = np.ldexp(np.rint(np.ldexp(fraction, SIGNIFICANT_BITS)), exponent - SIGNIFICANT_BITS)
    return np.asarray(np.maximum(np.rint(rounded), 1), np.uint64)


class TupleWords(NamedTuple):
    """The words of a TUPLES scheme.

    Attributes:
        tuples: (n,) int64, ascending: their buckets as digits to the base n_buckets + 1, the first bucket the highest;
            those of fewer than `size` buckets are filled up with zeros.
        sizes: (n + 1,) uint8, their buckets; the last is the rare word's.
        weights: (n + 1,), the last that of the rare word.
        rare: (n_buckets + 1,) weights of the rare list's code, the last that of buckets that are not coded.
    """

    tuples: I64
    sizes: U8
    weights: U64
    rare: U64


def tuple_words(scheme: WordScheme, buckets: U64) -> TupleWords:
    """Return the words of a TUPLES scheme, given the (n_buckets + 1,) weights of buckets, the last that of all that are
    not coded.
    """
    base, n = scheme.n_buckets + 1, scheme.n_buckets
    buckets, beyond = buckets[:n], max(int(buckets[n]), 1)
    growing, digits = buckets, np.arange(n, dtype=np.int64)
    grown: list[tuple[U64, I64, U8]] = []
    for size in range(1, scheme.size):
        grows = growing >= np.uint64(scheme.growth_weight)
        grown.append(_words_of(growing[~grows], digits[~grows] * base ** (scheme.size - size), size))
        growing = (growing[grows][:, None] * buckets[None, :] >> np.uint64(WEIGHT_BITS)).ravel()
        digits = (digits[grows][:, None] * base + np.arange(n)[None, :]).ravel()
    grown.append(_words_of(growing, digits, scheme.size))
    weights, tuples, sizes = (np.concatenate(parts) for parts in zip(*grown, strict=True))
    order = np.argsort(tuples, kind="stable")  # quick where they are sorted
    order = order[weights[order] >= np.uint64(max(ONE >> scheme.detail, 1))]
    weights, tuples, sizes = weights[order], tuples[order], np.append(sizes[order], np.uint8(scheme.size))
    rest = max(ONE - int(weights.sum()), 1)
    rare = np.zeros(base, np.int64)
    for place in range(scheme.size if scheme.growth else 1):  # in words of one size all places are alike
        covered, reaches = np.zeros(base, np.int64), sizes[:-1] > place
        np.add.at(
            covered, tuples[reaches] // base ** (scheme.size - 1 - place) % base, weights[reaches].astype(np.int64)
        )
        open_weights = np.append(buckets, np.uint64(beyond))
        ended = open_weights * weights[~reaches].sum() >> np.uint64(WEIGHT_BITS)
        rare += np.maximum(open_weights.astype(np.int64) - ended.astype(np.int64) - covered, 0)
    return TupleWords(tuples, sizes, np.append(weights, np.uint64(rest)), np.maximum(rare, 1).astype(np.uint64))


def _words_of(weights: U64, tuples: I64, size: int) -> tuple[U64, I64, U8]:
    return weights, tuples, np.full(weights.size, size, np.uint8)


def run_words(scheme: WordScheme, buckets: U64) -> U64:
    """Return the weights of the words of a RUNS scheme.

    Word class * n_buckets + bucket - 1 is a run of that class before that bucket, bucket n_buckets standing for all
    rare ones; the last word is zeros only.

    Args:
        scheme: With coding RUNS.
        buckets: (n_buckets + 1,) weights; the first is that of zero and not looked at, the last that of all rare ones.
    """
    words = np.empty(scheme.n_words, np.uint64)
    weigh_runs(buckets, scheme.size, scheme.detail, words)
    return words

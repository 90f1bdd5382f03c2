"""The bits that a scheme's code takes on its own model, without building its codebook."""

from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt

from gradwire_common.codec.codebook import bucket_weights, layout_weights
from gradwire_common.codec.formats import Format
from gradwire_common.codec.kernels.words import costs
from gradwire_common.codec.words.scheme import MAX_WORDS, ONE, TUPLES, WordScheme, run_words
from gradwire_common.codec.words.tuning import EXTRA_BITS

U64 = npt.NDArray[np.uint64]


class ExpectedBits:
    """Bits an entry of a scheme's code on its own model, raw bits included.

    Attributes:
        least: What no code of the scheme's words goes below, whatever its longest code.
        rare: TUPLES: the share of rare words.
        size: Mean buckets of a word.
    """

    def __init__(self, form: Format, scheme: WordScheme):
        weights = bucket_weights(form, scheme)
        if scheme.coding == TUPLES:
            words, rare = np.empty(MAX_WORDS + 1, np.uint64), np.empty(weights.size, np.uint64)
            least, growth = max(ONE >> scheme.detail, 1), scheme.growth_weight
            n, self._entries = costs.keep_tuples(
                likeliest_first(form, scheme.layout), scheme.size, least, growth, words, rare
            )
            if n == 0:
                words[0], n, self._entries = ONE, 1, float(ONE)
                self._fixed = np.inf  # more words than codes
            else:
                self._fixed = float(scheme.raw_bits)
            self._words, self._rare, self.rare = words[:n], rare, float(words[n - 1]) / ONE
            self.size = self._entries / ONE
            self._rare_words = scheme.size * float(words[n - 1]) / float(rare.sum())  # a unit of the rare list's sum
        else:
            self.rare = 0.0
            self._words, self._rare, self._rare_words = run_words(scheme, weights), weights[:0], 0.0
            stop, total = float(np.maximum(weights[1:], 1).sum()) / ONE, float(self._words.sum())
            self._entries = total * (1 - (1 - stop) ** (scheme.size << scheme.detail)) / stop
            self.size = self._entries / total
            self._fixed = scheme.detail * (1 - float(self._words[-1]) / total) * total / self._entries
        self._fixed += float(weights[-1]) / ONE * EXTRA_BITS
        self.least = self._bits(costs.entropy_sum(self._words), costs.entropy_sum(self._rare))

    @cached_property
    def unlimited(self) -> float:
        """The bits with Huffman's code, however long."""
        return self._bits(costs.huffman_sum(self._ascending), costs.huffman_sum(self._ascending_rare))

    def bits(self, max_length: int) -> float:
        """Return the bits with codes of at most `max_length` bits, inf where words are more than codes."""
        words = costs.limited_sum(self._ascending, max_length)
        return self._bits(words, costs.limited_sum(self._ascending_rare, max_length))

    @cached_property
    def _ascending(self) -> U64:
        return np.sort(self._words)

    @cached_property
    def _ascending_rare(self) -> U64:
        return np.sort(self._rare)

    def _bits(self, words: float, rare: float) -> float:
        return (words + self._rare_words * rare) / self._entries + self._fixed


@lru_cache(maxsize=64)
def likeliest_first(form: Format, layout: tuple[int, ...]) -> U64:
    """Return the weights of the coded buckets, descending, and that of all others; not to be changed."""
    weights = layout_weights(form, *layout)
    return np.append(np.sort(weights[:-1])[::-1], weights[-1])

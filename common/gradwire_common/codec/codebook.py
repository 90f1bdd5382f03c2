"""Codebooks: code lengths with every table derived from them, named by two small integers and cached.

    fit -> grid (beta index, ratio index) -> weights of the buckets -> words and weights -> code lengths -> tables

Both ends walk the same way from the indices on; the fingerprint of the code lengths in the frame tells whether they
arrived at the same place.
"""

import math
import zlib
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from gradwire_common.codec.formats import Format
from gradwire_common.codec.huffman import check_lengths, code_lengths
from gradwire_common.codec.kernels.native.vector_lookups import PACKED_SYMBOLS
from gradwire_common.codec.kernels.words import tables
from gradwire_common.codec.model.gennorm import GenNorm
from gradwire_common.codec.words.scheme import (
    MAX_WORDS,
    ONE,
    TUPLES,
    WordScheme,
    rounded_weights,
    run_words,
    tuple_words,
)

U8 = npt.NDArray[np.uint8]
U16 = npt.NDArray[np.uint16]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

BETA_LOW = 0.2  # shape of beta index 0
BETA_PER_OCTAVE = 48
BETA_LAST = 255
RATIO_PER_OCTAVE = 32  # a ratio that is off by half of it costs less than 0.03 % of the bits
RATIO_LIMIT = 32767
MANY_MAGNITUDES = 64  # the functions of the model are computed for so many at once
CACHED_CODEBOOKS = 256  # of at most 130 KB, 250 KB where words grow


def grid_indices(model: GenNorm, unit: float) -> tuple[int, int]:
    """Return the beta index and the ratio index nearest to `model`, the ratio being `unit` / alpha."""
    beta_index = round(BETA_PER_OCTAVE * math.log2(model.beta / BETA_LOW))
    ratio_index = round(RATIO_PER_OCTAVE * (math.log2(unit) - math.log2(model.alpha)))
    return min(max(beta_index, 0), BETA_LAST), min(max(ratio_index, -RATIO_LIMIT), RATIO_LIMIT)


def grid_model(beta_index: int, ratio_index: int) -> GenNorm:
    """Return the model of a codebook, in units of the quantiser (step size, 1 / scale, or 1)."""
    ratio = 2.0 ** (ratio_index / RATIO_PER_OCTAVE)
    return GenNorm(BETA_LOW * 2.0 ** (beta_index / BETA_PER_OCTAVE), 1 / ratio)


@lru_cache(maxsize=1024)
def magnitude_weights(form: Format, raw_bits: int, beta_index: int, ratio_index: int, n: int) -> U64:
    """Return the weights of the first `n` magnitude buckets under the grid's model, and that of all others."""
    all_of_them = -(-n // MANY_MAGNITUDES) * MANY_MAGNITUDES
    inside, outside = inside_and_outside(form, raw_bits, beta_index, ratio_index, all_of_them)
    inside, outside = inside[: n + 1], outside[: n + 1]
    masses = np.where(inside[:-1] < 0.5, np.diff(inside), -np.diff(outside))
    return rounded_weights(np.append(masses, outside[-1]))


@lru_cache(maxsize=64)
def inside_and_outside(form: Format, raw_bits: int, beta_index: int, ratio_index: int, n: int) -> tuple[F64, F64]:
    """Return the shares of magnitudes below the borders of the buckets 0..n and above: what few and many buckets share.

    (n + 1,) float64 each, not to be changed.
    """
    model = grid_model(beta_index, ratio_index)
    borders = form.lower_borders(np.arange(n + 1) * form.buckets.width(raw_bits))
    inside, outside = model.inside(borders), 2 * model.survival(borders)
    inside[0], outside[0] = 0.0, 1.0
    return inside, outside


def bucket_weights(form: Format, scheme: WordScheme) -> U64:
    """Return the weights of the coded buckets, and last that of all others, (n_buckets + 1,) uint64, not to be changed.

    Without raw bits, bucket 0 is zero, 2 m - 1 is +m and 2 m is -m; each sign has half of its magnitude's weight.
    """
    return layout_weights(form, *scheme.layout)


@lru_cache(maxsize=64)
def layout_weights(form: Format, raw_bits: int, n: int, origin: int, *indices: int) -> U64:
    """Return what `bucket_weights` does, for buckets alone: schemes differ in words much oftener."""
    if raw_bits == 0:
        magnitudes = magnitude_weights(form, 0, *indices, n // 2 + 1)
        halves = np.maximum(magnitudes[1:-1] >> np.uint64(1), np.uint64(1))
        coded = np.concatenate([magnitudes[:1], np.repeat(halves, 2)])
        weights = np.append(coded[:n], magnitudes[-1] + coded[n:].sum())
    else:
        places = (origin + np.arange(n)) % form.buckets.n_magnitude_buckets(raw_bits)
        magnitudes = magnitude_weights(form, raw_bits, *indices, int(places.max()) + 1)
        weights = np.append(magnitudes[places], magnitudes.sum() - magnitudes[places].sum())
    largest = int(np.argmax(weights[:n]))  # where rounding matters least; what is left for rare words must be exact
    weights[largest] = max(ONE - int(weights.sum() - weights[largest]), 1)
    return weights


@dataclass(frozen=True, slots=True, eq=False)
class Codebook:
    """The code lengths of a scheme's words, and what the kernels look up.

    Attributes:
        scheme: What its words are.
        tuples: TUPLES: the tuples that have words of their own, ascending, shorter ones filled up with zeros; empty for
            RUNS.
        sizes: TUPLES: the buckets of every word, the rare one last; empty for RUNS.
        lengths: Code lengths of the words, 0 where a word has no code.
        rare_lengths: TUPLES: code lengths of the rare list's buckets; empty for RUNS.
        fingerprint: CRC-32 of the lengths.
        encoding: By tuple or word: code at the top, length and the rare flag at the bottom.
        steps: TUPLES that grow: by tuple: the buckets of the word that it begins with. Else empty.
        decoding: By the next bits: as many words as fit. For RUNS one word.
        pairs: TUPLES of one bucket, where two have few enough values: by two buckets: both codes as one.
        single: TUPLES: by the next bits: one word.
        rare_codes, rare_decoding: Code of each bucket of the rare list; by the next bits: bucket * 16 + length.
        packed, width: TUPLES: as many words as fit in 32 bits; the bits of a bucket. Empty and 0 where none fits.
    """

    scheme: WordScheme
    tuples: I64
    lengths: U8
    rare_lengths: U8
    fingerprint: int
    encoding: U64
    decoding: U64
    sizes: U8 = field(default_factory=lambda: np.empty(0, np.uint8))
    steps: U8 = field(default_factory=lambda: np.empty(0, np.uint8))
    pairs: U64 = field(default_factory=lambda: np.empty(0, np.uint64))
    single: U64 = field(default_factory=lambda: np.empty(0, np.uint64))
    rare_codes: U32 = field(default_factory=lambda: np.empty(0, np.uint32))
    rare_decoding: U16 = field(default_factory=lambda: np.empty(0, np.uint16))
    packed: U32 = field(default_factory=lambda: np.empty(0, np.uint32))
    width: int = 0

    @property
    def rare_byte(self) -> int:
        """What the decoder's first pass leaves where a tuple is rare."""
        return _rare_byte(self.width)


@lru_cache(maxsize=CACHED_CODEBOOKS)
def model_codebook(form: Format, scheme: WordScheme) -> Codebook:
    """Return the codebook that format and scheme name.

    Raises:
        UsageError: more words than codes of the scheme's longest length.
    """
    return build_codebook(scheme, *word_lengths(scheme, bucket_weights(form, scheme)))


def word_lengths(scheme: WordScheme, weights: U64) -> tuple[I64, U8, U8, U8]:
    """Return tuples, code lengths, code lengths of the rare list, and the words' sizes, for weights of the buckets."""
    if scheme.coding == TUPLES:
        words = tuple_words(scheme, weights)
        lengths = code_lengths(words.weights, scheme.max_length)
        return words.tuples, lengths, code_lengths(words.rare, scheme.max_length), words.sizes
    nothing = np.empty(0, np.uint8)
    return np.empty(0, np.int64), code_lengths(run_words(scheme, weights), scheme.max_length), nothing, nothing


def build_codebook(scheme: WordScheme, tuples: I64, lengths: U8, rare_lengths: U8, sizes: U8 | None = None) -> Codebook:
    """Check code lengths and derive the tables; all tuples have scheme.size buckets where no `sizes` are given.

    Raises:
        BitstreamError: lengths of no code.
    """
    check_lengths(lengths, scheme.max_length)
    codes = np.empty(lengths.size, np.uint32)
    tables.canonical_codes(lengths, codes)
    size = 1 << scheme.max_length
    words, decoding = np.empty(size, np.int64), np.empty(size, np.uint64)
    tables.word_of_bits(lengths, codes, scheme.max_length, words)
    fingerprint = zlib.crc32(rare_lengths.tobytes(), zlib.crc32(lengths.tobytes()))
    told = scheme, tuples, lengths, rare_lengths, fingerprint
    if scheme.coding != TUPLES:
        encoding = np.empty(lengths.size, np.uint64)
        tables.fill_words(lengths, codes, encoding)
        tables.fill_run_decoding(words, lengths, scheme.n_buckets, scheme.size, scheme.detail, decoding)
        return Codebook(*told, encoding, decoding)
    check_lengths(rare_lengths, scheme.max_length)
    if sizes is None:
        sizes = np.full(lengths.size, scheme.size, np.uint8)
    encoding, single = np.empty(scheme.n_tuples, np.uint64), np.empty(size, np.uint64)
    spans = (scheme.n_buckets + 1) ** (scheme.size - sizes.astype(np.int64))
    tables.fill_encoding(lengths, codes, tuples, spans, encoding)
    steps = np.empty(scheme.n_tuples if scheme.growth else 0, np.uint8)
    if scheme.growth:
        tables.fill_steps(lengths, tuples, spans, sizes, steps)
    pairs = np.empty(encoding.size**2 if scheme.size == 1 and encoding.size**2 <= MAX_WORDS else 0, np.uint64)
    if pairs.size:
        tables.fill_pairs(encoding, pairs)
    width = _packed_width(scheme, words)
    payloads = _payloads(scheme, tuples, sizes, _rare_byte(width))
    tables.fill_decoding(words, lengths, scheme.max_length, payloads, sizes, single, decoding)
    packed = np.empty((1 << tables.PACKED_INDEX_BITS) if width else 0, np.uint32)
    tables.fill_packed(words, lengths, scheme.max_length, payloads, sizes, width, packed)
    rare_codes, rare_words = np.empty(rare_lengths.size, np.uint32), np.empty(size, np.int64)
    tables.canonical_codes(rare_lengths, rare_codes)
    tables.word_of_bits(rare_lengths, rare_codes, scheme.max_length, rare_words)
    rare_entries = np.where(rare_words < 0, 0, rare_words * 16 + rare_lengths[np.maximum(rare_words, 0)])
    rare_decoding = rare_entries.astype(np.uint16)
    return Codebook(*told, encoding, decoding, sizes, steps, pairs, single, rare_codes, rare_decoding, packed, width)


def _rare_byte(width: int) -> int:
    """No coded bucket, nor the first beyond, nor what fills an entry of a packed table of `width`."""
    return (1 << width) - 2 if width else tables.NO_BYTE


def _packed_width(scheme: WordScheme, words: I64) -> int:
    """The bits of a bucket in the packed table; 0 where a word has no room, or some bits start none."""
    for width in tables.PACKED_WIDTHS:
        most = min(PACKED_SYMBOLS, (32 - tables.LENGTH_BITS) // width)
        if scheme.n_buckets + 3 <= 1 << width and scheme.size <= most and (words >= 0).all():
            return int(width)
    return 0


def _payloads(scheme: WordScheme, tuples: I64, sizes: U8, rare_byte: int) -> U64:
    """The buckets of every word as bytes, the first lowest; the rare word's are `rare_byte`."""
    rest, out = tuples.copy(), np.zeros(tuples.size, np.uint64)
    for place in range(scheme.size - 1, -1, -1):
        buckets = np.where(place < sizes[:-1], rest % (scheme.n_buckets + 1), 0)
        out |= buckets.astype(np.uint64) << np.uint64(8 * place)
        rest //= scheme.n_buckets + 1
    rare = sum(rare_byte << 8 * place for place in range(scheme.size))
    return np.append(out, np.uint64(rare))

"""Code lengths that travel in a frame: written, and read back as the codebook that they make."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from gradwire_common.codec.codebook import Codebook, build_codebook
from gradwire_common.codec.kernels.words.lengths import pack_halves, unpack_halves
from gradwire_common.codec.words.scheme import TUPLES, WordScheme
from gradwire_common.errors import BitstreamError

I64 = npt.NDArray[np.int64]

UNPACK_FAULTS = ("ends before all code lengths", "has a code length of 15 bits", "has more zeros than code lengths")


def pack_lengths(codebook: Codebook) -> bytes:
    """Write a codebook's lengths: of all tuples (RUNS: words), of the rare word, of the rare list, half a byte each."""
    scheme = codebook.scheme
    if scheme.coding == TUPLES:
        lengths = np.zeros(scheme.n_tuples, np.uint8)
        lengths[codebook.tuples] = codebook.lengths[:-1]
        lengths = np.concatenate([lengths, codebook.lengths[-1:], codebook.rare_lengths])
    else:
        lengths = codebook.lengths
    halves = np.zeros(lengths.size + 1, np.uint8)
    n = pack_halves(lengths, halves)
    pairs = halves[: n + n % 2].reshape(-1, 2)
    return (pairs[:, 0] | pairs[:, 1] << 4).tobytes()


def unpack_lengths(scheme: WordScheme, data: memoryview) -> tuple[Codebook, int]:
    """Read what `pack_lengths` wrote at the start of `data`; return the codebook and the bytes it took.

    Raises:
        BitstreamError: the data ends too early, or holds lengths of no code.
    """
    n = scheme.n_tuples + 1 + scheme.n_buckets + 1 if scheme.coding == TUPLES else scheme.n_words
    lengths = np.zeros(n, np.uint8)
    packed = np.frombuffer(data[: (n + 1) // 2 + 1], np.uint8)
    halves = np.stack([packed & 15, packed >> 4], axis=1).ravel()
    n_read = unpack_halves(halves, lengths)
    if n_read < 0:
        raise BitstreamError(f"frame {UNPACK_FAULTS[-1 - n_read]}, want {n} code lengths")
    if scheme.coding != TUPLES:
        codebook = build_codebook(scheme, np.empty(0, np.int64), lengths, np.empty(0, np.uint8))
    else:
        tuples = np.flatnonzero(lengths[: scheme.n_tuples])
        if lengths[: scheme.n_tuples][_uncoded_tuples(scheme.n_buckets, scheme.size)].any():
            raise BitstreamError("frame has a code for a tuple with a bucket that is not coded")
        words = np.append(lengths[tuples], lengths[scheme.n_tuples])
        codebook = build_codebook(scheme, tuples, words, lengths[scheme.n_tuples + 1 :])
    return codebook, (n_read + 1) // 2


@lru_cache(maxsize=64)
def _uncoded_tuples(n_buckets: int, size: int) -> I64:
    """The tuples that hold a bucket which is not coded."""
    base = n_buckets + 1
    tuples = np.arange(base**size)
    return np.flatnonzero((tuples[:, None] // base ** np.arange(size) % base == n_buckets).any(axis=1))

"""A universal trellis-coded quantiser with subtractive dither: a fraction of a bit an entry, whatever its law.

Of the largest entries, v + d modulo A, d uniform on (-A / 2, A / 2), is quantised on a circle of circumference A,
the smallest that holds them all; a bit labels `samples` entries, and a Viterbi search finds the bits. The other end
draws the same d and takes it off. Source: Lyu et al., low-rate universal vector quantisation for federated learning,
ICC Workshops 2024.
"""

import struct
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from gradwire_common.errors import BitstreamError
from gradwire_common.layout.manifest import Layout, Unit
from gradwire_common.methods.kernels.trellis import N_STATES, follow_trellis, search_trellis
from gradwire_common.methods.method import F32
from gradwire_common.methods.published import CountingEncoder, Published
from gradwire_common.methods.sparse.coder import StreamReader, StreamWriter
from gradwire_common.methods.sparse.method import subset_bits
from gradwire_common.methods.sparse.selection import largest_of_rows

HEAD = struct.Struct("<Iff")  # seed of the dither, A, what the levels are multiplied by

U8 = npt.NDArray[np.uint8]


class TrellisCoded(Published):
    """Sends the largest `density` of a unit's entries at 1 / `samples` bits each.

    Attributes:
        density: of the entries that are sent.
        samples: entries that a bit stands for.
    """

    label: ClassVar[str] = "tcq"
    number: ClassVar[int] = 0x76

    density: float = Field(0.05, gt=0.0, le=1.0)
    samples: int = Field(1, ge=1, le=8)

    @property
    def nominal_bits(self) -> float:
        """Bits per entry that an update takes, about."""
        n = 10_000
        k = self.kept(n)
        return (subset_bits(n, k) + k / self.samples) / n

    def kept(self, n: int) -> int:
        """Return how many of `n` entries are sent."""
        return min(n, max(1, round(self.density * n)))

    def authors_bits(self, layout: Layout) -> float:
        """Return the bits of the trellis: positions are not counted."""
        return sum(-(-self.kept(len(unit)) // self.samples) for unit in layout.parameters)

    def encoder(self, layout: Layout, memory: F32 | None = None) -> "TrellisEncoder":
        """Return an encoder of updates of `layout`."""
        return TrellisEncoder(self, layout, memory)

    def pack_seeded(self, seed: int, u: F32, unit: Unit, decoded: F32) -> bytes:
        """Return seed, A and factor, the bits of the trellis, then the stream of the places."""
        k = self.kept(len(unit))
        places = largest_of_rows(u[None, :], k)[0]
        values = u[places]
        around = np.float32(min(2 * float(np.abs(values).max(initial=0)), float(np.finfo(np.float32).max) / 2))
        bits = np.zeros(-(-k // self.samples), np.uint8)
        factor = np.float32(0)
        if around > 0:
            choices = np.empty((bits.size, N_STATES), np.uint8)
            search_trellis(values / around, dither(seed, k), self.samples, choices, bits)
            levels = self._levels(seed, around, bits, k).astype(np.float64)
            square = float(levels @ levels)
            factor = np.float32(float(levels @ values) / square) if square else factor
        stream = StreamWriter()
        stream.places(places, np.array([k]), max(len(unit), 1))
        decoded[:] = 0
        decoded[places] = factor * self._levels(seed, around, bits, k)
        return HEAD.pack(seed, around, factor) + np.packbits(bits, bitorder="little").tobytes() + stream.end()

    def read(self, body: memoryview, unit: Unit, out: F32) -> None:
        """Write the entries that are sent, and zeros. Raises BitstreamError."""
        k = self.kept(len(unit))
        n_bits = -(-k // self.samples)
        end = HEAD.size + -(-n_bits // 8)
        if len(body) < end:
            raise BitstreamError(f"got {len(body)} bytes, want at least {end}")
        seed, around, factor = HEAD.unpack_from(body)
        bits = np.unpackbits(np.frombuffer(body[HEAD.size : end], np.uint8), count=n_bits, bitorder="little")
        stream = StreamReader(body[end:])
        places = stream.places(np.array([k]), max(len(unit), 1))
        stream.end()
        out[:] = 0
        out[places] = np.float32(factor) * self._levels(seed, np.float32(around), bits, k)

    def _levels(self, seed: int, around: np.float32, bits: U8, k: int) -> F32:
        """Return what `k` entries are decoded as, before the factor."""
        levels = np.empty(k, np.float32)
        follow_trellis(bits, self.samples, levels)
        return around * wrapped(levels - dither(seed, k))


class TrellisEncoder(CountingEncoder):
    """Draws dither that follows from how many updates there were and from the unit's entries: none alike."""

    method: TrellisCoded

    def pack(self, u: F32, unit: Unit, decoded: F32) -> bytes:
        """Return the body of one unit's frame."""
        return self.method.pack_seeded(self.seed(u), u, unit, decoded)


def dither(seed: int, n: int) -> F32:
    """Return `n` numbers uniform on [-0.5, 0.5), float32, the same on every machine."""
    words = np.random.Philox(key=np.array([seed, 0], np.uint64)).random_raw(n)
    return ((words >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)) - np.float32(0.5)


def wrapped(values: F32) -> F32:
    """Return values modulo 1, from -0.5 to 0.5."""
    return np.asarray(values - np.floor(values + np.float32(0.5)))

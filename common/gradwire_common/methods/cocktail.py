"""CocktailSGD: a random part of the entries, the largest of those, a few bits for each; up and down alike.

The part follows from a number in the frame, so that no positions of it are sent. Source: Wang, Lu, Yuan, Chen, Liang,
De Sa, Re, Zhang, "CocktailSGD: fine-tuning foundation models over 500Mbps networks", ICML 2023.
"""

import math
import struct
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from gradwire_common.errors import BitstreamError
from gradwire_common.layout.manifest import Layout, Unit
from gradwire_common.methods.method import F32, Method
from gradwire_common.methods.published import CountingEncoder, Published
from gradwire_common.methods.sparse.coder import StreamReader, StreamWriter
from gradwire_common.methods.sparse.method import subset_bits
from gradwire_common.methods.sparse.selection import largest_of_rows

DRAW = struct.Struct("<I")
PARTS = 1 << 16  # a share of the entries is so many of these


class Cocktail(Published):
    """Sends `density` of a random `share` of the entries at `bits` each.

    Attributes:
        share: of the entries that an update looks at.
        density: of those, the largest are sent.
        bits: of a value, sign included; the largest of a bucket is the last level.
        bucket: successive values with a scale of their own.
    """

    label: ClassVar[str] = "cocktail"
    number: ClassVar[int] = 0x67

    share: float = Field(0.1, gt=0.0, le=1.0)
    density: float = Field(0.2, gt=0.0, le=1.0)
    bits: int = Field(4, ge=2, le=8)
    bucket: int = Field(128, ge=1, le=1 << 20)

    @property
    def most(self) -> int:
        """The last level."""
        return int(2 ** (self.bits - 1)) - 1

    @property
    def nominal_bits(self) -> float:
        """Bits per entry that an update takes, about."""
        n = 10_000
        k = max(1, round(self.density * n))
        return self.share * (subset_bits(n, k) + k * (self.bits + 32 / self.bucket)) / n

    def authors_bits(self, layout: Layout) -> float:
        """Return a bit for every entry that is looked at, and `bits` for each that is sent."""
        return layout.n_parameters * self.share * (1 + self.density * self.bits)

    def encoder(self, layout: Layout, memory: F32 | None = None) -> "CocktailEncoder":
        """Return an encoder of updates of `layout`."""
        return CocktailEncoder(self, layout, memory)

    def broadcast(self, bits: float | str | None = None) -> Method:
        """Return this method, which was made for both ways; the entropy method where `bits` are given."""
        return self if bits is None else super().broadcast(bits)

    def pack_drawn(self, draw: int, u: F32, unit: Unit, decoded: F32) -> bytes:
        """Return the draw, the scales of buckets, and the stream of places among the part and of levels."""
        part = np.flatnonzero(self._part(draw, unit))
        k = self._kept(part.size)
        places = largest_of_rows(u[part][None, :], k)[0]
        values = u[part][places]
        starts = np.arange(0, k, self.bucket)
        scales = np.maximum.reduceat(np.abs(values), starts) if k else np.empty(0, np.float32)
        steps = (scales / np.float32(self.most)).astype("<f4")
        spread = np.repeat(steps, self.bucket)[:k]
        levels = np.rint(np.divide(values, spread, out=np.zeros_like(values), where=spread > 0))
        levels = np.clip(levels, -self.most, self.most)
        stream = StreamWriter()
        stream.places(places, np.array([k]), max(part.size, 1))
        stream.symbols((levels + self.most).astype(np.uint8), 2 * self.most + 1)
        decoded[:] = 0
        decoded[part[places]] = levels * spread
        return DRAW.pack(draw) + steps.tobytes() + stream.end()

    def read(self, body: memoryview, unit: Unit, out: F32) -> None:
        """Write the entries that are sent, and zeros. Raises BitstreamError."""
        if len(body) < DRAW.size:
            raise BitstreamError(f"got {len(body)} bytes, want at least {DRAW.size}")
        part = np.flatnonzero(self._part(DRAW.unpack_from(body)[0], unit))
        k = self._kept(part.size)
        end = DRAW.size + 4 * -(-k // self.bucket)
        if len(body) < end:
            raise BitstreamError(f"got {len(body)} bytes, want at least {end}")
        steps = np.frombuffer(body[DRAW.size : end], "<f4").astype(np.float32)
        stream = StreamReader(body[end:])
        places = stream.places(np.array([k]), max(part.size, 1))
        levels = stream.symbols(k, 2 * self.most + 1).astype(np.float32) - np.float32(self.most)
        stream.end()
        out[:] = 0
        out[part[places]] = levels * np.repeat(steps, self.bucket)[:k]

    def _kept(self, n: int) -> int:
        return min(n, math.ceil(self.density * n))

    def _part(self, draw: int, unit: Unit) -> npt.NDArray[np.bool_]:
        """Return which entries of a unit a draw looks at; Philox's numbers are the same on every machine."""
        key = np.array([draw, unit.start], np.uint64)
        words: npt.NDArray[np.uint64] = np.random.Philox(key=key).random_raw(-(-len(unit) // 4))
        return words.astype("<u8").view("<u2")[: len(unit)] < max(1, round(self.share * PARTS))


class CocktailEncoder(CountingEncoder):
    """Counts the draws, from 0: all workers of a round look at the same part."""

    method: Cocktail

    def pack(self, u: F32, unit: Unit, decoded: F32) -> bytes:
        """Return the body of one unit's frame."""
        return self.method.pack_drawn(self.n_updates % (1 << 32), u, unit, decoded)

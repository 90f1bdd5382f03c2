"""QSGD: every entry rounded at random to one of a few multiples of its bucket's norm, without bias; no residual.

Source: Alistarh, Grubic, Li, Tomioka, Vojnovic, "QSGD", NeurIPS 2017, section 3.
"""

import math
from typing import ClassVar

import numpy as np
from isal.isal_zlib import crc32
from pydantic import Field

from gradwire_common.errors import BitstreamError
from gradwire_common.layout.manifest import Layout, Unit
from gradwire_common.methods.method import F32
from gradwire_common.methods.published import FLOAT_BITS, CountingEncoder, Published
from gradwire_common.methods.whole import decode_whole, encode_whole


class Qsgd(Published):
    """Sends |v|_2 sign(v_i) l_i / s, where l_i is s |v_i| / |v|_2 rounded up or down so that its expectation is that.

    Attributes:
        levels: s.
        bucket: successive entries with a norm of their own.
        gamma: decay of the residual memory; its authors have none.
    """

    label: ClassVar[str] = "qsgd"
    number: ClassVar[int] = 0x64

    gamma: float = Field(0.0, ge=0.0, le=1.0)
    levels: int = Field(4, ge=1, le=1 << 15)
    bucket: int = Field(512, ge=1, le=1 << 24)

    @property
    def nominal_bits(self) -> float:
        """Bits per entry: at most those of Elias's codes."""
        return elias_bits(self.bucket, self.levels) / self.bucket

    def authors_bits(self, layout: Layout) -> float:
        """Return the bound on the expected bits of all buckets."""
        whole, rest = divmod(layout.n_parameters, self.bucket)
        return whole * elias_bits(self.bucket, self.levels) + (elias_bits(rest, self.levels) if rest else 0)

    def encoder(self, layout: Layout, memory: F32 | None = None) -> "QsgdEncoder":
        """Return an encoder of updates of `layout`."""
        return QsgdEncoder(self, layout, memory)

    def pack_with(self, rng: np.random.Generator, u: F32, unit: Unit, decoded: F32) -> bytes:
        """Return the norms of the buckets, then the levels with their signs as a frame of the codec."""
        n_buckets = -(-len(unit) // self.bucket)
        padded = np.zeros(n_buckets * self.bucket, np.float64)
        padded[: len(unit)] = u
        rows = padded.reshape(n_buckets, self.bucket)
        norms = np.sqrt(np.square(rows).sum(1)).astype("<f4")
        scaled = np.divide(
            self.levels * np.abs(rows), norms[:, None], out=np.zeros_like(rows), where=norms[:, None] > 0
        )
        lifted = np.minimum(np.floor(scaled + rng.random(rows.shape)), self.levels)
        numbers = np.copysign(lifted, rows).astype(np.float32).reshape(-1)[: len(unit)]
        self._fill(norms, numbers, decoded)
        return bytes(norms.tobytes()) + encode_whole(numbers)

    def read(self, body: memoryview, unit: Unit, out: F32) -> None:
        """Write the levels times their buckets' norms. Raises BitstreamError."""
        n_bytes = 4 * -(-len(unit) // self.bucket)
        if len(body) < n_bytes:
            raise BitstreamError(f"got {len(body)} bytes, want at least {n_bytes}")
        numbers = decode_whole(body[n_bytes:], len(unit), -self.levels, self.levels)
        self._fill(np.frombuffer(body[:n_bytes], "<f4"), numbers, out)

    def _fill(self, norms: F32, numbers: F32, out: F32) -> None:
        units = (norms / np.float32(self.levels)).astype(np.float32)
        np.multiply(numbers, np.repeat(units, self.bucket)[: numbers.size], out=out)


class QsgdEncoder(CountingEncoder):
    """Rounds by numbers that follow from how many updates there were and from the unit's entries: no two alike."""

    method: Qsgd

    def pack(self, u: F32, unit: Unit, decoded: F32) -> bytes:
        """Return the body of one unit's frame."""
        key = np.array([self.n_updates, crc32(np.ascontiguousarray(u).data)], np.uint64)
        return self.method.pack_with(np.random.Generator(np.random.Philox(key=key)), u, unit, decoded)


def elias_bits(n: int, s: int) -> float:
    """Return the smaller of the paper's two bounds on the expected bits of a bucket, without their o(1).

    Args:
        n: entries of the bucket.
        s: levels.
    """
    few = s * (s + math.sqrt(n))  # expected entries that are not zero, times s
    sparse = (3 + 1.5 * math.log2(2 * (s * s + n) / few)) * few
    dense = (0.5 * (math.log2(1 + (s * s + min(n, s * math.sqrt(n))) / n) + 1) + 2) * n
    return min(sparse, dense) + FLOAT_BITS

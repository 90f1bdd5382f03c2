"""EDEN: a random rotation makes entries normal, fixed levels quantise them, a scale for each block makes it unbiased.

x is rotated by the Hadamard matrix after random signs; y = sqrt(d) R x / |x| is quantised to q, and decoded as
S R^-1 q sqrt(d) / d with S = |x|^2 / <R x, q> (unbiased) or <R x, q> / |q|^2 (of least error). Source: Vargaftik,
Ben Basat, Portnoy, Mendelson, Ben-Itzhak, Mitzenmacher, "EDEN", ICML 2022; entropy-coded levels: its section on
fractional bits.
"""

import math
import struct
from functools import lru_cache
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from gradwire_common.codec.formats import format_named
from gradwire_common.codec.model.gennorm import GenNorm
from gradwire_common.codec.model.lloyd import lloyd_magnitudes
from gradwire_common.errors import BitstreamError
from gradwire_common.layout.manifest import Layout, Unit
from gradwire_common.methods.method import F32
from gradwire_common.methods.published import FLOAT_BITS, CountingEncoder, Published
from gradwire_common.methods.rotation import rotate, rotate_back, rows_of
from gradwire_common.methods.whole import decode_whole, encode_whole

SEED = struct.Struct("<I")
MAX_NUMBER = 1 << 20  # of steps, that an entry may be


class Eden(Published):
    """Sends rotated blocks at `bits` an entry.

    Attributes:
        bits: of an entry; whole ones without `coded`.
        coded: whether levels are equidistant and coded at their entropy, or those of Lloyd and Max, a fixed number of
            bits each.
        scale: "unbiased", or "least" error.
        block: entries that are rotated together, a power of two; the rest of a unit is cut in smaller ones.
        gamma: decay of the residual memory; its authors have none.
    """

    label: ClassVar[str] = "eden"
    number: ClassVar[int] = 0x70

    bits: float = Field(2.0, ge=0.05, le=8.0)
    coded: bool = True
    scale: Literal["unbiased", "least"] = "unbiased"
    block: int = Field(4096, ge=32, le=1 << 20)
    gamma: float = Field(0.0, ge=0.0, le=1.0)

    @model_validator(mode="after")
    def _check(self) -> "Eden":
        if self.block & (self.block - 1):
            raise ValueError(f"block is {self.block}, want a power of two")
        if not self.coded and self.bits not in range(1, 9):
            raise ValueError(f"bits are {self.bits:g}, want 1 to 8 whole ones where levels are not coded")
        return self

    @property
    def nominal_bits(self) -> float:
        """Bits per entry that an update takes, about."""
        return self.bits + FLOAT_BITS / self.block

    def authors_bits(self, layout: Layout) -> float:
        """Return `bits` for every entry, and a scale for every block."""
        return layout.n_parameters * self.nominal_bits

    def encoder(self, layout: Layout, memory: F32 | None = None) -> "EdenEncoder":
        """Return an encoder of updates of `layout`."""
        return EdenEncoder(self, layout, memory)

    def pack_seeded(self, seed: int, u: F32, unit: Unit, decoded: F32) -> bytes:
        """Return the seed of the signs, the blocks' scales, then the levels of all entries."""
        rotated = rotate(u, seed, self.block)
        numbers = np.empty_like(rotated)
        scales = np.empty(len(rows_of(len(unit), self.block)), "<f4")
        for i, (_, row) in enumerate(rows_of(len(unit), self.block)):
            numbers[row], scales[i] = self._quantize(rotated[row])
        decoded[:] = self._decode(seed, scales, numbers, len(unit))
        return SEED.pack(seed) + scales.tobytes() + self._write(numbers)

    def read(self, body: memoryview, unit: Unit, out: F32) -> None:
        """Write the blocks, rotated back. Raises BitstreamError."""
        rows = rows_of(len(unit), self.block)
        start, n = SEED.size + 4 * len(rows), rows[-1][1].stop if rows else 0
        if len(body) < start:
            raise BitstreamError(f"got {len(body)} bytes, want at least {start}")
        scales = np.frombuffer(body[SEED.size : start], "<f4").astype(np.float32)
        out[:] = self._decode(SEED.unpack_from(body)[0], scales, self._read(body[start:], n), len(unit))

    def _quantize(self, row: F32) -> tuple[F32, float]:
        """Return the numbers of a rotated block's levels, and the scale that its levels are decoded by."""
        norm = float(np.sqrt(np.square(row, dtype=np.float64).sum()))
        if norm == 0:
            return np.zeros_like(row), 0.0
        y = row * np.float32(math.sqrt(row.size) / norm)
        if self.coded:
            numbers = np.clip(np.rint(y / np.float32(step_of(self.bits))), -MAX_NUMBER, MAX_NUMBER).astype(np.float32)
        else:
            half = lloyd_magnitudes(GenNorm(2.0, math.sqrt(2)), int(2 ** (self.bits - 1)))
            bins = np.searchsorted(((half[1:] + half[:-1]) / 2).astype(np.float32), np.abs(y))
            numbers = np.where(y < 0, half.size - 1 - bins, half.size + bins).astype(np.float32)
        q = self._levels(numbers).astype(np.float64)
        product, square = float(q @ row), float(q @ q)
        if product <= 0:
            return np.zeros_like(row) if self.coded else numbers, 0.0
        return numbers, norm * norm / product if self.scale == "unbiased" else product / square

    def _levels(self, numbers: F32) -> F32:
        if self.coded:
            return numbers * np.float32(step_of(self.bits))
        half = lloyd_magnitudes(GenNorm(2.0, math.sqrt(2)), int(2 ** (self.bits - 1)))
        return np.concatenate([-half[::-1], half]).astype(np.float32)[numbers.astype(np.intp)]

    def _decode(self, seed: int, scales: F32, numbers: F32, n: int) -> F32:
        rotated = self._levels(numbers)
        for (_, row), scale in zip(rows_of(n, self.block), scales, strict=True):
            rotated[row] *= np.float32(scale)
        return rotate_back(rotated, n, seed, self.block)

    def _write(self, numbers: F32) -> bytes:
        if self.coded:
            return encode_whole(numbers)
        each = np.unpackbits(numbers.astype(np.uint8)[:, None], axis=1, count=int(self.bits), bitorder="little")
        return np.packbits(each, bitorder="little").tobytes()

    def _read(self, data: memoryview, n: int) -> F32:
        if self.coded:
            return decode_whole(data, n, -MAX_NUMBER, MAX_NUMBER)
        bits = int(self.bits)
        if len(data) != -(-n * bits // 8):
            raise BitstreamError(f"got {len(data)} bytes of levels, want {-(-n * bits // 8)}")
        each = np.unpackbits(np.frombuffer(data, np.uint8), count=n * bits, bitorder="little").reshape(n, bits)
        return np.packbits(each, axis=1, bitorder="little")[:, 0].astype(np.float32)

    def __str__(self) -> str:
        return f"{self.label}, {self.bits:g} bits{'' if self.coded else ', not coded'}"


class EdenEncoder(CountingEncoder):
    """Rotates by signs that follow from how many updates there were and from the unit's entries: no two alike."""

    method: Eden

    def pack(self, u: F32, unit: Unit, decoded: F32) -> bytes:
        """Return the body of one unit's frame."""
        return self.method.pack_seeded(self.seed(u), u, unit, decoded)


@lru_cache(maxsize=256)
def step_of(bits: float) -> float:
    """Return the step at which standard normal entries, rounded to its multiples, have an entropy of `bits`."""
    form, low, high = format_named("uniform"), 2.0**-9, 8.0
    for _ in range(60):
        step = math.sqrt(low * high)
        entropy = form.build(step).predict(GenNorm(2.0, math.sqrt(2)))[0] or 0.0
        low, high = (step, high) if entropy > bits else (low, step)
    return round(math.sqrt(low * high), 6)  # the same at both ends, whatever their libraries' last digits

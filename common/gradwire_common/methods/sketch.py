"""Count sketch: every entry with a random sign into one cell of each row of a small table; the largest are found in it.

An entry's estimate is the median over the rows of its sign times its cell, without bias, within 3 |u| / sqrt(columns)
but rarely. Sources: Charikar, Chen, Farach-Colton, "Finding frequent items in data streams", 2002; Rothchild et al.,
"FetchSGD", ICML 2020 (gradients, residual memory); Chen, Liu, Rini, 2022 (cells of 8 bits).
"""

import struct
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from gradwire_common.errors import BitstreamError
from gradwire_common.layout.manifest import Layout, Unit
from gradwire_common.methods.method import F32
from gradwire_common.methods.published import FLOAT_BITS, CountingEncoder, Published
from gradwire_common.methods.sparse.selection import largest_of_rows
from gradwire_common.methods.whole import decode_whole, encode_whole

DRAW = struct.Struct("<I")


class CountSketch(Published):
    """Sends a table, from which the largest `density` of the entries are estimated.

    Attributes:
        cells: of the table, in proportion of the entries.
        rows: of the table.
        bits: of a cell, before cells are coded at their entropy; the largest of a row is the last level.
        density: of the entries that are taken from a table.
    """

    label: ClassVar[str] = "countsketch"
    number: ClassVar[int] = 0x75

    cells: float = Field(0.1, gt=0.0, le=8.0)
    rows: int = Field(5, ge=1, le=15)
    bits: int = Field(8, ge=2, le=16)
    density: float = Field(0.01, gt=0.0, le=1.0)

    @property
    def most(self) -> int:
        """The last level."""
        return int(2 ** (self.bits - 1)) - 1

    @property
    def nominal_bits(self) -> float:
        """Bits per entry, before cells are coded."""
        return self.cells * self.bits

    def authors_bits(self, layout: Layout) -> float:
        """Return `bits` for every cell, and a float for every row."""
        cells = sum(self.rows * (self.columns(len(unit)) * self.bits + FLOAT_BITS) for unit in layout.parameters)
        return float(cells)

    def columns(self, n: int) -> int:
        """Return the columns of the table of `n` entries, one at least."""
        return max(1, round(self.cells * n / self.rows))

    def encoder(self, layout: Layout, memory: F32 | None = None) -> "CountSketchEncoder":
        """Return an encoder of updates of `layout`."""
        return CountSketchEncoder(self, layout, memory)

    def pack_drawn(self, draw: int, u: F32, unit: Unit, decoded: F32) -> bytes:
        """Return the draw of cells and signs, the rows' units, then the levels of all cells."""
        columns = self.columns(len(unit))
        table = np.stack([np.bincount(cells, signs * u, columns) for cells, signs in self._hashes(draw, unit)])
        units = (np.abs(table).max(1) / self.most).astype("<f4")
        levels = np.rint(np.divide(table, units[:, None], out=np.zeros_like(table), where=units[:, None] > 0))
        levels = np.clip(levels, -self.most, self.most).astype(np.float32)
        self._estimate(draw, unit, levels * units[:, None], decoded)
        return DRAW.pack(draw) + bytes(units.tobytes()) + encode_whole(levels.reshape(-1))

    def read(self, body: memoryview, unit: Unit, out: F32) -> None:
        """Write the largest estimates, and zeros. Raises BitstreamError."""
        start = DRAW.size + 4 * self.rows
        if len(body) < start:
            raise BitstreamError(f"got {len(body)} bytes, want at least {start}")
        units = np.frombuffer(body[DRAW.size : start], "<f4").astype(np.float32)
        columns = self.columns(len(unit))
        levels = decode_whole(body[start:], self.rows * columns, -self.most, self.most)
        self._estimate(DRAW.unpack_from(body)[0], unit, levels.reshape(self.rows, columns) * units[:, None], out)

    def _estimate(self, draw: int, unit: Unit, table: F32, out: F32) -> None:
        estimates = np.median(
            [signs * row[cells] for row, (cells, signs) in zip(table, self._hashes(draw, unit), strict=True)], axis=0
        )
        places = largest_of_rows(estimates[None, :], max(1, round(self.density * len(unit))))[0]
        out[:] = 0
        out[places] = estimates[places]

    def _hashes(self, draw: int, unit: Unit) -> Iterator[tuple[npt.NDArray[np.intp], F32]]:
        """Yield the cells and signs of all entries, row by row; Philox's numbers are the same on every machine."""
        columns = np.uint64(self.columns(len(unit)))
        generator = np.random.Philox(key=np.array([draw, unit.start], np.uint64))
        for _ in range(self.rows):
            words: npt.NDArray[np.uint64] = generator.random_raw(len(unit))
            yield ((words >> np.uint64(1)) % columns).astype(np.intp), 1 - 2 * (words & np.uint64(1)).astype(np.float32)


class CountSketchEncoder(CountingEncoder):
    """Counts the draws, from 0: what has met in a cell is apart in the next update."""

    method: CountSketch

    def pack(self, u: F32, unit: Unit, decoded: F32) -> bytes:
        """Return the body of one unit's frame."""
        return self.method.pack_drawn(self.n_updates % (1 << 32), u, unit, decoded)

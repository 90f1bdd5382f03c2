"""What methods share that send every entry of a tensor by one of a few levels."""

from abc import abstractmethod

import numpy as np
import numpy.typing as npt

from gradwire_common.errors import BitstreamError
from gradwire_common.layout.manifest import Layout, Unit
from gradwire_common.methods.method import F32
from gradwire_common.methods.published import FLOAT_BITS, Published
from gradwire_common.methods.sparse.frame import build_levels, read_levels
from gradwire_common.methods.tensors import n_tensors_of, tensors_of
from gradwire_common.methods.whole import decode_whole, encode_whole

U8 = npt.NDArray[np.uint8]


class Binned(Published):
    """Sends every entry by the levels that `quantize` finds for its tensor."""

    bits: int

    @abstractmethod
    def quantize(self, values: F32) -> tuple[U8, F32]:
        """Return each value's bin, (n,), and what the bins are decoded as, (n_bins,) float32."""

    @property
    def nominal_bits(self) -> float:
        """Bits per entry, before bins are coded."""
        return float(self.bits)

    @property
    def n_bins(self) -> int:
        """Bins of a tensor."""
        return int(2**self.bits)

    def authors_bits(self, layout: Layout) -> float:
        """Return `bits` for every entry, and a float for every bin of a tensor."""
        return layout.n_parameters * self.bits + FLOAT_BITS * self.n_bins * n_tensors_of(layout)

    def pack(self, u: F32, unit: Unit, decoded: F32) -> bytes:
        """Return the used levels of every tensor, then the bins less their middle as a frame of the codec."""
        side, numbers = bytearray(), np.empty(len(unit), np.float32)
        for _, place in tensors_of(unit):
            bins, levels = self.quantize(u[place])
            side += build_levels(levels, np.bincount(bins, minlength=self.n_bins) > 0)
            decoded[place] = levels[bins]
            numbers[place] = bins.astype(np.float32) - self.n_bins // 2
        return bytes(side) + encode_whole(numbers)

    def read(self, body: memoryview, unit: Unit, out: F32) -> None:
        """Write the levels of the bins. Raises BitstreamError."""
        tables, start = [], 0
        for _ in tensors_of(unit):
            levels, used, start = read_levels(body, start, self.n_bins)
            table = np.full(self.n_bins, np.nan, np.float32)
            table[used] = levels
            tables.append(table)
        middle = self.n_bins // 2
        bins = (decode_whole(body[start:], len(unit), -middle, middle - 1) + middle).astype(np.intp)
        for (_, place), table in zip(tensors_of(unit), tables, strict=True):
            out[place] = table[bins[place]]
            if not np.isfinite(out[place]).all():
                raise BitstreamError("got bins without a level, or levels that are not finite")

    def __str__(self) -> str:
        return f"{self.label}, {self.bits} bits"

"""Scaled signs with a residual memory: of every entry its sign, of every tensor the mean of its magnitudes.

Source: Karimireddy, Rebjock, Stich, Jaggi, "Error feedback fixes SignSGD and other gradient compression schemes", ICML
2019, algorithm 1; Seide et al., Interspeech 2014.
"""

from typing import ClassVar

import numpy as np

from gradwire_common.errors import BitstreamError
from gradwire_common.layout.manifest import Layout, Unit
from gradwire_common.methods.method import F32
from gradwire_common.methods.published import FLOAT_BITS, Published
from gradwire_common.methods.tensors import n_tensors_of, tensors_of


class SignSgd(Published):
    """Sends |u|_1 / d * sign(u) of every tensor u of d entries. Signs are incompressible: a bit each."""

    label: ClassVar[str] = "signsgd"
    number: ClassVar[int] = 0x63

    @property
    def nominal_bits(self) -> float:
        """A bit an entry."""
        return 1.0

    def authors_bits(self, layout: Layout) -> float:
        """Return a bit for every entry, and a float for every tensor."""
        return layout.n_parameters + FLOAT_BITS * n_tensors_of(layout)

    def pack(self, u: F32, unit: Unit, decoded: F32) -> bytes:
        """Return the scales of the tensors, then all signs, the first in the lowest bit; set for entries >= 0."""
        signs = u >= 0
        scales = np.array([np.abs(u[place]).mean(dtype=np.float64) for _, place in tensors_of(unit)], "<f4")
        _fill(scales, signs, unit, decoded)
        return scales.tobytes() + np.packbits(signs, bitorder="little").tobytes()

    def read(self, body: memoryview, unit: Unit, out: F32) -> None:
        """Write the signs times their tensors' scales. Raises BitstreamError where the body has another size."""
        n_scales = 4 * len(tensors_of(unit))
        want = n_scales + -(-len(unit) // 8)
        if len(body) != want:
            raise BitstreamError(f"got {len(body)} bytes, want {want}")
        bits = np.unpackbits(np.frombuffer(body[n_scales:], np.uint8), count=len(unit), bitorder="little")
        _fill(np.frombuffer(body[:n_scales], "<f4"), bits.astype(bool), unit, out)


def _fill(scales: F32, signs: "np.ndarray[tuple[int], np.dtype[np.bool_]]", unit: Unit, out: F32) -> None:
    for (_, place), scale in zip(tensors_of(unit), scales, strict=True):
        out[place] = np.where(signs[place], scale, -scale)

"""CO3: convert to few-bit floats at the scale that a fit asks for, compress losslessly, correct by a decaying residual.

u = g + gamma r;  q = Q(s u) / s;  r = u - q. The scale s of a tensor minimises E(X - Q(s X) / s)^2 under the GenNorm
that is fitted to u, and is found again every `refit` updates. Source: Chen, Liu, Rini, "Convert, compress, correct:
three steps toward communication-efficient DNN training", 2022.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from gradwire_common.codec.formats.grid_scale import choose_scale
from gradwire_common.codec.formats.minifloat import MAX_SCALE, MIN_SCALE, MINIFLOATS, MinifloatFormat
from gradwire_common.codec.frames import encode_frame
from gradwire_common.codec.model.tensor_fit import fit_tensor
from gradwire_common.errors import BitstreamError
from gradwire_common.layout.manifest import Layout, Unit
from gradwire_common.methods.method import F32
from gradwire_common.methods.published import FLOAT_BITS, CountingEncoder, Published
from gradwire_common.methods.tensors import n_tensors_of, tensors_of
from gradwire_common.methods.whole import decode_floats


class Co3(Published):
    """Sends every entry as a small float of its tensor's scale.

    Attributes:
        format: "float4-1-2-1", "float8-1-5-2" or "float8-1-4-3".
        refit: updates between two fits of the scales, 1 for every one.
        gamma: decay of the residual memory.
    """

    label: ClassVar[str] = "co3"
    number: ClassVar[int] = 0x71

    format: Literal["float4-1-2-1", "float8-1-5-2", "float8-1-4-3"] = "float4-1-2-1"
    refit: int = Field(1, ge=1, le=1 << 20)
    gamma: float = Field(0.7, ge=0.0, le=1.0)

    @property
    def grid(self) -> MinifloatFormat:
        """The levels at scale 1."""
        return next(form for form in MINIFLOATS if form.name == self.format)

    @property
    def nominal_bits(self) -> float:
        """Bits of a float, before floats are coded."""
        return self.grid.nominal_bits

    def authors_bits(self, layout: Layout) -> float:
        """Return the bits of a float for every entry, and a scale for every tensor."""
        return layout.n_parameters * self.nominal_bits + FLOAT_BITS * n_tensors_of(layout)

    def encoder(self, layout: Layout, memory: F32 | None = None) -> "Co3Encoder":
        """Return an encoder of updates of `layout`."""
        return Co3Encoder(self, layout, memory)

    def scale_of(self, values: F32) -> float:
        """Return the best scale under the fit of a tensor's entries, or, where no fit describes them, of a sample."""
        return min(max(choose_scale(self.grid, fit_tensor(values)), MIN_SCALE), MAX_SCALE)

    def pack_scaled(self, scales: F32, u: F32, unit: Unit, decoded: F32) -> bytes:
        """Return the scales, (n_tensors,), then all entries, scaled, as a frame of the codec."""
        spread = _spread(scales, unit)
        frame = encode_frame(u * spread, self.grid.build(1.0))
        np.divide(decode_floats(memoryview(frame), len(unit)), spread, out=decoded)
        return scales.astype("<f4").tobytes() + frame

    def read(self, body: memoryview, unit: Unit, out: F32) -> None:
        """Write the floats over their tensors' scales. Raises BitstreamError."""
        n_bytes = 4 * len(tensors_of(unit))
        if len(body) < n_bytes:
            raise BitstreamError(f"got {len(body)} bytes, want at least {n_bytes}")
        scales = np.frombuffer(body[:n_bytes], "<f4").astype(np.float32)
        if not ((scales >= MIN_SCALE) & (scales <= MAX_SCALE)).all():
            raise BitstreamError(f"got scales from {scales.min()} to {scales.max()}, want {MIN_SCALE} to {MAX_SCALE}")
        np.divide(decode_floats(body[n_bytes:], len(unit)), _spread(scales, unit), out=out)

    def __str__(self) -> str:
        return f"{self.label}, {self.format}"


class Co3Encoder(CountingEncoder):
    """Keeps the scales of all tensors, in the order of the units, and how many updates there were."""

    method: Co3

    def __init__(self, method: Co3, layout: Layout, memory: F32 | None):
        super().__init__(method, layout, memory)
        self._scales = np.ones(n_tensors_of(layout), np.float32)
        self._next = 0

    def begin(self, values: F32) -> None:
        """Fit the scales where it is time to."""
        self._next = 0
        if self.n_updates % self.method.refit:
            return
        tensors = [values[unit.place][place] for unit in self.layout.parameters for _, place in tensors_of(unit)]
        self._scales[:] = [self.method.scale_of(entries) for entries in tensors]

    def pack(self, u: F32, unit: Unit, decoded: F32) -> bytes:
        """Return the body of one unit's frame."""
        first, self._next = self._next, self._next + len(tensors_of(unit))
        return self.method.pack_scaled(self._scales[first : self._next], u, unit, decoded)

    def state(self) -> dict[str, Any]:
        """Return the scales, float32, and the number of updates."""
        return {**super().state(), "scales": self._scales}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Resume from what `state` returned."""
        super().load_state(state)
        self._scales[:] = state["scales"]


def _spread(scales: F32, unit: Unit) -> F32:
    """Return the scale of every entry."""
    return np.repeat(scales, [spec.size for spec, _ in tensors_of(unit)])

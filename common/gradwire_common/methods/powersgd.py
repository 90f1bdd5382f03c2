"""PowerSGD: of every matrix two thin factors, found by one power iteration that begins where the last one ended.

A server adds up pushes of one message, so each worker orthogonalises its own factor, where the paper's workers average
it first; one worker alone does as the paper has it. Source: Vogels, Karimireddy, Jaggi, "PowerSGD", NeurIPS 2019.
"""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from gradwire_common.codec.formats import Float32
from gradwire_common.codec.frames import encode_frame
from gradwire_common.layout.manifest import Layout, TensorSpec, Unit
from gradwire_common.methods.method import F32
from gradwire_common.methods.published import FLOAT_BITS, Published, PublishedEncoder
from gradwire_common.methods.tensors import tensors_of
from gradwire_common.methods.whole import decode_floats


class PowerSgd(Published):
    """Sends P and Q, whose product is near the matrix; vectors, and matrices that are no larger, as they are.

    Attributes:
        rank: columns of each factor.
    """

    label: ClassVar[str] = "powersgd"
    number: ClassVar[int] = 0x68

    rank: int = Field(2, ge=1, le=64)

    @property
    def nominal_bits(self) -> float:
        """Bits per entry of a matrix of 512 x 512."""
        return FLOAT_BITS * self.rank * 2 / 512

    def sides(self, spec: TensorSpec) -> tuple[int, int] | None:
        """Return rows and columns of a tensor that is factored, the first dimension against all others; else None."""
        if len(spec.shape) < 2 or not spec.size:
            return None
        rows, columns = spec.shape[0], math.prod(spec.shape[1:])
        return (rows, columns) if self.rank * (rows + columns) < spec.size else None

    def n_floats(self, spec: TensorSpec) -> int:
        """Return how many floats a tensor is sent as."""
        sides = self.sides(spec)
        return self.rank * sum(sides) if sides else spec.size

    def authors_bits(self, layout: Layout) -> float:
        """Return 32 bits for every entry of a factor, and of what is sent as it is."""
        return FLOAT_BITS * sum(self.n_floats(spec) for unit in layout.parameters for spec, _ in tensors_of(unit))

    def encoder(self, layout: Layout, memory: F32 | None = None) -> "PowerSgdEncoder":
        """Return an encoder of updates of `layout`."""
        return PowerSgdEncoder(self, layout, memory)

    def read(self, body: memoryview, unit: Unit, out: F32) -> None:
        """Write the products of the factors. Raises BitstreamError."""
        floats = decode_floats(body, sum(self.n_floats(spec) for spec, _ in tensors_of(unit)))
        start = 0
        for spec, place in tensors_of(unit):
            some = floats[start : start + self.n_floats(spec)]
            start += some.size
            sides = self.sides(spec)
            if sides is None:
                out[place] = some
                continue
            cut = self.rank * sides[0]
            out[place] = product(some[:cut].reshape(sides[0], -1), some[cut:].reshape(sides[1], -1)).reshape(-1)


class PowerSgdEncoder(PublishedEncoder):
    """Keeps the factor Q of every matrix, which the next power iteration begins with."""

    method: PowerSgd

    def __init__(self, method: PowerSgd, layout: Layout, memory: F32 | None):
        super().__init__(method, layout, memory)
        self._q: dict[str, F32] = {}
        for number, spec in enumerate(spec for unit in layout.parameters for spec, _ in tensors_of(unit)):
            sides = method.sides(spec)
            if sides is not None:
                rng = np.random.default_rng(number)
                self._q[spec.name] = rng.standard_normal((sides[1], method.rank), np.float32)

    def pack(self, u: F32, unit: Unit, decoded: F32) -> bytes:
        """Return the factors, and what is sent as it is, as one exact frame of the codec."""
        floats = []
        for spec, place in tensors_of(unit):
            sides = self.method.sides(spec)
            if sides is None:
                floats.append(u[place])
                decoded[place] = u[place]
                continue
            matrix, q = u[place].reshape(sides), self._q[spec.name]
            p = np.linalg.qr(matrix @ q)[0].astype(np.float32)
            factor = np.ascontiguousarray(matrix.T @ p)
            found = factor.any(axis=0)  # a column of zeros would stay so
            q[:, found] = factor[:, found]
            decoded[place] = product(p, factor).reshape(-1)
            floats += [p.reshape(-1), factor.reshape(-1)]
        return encode_frame(np.concatenate([*floats, np.empty(0, np.float32)]), Float32())

    def state(self) -> dict[str, Any]:
        """Return the factors by the tensors' names, float32."""
        return {name: q.reshape(-1) for name, q in self._q.items()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Resume from what `state` returned."""
        for name, q in self._q.items():
            q[:] = np.asarray(state[name], np.float32).reshape(q.shape)


def product(p: F32, q: F32) -> F32:
    """Return p q^T, column by column in float32: the same bits on every machine, unlike BLAS's."""
    total = np.zeros((len(p), len(q)), np.float32)
    for left, right in zip(p.T, q.T, strict=True):
        total += left[:, None] * right
    return total

"""Deep gradient compression: top-k of what momentum, applied before the selection, has gathered.

What is sent is masked. Meant for the server's plain SGD: the momentum is at the workers. Warm-up of the density and
clipping are the loop's. Source: Lin, Han, Mao, Wang, Dally, "Deep gradient compression", ICLR 2018, algorithm 4.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from gradwire_common.layout.manifest import Layout, Unit
from gradwire_common.methods.method import F32
from gradwire_common.methods.published import PublishedEncoder
from gradwire_common.methods.topk import TopK


class Dgc(TopK):
    """Sends the largest of v = v + m where m = momentum * m + g, and forgets v and m where it has.

    Attributes:
        density: of the entries that are sent.
        momentum: from 0 to below 1.
        scope: what they are the largest of.
    """

    label: ClassVar[str] = "dgc"
    number: ClassVar[int] = 0x65

    density: float = Field(0.001, gt=0.0, le=1.0)
    scope: Literal["tensor", "block"] = "tensor"  # the whole model is topk's alone
    levels: int = Field(0, ge=0, le=256)
    momentum: float = Field(0.9, ge=0.0, lt=1.0)

    def encoder(self, layout: Layout, memory: F32 | None = None) -> PublishedEncoder:
        """Return an encoder of updates of `layout`."""
        return DgcEncoder(self, layout, memory)


class DgcEncoder(PublishedEncoder):
    """Owns the momentum m; v is the residual memory."""

    method: Dgc

    def __init__(self, method: Dgc, layout: Layout, memory: F32 | None):
        super().__init__(method, layout, memory)
        self._momentum = np.zeros(layout.n_parameters, np.float32)

    def prepare(self, values: F32, unit: Unit | None = None) -> None:
        """Turn gradients into m, then add what the memory holds."""
        gradient = values[: self.layout.n_parameters]
        self._momentum *= np.float32(self.method.momentum)
        self._momentum += gradient
        gradient[:] = self._momentum
        super().prepare(values, unit)

    def pack(self, u: F32, unit: Unit, decoded: F32) -> bytes:
        """Return the body of one unit's frame; stop the momentum of what is sent."""
        body = self.method.pack(u, unit, decoded)
        self._momentum[unit.place][decoded != 0] = 0
        return body

    def state(self) -> dict[str, Any]:
        """Return the momentum, float32."""
        return {"momentum": self._momentum}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Resume from what `state` returned."""
        self._momentum[:] = state["momentum"]

"""M22 and the one-bit variant: the model's largest entries by fitted levels that weigh large entries more.

To the kept entries of each tensor a GenNorm or a double Weibull is fitted; its 2^R levels are of least mean distortion
abs(g)^M (g - q)^2. Sources: Liu, Rini, Salehkalaibar, Chen, "M22: a communication-efficient algorithm for federated
learning inspired by rate-distortion", 2023; Chen, Liu, Rini, "How much accuracy can one bit buy?", 2022.
"""

import math
from typing import ClassVar, Literal

from pydantic import Field

from gradwire_common.layout.manifest import Layout
from gradwire_common.methods.fitted_levels import quantize_by_fit
from gradwire_common.methods.method import F32
from gradwire_common.methods.published import FLOAT_BITS
from gradwire_common.methods.sparse.frame import U8
from gradwire_common.methods.sparse.whole_model import WholeModel
from gradwire_common.methods.tensors import n_tensors_of

VALUE_BITS = 0.6  # an entry of the model, that the paper spends on values


class M22(WholeModel):
    """Sends the largest entries of the model at `bits` each.

    Attributes:
        bits: R, of a kept entry, before its levels are coded at their entropy.
        power: M; 0 is the mean square error.
        fit: what is fitted, "gennorm" or "weibull".
        density: of the entries that are kept; None keeps VALUE_BITS / bits of them.
    """

    label: ClassVar[str] = "m22"
    number: ClassVar[int] = 0x72

    bits: int = Field(2, ge=1, le=8)
    power: float = Field(2.0, ge=0.0, le=20.0)
    fit: Literal["gennorm", "weibull"] = "gennorm"
    density: float | None = Field(None, gt=0.0, le=1.0)

    @property
    def share(self) -> float:
        """The density."""
        return VALUE_BITS / self.bits if self.density is None else self.density

    @property
    def n_levels(self) -> int:
        """Levels of a tensor's kept entries."""
        return int(2**self.bits)

    def bins(self, values: F32, n_levels: int) -> tuple[U8, F32]:
        """Return each value's bin by the levels of the fit, and the levels."""
        return quantize_by_fit(values, n_levels, self.fit, self.power)

    def authors_bits(self, layout: Layout) -> float:
        """Return R bits for every kept entry and two floats a tensor: positions are not counted."""
        return math.ceil(self.share * layout.n_parameters) * self.bits + 2 * FLOAT_BITS * n_tensors_of(layout)

    def __str__(self) -> str:
        return f"{self.label}, M {self.power:g}, R {self.bits}"


class OneBit(M22):
    """The setting of the older paper: M 2, R 4, the largest 45.2 % of the entries."""

    label: ClassVar[str] = "onebit"
    number: ClassVar[int] = 0x73

    bits: int = Field(4, ge=1, le=8)
    density: float | None = Field(0.452, gt=0.0, le=1.0)

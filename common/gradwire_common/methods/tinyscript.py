"""TinyScript: every entry by the Lloyd levels of the double Weibull that is fitted to its tensor.

Source: Fu et al., "Don't waste your bits! Squeeze activations and gradients for deep neural networks via TinyScript",
ICML 2020.
"""

from typing import ClassVar

from pydantic import Field

from gradwire_common.methods.binned import U8, Binned
from gradwire_common.methods.fitted_levels import quantize_by_fit
from gradwire_common.methods.method import F32


class TinyScript(Binned):
    """Sends every entry by one of 2^bits symmetric levels.

    Attributes:
        bits: of an entry, before its bins are coded at their entropy.
    """

    label: ClassVar[str] = "tinyscript"
    number: ClassVar[int] = 0x74

    bits: int = Field(3, ge=1, le=8)

    def quantize(self, values: F32) -> tuple[U8, F32]:
        """Return the bins of Lloyd's levels."""
        return quantize_by_fit(values, self.n_bins, "weibull", 0.0)

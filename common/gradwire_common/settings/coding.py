"""Section `coding`: how updates are coded, up and down."""

from pydantic import Field

from gradwire_common.methods.method import BITS_MAX, BITS_MIN, FLOAT32, Allocation, Method, QuantizerName, TransformName
from gradwire_common.settings.section import Section
from gradwire_common.settings.types import Bits
from gradwire_common.units import AUTO

AUTO_BITS_DOWN = 2.0  # bits per entry of the broadcast where the uplink's are auto and nothing else is said


class CodingSettings(Section):
    """How updates are coded."""

    quantizer: QuantizerName = Field("uniform", description="quantiser of the gradients")
    bits: Bits = Field(
        2.0,
        description=f"bits per gradient entry, {BITS_MIN:g} to {BITS_MAX:g}, or auto: what the link allows (uniform)",
    )
    bits_down: Bits | None = Field(
        None,
        description="bits per entry of the broadcast, or auto: what the slowest worker is sent in the wanted seconds; "
        "--bits when not given, 2 where that is auto",
    )
    allocation: Allocation = Field("common", description="one step size for all tensors, or the same bits for each")
    gamma: float = Field(1.0, ge=0.0, le=1.0, description="decay of the residual memory; 0 switches it off")
    transform: TransformName = Field("none", description="orthonormal transform of the gradients before quantising")

    @property
    def uplink(self) -> Method:
        """How pushes are coded."""
        return Method(
            quantizer=self.quantizer,
            bits=AUTO_BITS_DOWN if self.bits == AUTO else self.bits,
            auto=self.bits == AUTO and self.quantizer == "uniform",
            allocation=self.allocation,
            gamma=self.gamma,
            transform=self.transform,
        )

    @property
    def downlink(self) -> Method:
        """How the changes of the replica are coded. Its residual memory is what the replica lacks, so gamma is 1."""
        if self.quantizer == "float32":
            return FLOAT32
        bits = self.uplink.bits if self.bits_down is None else self.bits_down
        return Method(
            quantizer=self.quantizer,
            bits=AUTO_BITS_DOWN if bits == AUTO else bits,
            auto=bits == AUTO and self.quantizer == "uniform",
            allocation=self.allocation,
            gamma=1.0,
            transform="none",
        )

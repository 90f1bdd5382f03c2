"""The options of the entropy method, checked: residual memory, transform, quantiser and the bits that it aims at."""

from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator

from gradwire_common.methods.quantizer_names import QuantizerName
from gradwire_common.units import AUTO

if TYPE_CHECKING:  # settings load neither numpy nor kernels
    from gradwire_common.codec.formats import Format

Allocation = Literal["common", "per-tensor"]
TransformName = Literal["none", "dct"]

MIN_BITS, MAX_BITS = 0.01, 8.0  # per entry; what the uniform quantiser is made for
BROADCAST_BITS = 2.0  # per entry of the broadcast where the uplink's are auto and nothing else is said


def _bits(value: Any) -> float | str:
    with suppress(TypeError, ValueError, OverflowError):
        if value == AUTO or MIN_BITS <= (value := float(value)) <= MAX_BITS:
            return value  # type: ignore[no-any-return]
    raise ValueError(f"a number from {MIN_BITS:g} to {MAX_BITS:g}, or {AUTO}")


Bits = Annotated[float | Literal["auto"], PlainValidator(_bits)]


class EntropyOptions(BaseModel):
    """What is set of the entropy method."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    quantizer: QuantizerName = Field("uniform", description="quantiser of the entries")
    bits: Bits = Field(2.0, description="bits per entry that the uniform quantiser aims at")
    allocation: Allocation = Field("common", description="one step size for all tensors, or the same bits for each")
    gamma: float = Field(1.0, ge=0.0, le=1.0, description="decay of the residual memory; 0 switches it off")
    transform: TransformName = Field("none", description="orthonormal transform before quantising")
    dead_zone: float = Field(0.5, ge=0.5, le=1.0, description="least magnitude that is sent, in step sizes (uniform)")
    means: bool = Field(False, description="decode the first buckets of the uniform quantiser as their entries' means")

    @property
    def format(self) -> "Format":
        """What entries are quantised to."""
        from gradwire_common.codec.formats import format_named

        return format_named(self.quantizer)

    @property
    def auto(self) -> bool:
        """Whether each update takes as many bits as its budget allows."""
        return self.bits == AUTO and self.format.takes_bits

    @property
    def target_bits(self) -> float:
        """Bits per entry that are aimed at where there is no budget."""
        return MAX_BITS if self.bits == AUTO else float(self.bits)

"""How an update is coded: the settings of memory, transform, quantiser and coder together."""

from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

QuantizerName = Literal[
    "uniform", "float8-1-5-2", "float8-1-4-3", "float4-1-2-1", "bfloat16", "lossless", "float32"
]  # lossless is float32 with its exponents coded; float32 is stored as it is: the baseline
Allocation = Literal["common", "per-tensor"]
TransformName = Literal["none", "dct"]

BITS_MIN, BITS_MAX = 0.01, 8.0  # per entry; what the uniform quantiser is made for

QUANTIZER_NAMES: tuple[str, ...] = get_args(QuantizerName)


class Method(BaseModel):
    """memory (residual) + transform + quantiser + coder, as one value."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    quantizer: QuantizerName = Field("uniform", description="quantiser of the entries")
    bits: float = Field(2.0, ge=BITS_MIN, le=BITS_MAX, description="bits per entry that the uniform quantiser aims at")
    auto: bool = Field(False, description="whether each push takes as many bits as its budget allows instead (uniform)")
    allocation: Allocation = Field("common", description="one step size for all tensors, or the same bits for each")
    gamma: float = Field(1.0, ge=0.0, le=1.0, description="decay of the residual memory; 0 switches it off")
    transform: TransformName = Field("none", description="orthonormal transform before quantising")

    @property
    def exact(self) -> bool:
        """True where nothing is lost, so that no residual is needed."""
        return self.quantizer in ("lossless", "float32")

    @property
    def nominal_bits(self) -> float:
        """Bits per entry that an update takes, about; the most that it may where they follow from a budget."""
        fixed = {"uniform": BITS_MAX if self.auto else self.bits, "float4-1-2-1": 4.0, "bfloat16": 16.0}
        return fixed.get(self.quantizer, 8.0 if self.quantizer.startswith("float8") else 32.0)


FLOAT32 = Method(quantizer="float32", gamma=0.0)

"""Section `coding`: how updates are coded, up and down."""

from functools import cached_property
from typing import TYPE_CHECKING

from pydantic import Field

from gradwire_common.errors import ConfigError
from gradwire_common.methods.entropy_options import (
    MAX_BITS,
    MIN_BITS,
    Allocation,
    Bits,
    TransformName,
)
from gradwire_common.methods.quantizer_names import QuantizerSetting
from gradwire_common.methods.registry import DEFAULT, METHODS, build_method
from gradwire_common.settings.section import Section
from gradwire_common.settings.types import Options

if TYPE_CHECKING:  # settings load neither numpy nor kernels
    from gradwire_common.methods.method import Method


class CodingSettings(Section):
    """How updates are coded."""

    method: str = Field(
        DEFAULT, description=f"what updates go through: {', '.join(METHODS)}, or one that is registered"
    )
    method_options: Options = Field({}, description="options of the method beside the following, as JSON")
    quantizer: QuantizerSetting = Field(
        "uniform", description="quantiser of the gradients; float32 means the method raw"
    )
    bits: Bits = Field(
        2.0,
        description=f"bits per gradient entry, {MIN_BITS:g} to {MAX_BITS:g}, or auto: what the link allows (uniform)",
    )
    bits_down: Bits | None = Field(
        None,
        description="bits per entry of the broadcast, or auto: what the slowest worker is sent in the wanted seconds; "
        "--bits when not given, 2 where that is auto",
    )
    allocation: Allocation = Field("common", description="one step size for all tensors, or the same bits for each")
    gamma: float | None = Field(
        None,
        ge=0.0,
        le=1.0,
        description="decay of the residual memory, 0 to 1; 0 switches it off; the method's own when not given",
    )
    transform: TransformName = Field("none", description="orthonormal transform of the gradients before quantising")

    @cached_property
    def uplink(self) -> "Method":
        """How pushes are coded. Raises ConfigError where the method does not take its options."""
        named = {name: getattr(self, name) for name in ("quantizer", "bits", "allocation", "gamma", "transform")}
        shared = {name: value for name, value in named.items() if value is not None}
        try:
            return build_method(self.method, self.method_options, shared)
        except ConfigError as error:
            of_method = str(error).partition(":")[0] in self.method_options
            raise ConfigError(f"method_options.{error}" if of_method else str(error)) from None

    @cached_property
    def downlink(self) -> "Method":
        """How the changes of the replica are coded. Raises ConfigError as `uplink` does."""
        return self.uplink.broadcast(self.bits_down)

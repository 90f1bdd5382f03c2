"""How a worker codes its pushes, where that differs from what the server says."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from gradwire_common.methods.entropy_options import Allocation, TransformName
from gradwire_common.methods.quantizer_names import QuantizerSetting
from gradwire_common.methods.registry import DEFAULT, build_method


@dataclass(frozen=True, kw_only=True)
class Coding:
    """How pushes are coded; None means what the server says. Checked when it is made.

    Attributes:
        quantizer: as in the settings; float32 for the method raw.
        gamma: decay of the residual memory.
        transform: orthonormal transform before quantising.
        allocation: "common" or "per-tensor".
        method: another method than the server's, by name.
        options: its own options.

    Raises:
        ConfigError: a value that cannot be; names it.
    """

    quantizer: QuantizerSetting | None = None
    gamma: float | None = None
    transform: TransformName | None = None
    allocation: Allocation | None = None
    method: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.overrides()

    def overrides(self, bits: float | Literal["auto"] | None = None) -> dict[str, Any]:
        """Return the options that replace those of the run's method; bits alone imply the uniform quantiser.

        Raises:
            ConfigError: a value that cannot be; names it.
        """
        named = {name: getattr(self, name) for name in ("quantizer", "gamma", "transform", "allocation", "method")}
        given = {name: value for name, value in {"bits": bits, **named}.items() if value is not None}
        if bits is not None and self.method is None:
            given.setdefault("quantizer", "uniform")
        if "quantizer" in given:
            given.setdefault("method", DEFAULT)
        given |= self.options
        build_method(given.get("method", DEFAULT), {name: value for name, value in given.items() if name != "method"})
        return given

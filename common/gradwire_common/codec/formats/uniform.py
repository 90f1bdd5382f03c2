"""The uniform mid-tread quantiser: multiples of one step size."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from gradwire_common.codec.formats.format import BucketLayout, Parameter
from gradwire_common.codec.kernels import grids
from gradwire_common.codec.kernels.grids import Grid
from gradwire_common.codec.model.gennorm import GenNorm
from gradwire_common.codec.model.rates import distortion, entropy_bits
from gradwire_common.codec.model.step_sizes import K_MAX, STEP_MAX, STEP_MIN, n_levels
from gradwire_common.codec.model.tensor_fit import TensorFit
from gradwire_common.errors import BitstreamError

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]

_NOTHING, _NONE = np.empty(0, np.float32), np.float32(0)


@dataclass(frozen=True, eq=False)
class UniformFormat:
    """Whole multiples of a step size, which a plan chooses from the bits that are asked for.

    Attributes:
        name: Name in settings.
        number: Number in the header of frames.
    """

    name: str
    number: int
    parameter: ClassVar[Parameter] = Parameter("step size", STEP_MIN, STEP_MAX)
    buckets: ClassVar[BucketLayout] = BucketLayout(K_MAX, tuple(range(9)), tuple(range(9)), any_origin=False)
    takes_bits: ClassVar[bool] = True
    needs_fit: ClassVar[bool] = True
    exact: ClassVar[bool] = False
    nominal_bits: ClassVar[float] = 8.0
    raw_dtype: ClassVar[str] = "<i4"

    def lower_borders(self, magnitudes: I64) -> F64:
        """Return half a step below each of `magnitudes`, in steps."""
        return np.asarray(np.maximum(magnitudes - 0.5, 0))

    def build(self, parameter: float = 0.0) -> "Uniform":
        """Return the quantiser of a step size."""
        return Uniform(parameter, self)

    def choose(self, fit: TensorFit, step: float) -> "Uniform":  # noqa: ARG002
        """Return the quantiser of the planned step size."""
        return Uniform(step, self)


UNIFORM = UniformFormat("uniform", 5)


@dataclass(frozen=True, slots=True)
class Uniform:
    """Levels at k * step for whole k, abs(k) <= k_max. A symbol is k itself.

    Everything is float32 arithmetic, one rounding each:

        k = round_half_even(clip(x * inverse_step, -k_max, k_max))      level = float32(k) * step

    Entries beyond k_max steps saturate there; the residual carries the rest.

    Attributes:
        step: Step size in gradient units, a float32 number in [STEP_MIN, STEP_MAX]; rounded to float32 at birth.
    """

    step: float
    format: UniformFormat = UNIFORM

    def __post_init__(self) -> None:
        object.__setattr__(self, "step", self.format.parameter.rounded(self.step))

    @property
    def parameter(self) -> float:
        """The step size."""
        return self.step

    @property
    def unit(self) -> float:
        """The step size."""
        return self.step

    @property
    def dead_zone(self) -> float:
        """Half a step."""
        return self.step / 2

    @property
    def largest(self) -> float:
        """The level of the largest symbol."""
        return self.k_max * self.step

    @property
    def magnitudes(self) -> F32:
        """Nothing: the kernels multiply."""
        return _NOTHING

    @property
    def inverse_step(self) -> np.float32:
        """1 / step, rounded to float32."""
        return np.float32(1) / np.float32(self.step)

    @property
    def k_max(self) -> int:
        """Largest symbol: K_MAX, or less where the level K_MAX would exceed float32."""
        return n_levels(self.step)

    def quantize(self, x: F32) -> I32:
        """Return the symbol of each entry of finite `x`, int32, in the shape of `x`."""
        limit = np.float32(self.k_max)
        with np.errstate(over="ignore", under="ignore"):
            steps = np.asarray(x, np.float32) * self.inverse_step
        return np.asarray(np.rint(np.clip(steps, -limit, limit)), np.int32)

    def dequantize(self, symbols: I32) -> F32:
        """Return the level of each symbol, float32."""
        return np.asarray(symbols).astype(np.float32) * np.float32(self.step)

    def check_symbols(self, symbols: I32) -> None:
        """Raise BitstreamError unless all symbols are within k_max."""
        if symbols.size and int(np.abs(symbols.astype(np.int64)).max()) > self.k_max:
            raise BitstreamError(f"frame has a symbol beyond {self.k_max}")

    def grid(self, raw_bits: int, origin: int, n_coded: int) -> Grid:
        """Return the quantiser and a bucket layout, as the kernels take them."""
        modulus = self.format.buckets.n_magnitude_buckets(raw_bits)
        layout = raw_bits, origin, modulus, n_coded
        step = np.float32(self.step)
        return Grid(grids.UNIFORM, self.inverse_step, step, self.k_max, _NONE, _NONE, 1, 0, *layout)

    def predict(self, model: GenNorm) -> tuple[float, float]:
        """Return entropy and NMSE for entries of `model`."""
        ratio = self.step / model.alpha
        lost = float(distortion(model.beta, ratio)) * model.alpha**2
        return float(entropy_bits(model.beta, ratio)), lost / model.variance

    def cell_probabilities(self, model: GenNorm, k_last: int) -> F64:
        """Return the probabilities of the symbols -k_last..k_last under `model`.

        Args:
            model: Distribution of the entries.
            k_last: Largest symbol asked for, >= 0.

        Returns:
            float64 of shape (2 * k_last + 1,), symmetric; without the tails, which `tail_probability` gives.
        """
        borders = (np.arange(k_last + 1) + 0.5) * self.step
        inside, outside = model.inside(borders), 2 * model.survival(borders)
        rings = np.where(inside[:-1] < 0.5, inside[1:] - inside[:-1], outside[:-1] - outside[1:]) / 2
        return np.concatenate([rings[::-1], inside[:1], rings])

    def tail_probability(self, model: GenNorm, k_last: int) -> float:
        """Return the probability under `model` of a symbol beyond k_last on either side."""
        return float(2 * model.survival((k_last + 0.5) * self.step))

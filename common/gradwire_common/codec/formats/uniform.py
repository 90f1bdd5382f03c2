"""The uniform mid-tread quantiser: multiples of one step size."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gradwire_common.codec.model.gennorm import GenNorm
from gradwire_common.errors import UsageError

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

K_MAX = (
    1 << 20
)  # levels each side; float32 still resolves an eighth of a level there, and 2**22 bounds the rounding trick
STEP_MIN = 2.0**-126  # gradient units; below it 1 / step or step itself leaves the normal float32 range
STEP_MAX = 2.0**126  # gradient units


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

    def __post_init__(self) -> None:
        if not STEP_MIN <= self.step <= STEP_MAX:
            raise UsageError(f"step size is {self.step}, want a number from {STEP_MIN} to {STEP_MAX}")
        object.__setattr__(self, "step", float(np.float32(self.step)))

    @property
    def name(self) -> str:
        """Name in configurations."""
        return "uniform"

    @property
    def inverse_step(self) -> np.float32:
        """1 / step, rounded to float32."""
        return np.float32(1) / np.float32(self.step)

    @property
    def k_max(self) -> int:
        """Largest symbol: K_MAX, or less where the level K_MAX would exceed float32."""
        return min(K_MAX, math.floor(float(np.finfo(np.float32).max) / self.step))

    def quantize(self, x: F32) -> npt.NDArray[np.int32]:
        """Return the symbol of each entry of finite `x`, int32, in the shape of `x`."""
        limit = np.float32(self.k_max)
        with np.errstate(over="ignore", under="ignore"):
            steps = np.asarray(x, np.float32) * self.inverse_step
        return np.asarray(np.rint(np.clip(steps, -limit, limit)), np.int32)

    def dequantize(self, symbols: npt.NDArray[np.int32]) -> F32:
        """Return the level of each symbol, float32."""
        return np.asarray(symbols).astype(np.float32) * np.float32(self.step)

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

"""The step size that spends the bits asked, as far as they can be spent with use."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gradwire_common.codec.kernels.exceedances import gains
from gradwire_common.codec.model.rates.allocation import common_step
from gradwire_common.codec.model.rates.measured import SampledRate, measured_bits
from gradwire_common.codec.model.rates.thinning import Thinning, thin
from gradwire_common.codec.model.step_sizes import STEP_MAX, STEP_MIN, n_levels
from gradwire_common.codec.model.tensor_fit import TensorFit
from gradwire_common.errors import UsageError

MEASURED_BITS_MAX = 2.5  # bits per entry; above, the fit predicts the bits of a smooth density better than counts
MODEL_TOLERANCE = 0.05  # of the bits; a fit that misses them by more does not describe the entries
TOLERANCE = 0.005  # of the bits
FAR_OFF = 2.0  # of log(bits got / bits wanted), beyond which it is no line any more
MISSED = 0.05  # of the bits; where the search ends further off, no step size costs them
ROUNDS_MAX = 20  # counts; three to five are usual with a good guess
FIRST_REACH = 0.25  # of log(step), on the way to a first bracket; doubled each time
LEAST_GAIN = 1 / 64  # of the energy of what is sent; a step of 1.99 times equal entries gains less, and is no use
N_GAINS = 1 << 16  # entries over all tensors on which the gain is taken


@dataclass(frozen=True, slots=True)
class Spending:
    """How an update is quantised.

    Attributes:
        step: step size, in gradient units.
        thinning: which entries are sent; None for all that the step size leaves.
    """

    step: float
    thinning: Thinning | None = None


def plan_spending(
    fits: Sequence[TensorFit], bits: float, guess: float | None = None, *, tolerance: float = TOLERANCE
) -> Spending:
    """Choose the one step size at which all tensors together cost `bits` per entry, or what is best instead.

    What the entries cannot use is not spent: a step size is never so fine that an entry saturates, nor finer than what
    8 bits for each entry that is not zero buy. Where no step size costs the bits, because many entries are alike, the
    largest entries are sent at their own size. So the error is smaller than the update, unless that is zero or too
    small for float32's normal numbers.

    Args:
        fits: of the tensors.
        bits: Mean bits per entry over all tensors, > 0.
        guess: Where to begin, e.g. the last round's step size, which saves counts; by default what the fits say.
        tolerance: of the bits.

    Returns:
        The plan; its step size is from STEP_MIN to STEP_MAX.

    Raises:
        UsageError: bits <= 0.
    """
    if not (math.isfinite(bits) and bits > 0):
        raise UsageError(f"bits per entry are {bits}, want a positive finite number")
    some = [fit for fit in fits if fit.largest > 0]
    if not some:
        return Spending(min(max(guess or 1.0, STEP_MIN), STEP_MAX))
    sizes = [fit.n for fit in fits]
    want = min(bits, sum(fit.n * fit.affordable_bits for fit in fits) / sum(sizes))
    high = min(2.0 * max(fit.largest for fit in some), STEP_MAX)  # where nothing is sent
    low = max(max(fit.range_step for fit in some), min(fit.finest_step for fit in some))
    low, high = min(low, STEP_MAX), max(low, high)

    count = _counter(fits, want)
    first = guess or 0.0
    if want > MEASURED_BITS_MAX or not guess:
        modelled = min(max(common_step([fit.model for fit in fits], sizes, want), low), high)
        if want > MEASURED_BITS_MAX and abs(count(modelled) / want - 1) < MODEL_TOLERANCE:
            return Spending(modelled)
        first = first or modelled
    step, excess = _search(count, want, min(max(first, low), high), (low, high), tolerance)
    energy, gain = _gains(some, step)
    if abs(excess) > MISSED or gain <= LEAST_GAIN * energy or step <= low:
        thinning = thin(some, want * sum(sizes))
        if thinning.gain >= (1 - 1e-6) * gain or excess > MISSED:
            return Spending(min(thinning.step, STEP_MAX), thinning)
    return Spending(step)


def plan_each(fits: Sequence[TensorFit], bits: float) -> list[Spending]:
    """Choose for each tensor the step size at which it costs `bits` per entry, as `plan_spending` does for all."""
    return [plan_spending([fit], bits, tolerance=MODEL_TOLERANCE) for fit in fits]


def _counter(fits: Sequence[TensorFit], want: float) -> Callable[[float], float]:
    """Return what tells the bits per entry at a step size, near `want`."""
    if want > MEASURED_BITS_MAX:
        return SampledRate(fits).bits
    return lambda step: measured_bits(fits, step)


def _search(
    count: Callable[[float], float], want: float, first: float, limits: tuple[float, float], tolerance: float
) -> tuple[float, float]:
    """Return the step size within `limits` that costs the bits wanted, and log(bits got / bits wanted).

    Where none does, it is one that costs less, if there is any; where even the finest costs less, it is that.
    """
    low, high = math.log(limits[0]), math.log(limits[1])
    x, reach = math.log(first), FIRST_REACH
    below: tuple[float, float] | None = None  # log(step) and log(bits got / bits wanted) where the step is too fine
    above: tuple[float, float] | None = None  # where it is too coarse
    for _ in range(ROUNDS_MAX):
        excess = math.log(max(count(math.exp(x)) / want, 1e-9))
        if excess > 0:
            below = (x, excess)
        else:
            above = (x, excess)
        if abs(excess) < tolerance or (below is None and x <= low) or (above is None and x >= high):
            break
        if below and above:
            share = below[1] / (below[1] - above[1]) if above[1] > -FAR_OFF else 0.5
            x = below[0] + min(max(share, 0.15), 0.85) * (above[0] - below[0])
        else:
            x = min(max(x + math.copysign(reach, excess), low), high)
            reach *= 2
    ends = [end for end in (above, below) if end]
    nearest = min(ends, key=lambda end: abs(end[1]))
    x, excess = nearest if abs(nearest[1]) < MISSED else ends[0]
    if above and above[0] <= low:
        excess = 0.0
    return min(max(math.exp(x), limits[0]), limits[1]), excess


def _gains(fits: Sequence[TensorFit], step: float) -> tuple[float, float]:
    """Return the energy of what is sent at `step`, and how much less the errors have, in squared gradient units."""
    every = max(1, sum(fit.values.size for fit in fits) // N_GAINS)
    k_max, energy, gain = float(n_levels(step)), 0.0, 0.0
    for fit in fits:
        got = gains(fit.values, step, k_max, every)
        energy, gain = energy + got[0], gain + got[1]
    return energy * every * step**2, gain * every * step**2

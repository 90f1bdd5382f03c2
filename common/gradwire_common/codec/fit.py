"""The fit of a GenNorm to a tensor: the moments of every entry, then maximum likelihood on a sample of them.

Three steps, each a function, so that moments and sample may as well come from a GPU:

    measure      one pass over the entries, at the speed of memory: mean magnitude, mean square, zeros, finiteness
    draw_sample  one entry from each of N_SAMPLE equal strips
    fit_moments  Newton steps of maximum likelihood on the sample, then what the sample missed is put right

The last point makes a small sample do: the sample's own moments are known too, so where they lie off the moments of all
entries, the estimates are off likewise, and are moved by the regression of one error on the other (a control variate).
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from gradwire_common.codec.gennorm import GenNorm
from gradwire_common.codec.kernels.moments import moment_sums, strip_sample
from gradwire_common.errors import NonFiniteError, UsageError

F32 = npt.NDArray[np.float32]

BETA_MIN = 0.2  # atoms and outliers want less; but there the data's own code lengths serve better than any fit
BETA_MAX = 4.0  # flatter densities gain nothing: the uniform one costs 0.02 bits an entry when coded as this
ALPHA_MIN = 2.0**-149  # gradient units; the least positive float32
N_SAMPLE = 1 << 15  # entries; shape within 1 % (one standard error) before the moments' correction
N_MOMENTS = 1 << 21  # entries; what the moments need at least of a large tensor
NOTHING = GenNorm(1.0, ALPHA_MIN)  # the answer for no entries and for zeros only

_MOMENT_BETAS = np.geomspace(16.0, 0.1, 513)
_MOMENT_RATIOS = (
    special.gammaln(3 / _MOMENT_BETAS) + special.gammaln(1 / _MOMENT_BETAS) - 2 * special.gammaln(2 / _MOMENT_BETAS)
)


@dataclass(frozen=True, slots=True)
class Moments:
    """What one pass over all entries of a tensor tells.

    Attributes:
        n: Number of entries read.
        n_zero: Number of entries that are exactly zero.
        mean_abs: Mean magnitude over all n, in gradient units.
        mean_square: Mean square over all n, in squared gradient units.
    """

    n: int
    n_zero: int
    mean_abs: float
    mean_square: float


def fit_gennorm(values: F32, *, check_finite: bool = True) -> GenNorm:
    """Fit a GenNorm by maximum likelihood.

    Every entry is read once; above N_SAMPLE entries the likelihood itself is taken on a sample. Shapes are confined to
    BETA_MIN..BETA_MAX; a constant gives BETA_MAX. No entries, or zeros only, give the shape 1 and the scale ALPHA_MIN,
    to which every step size that is a normal float32 is so coarse that nothing is predicted to be sent.

    Args:
        values: Entries, float32 of any shape; not changed.
        check_finite: Read every entry. Callers whose next pass refuses NaN and infinity itself may set it to False:
            then a tensor of 2 * N_MOMENTS entries or more is read in part, blocks of N_MOMENTS entries or more in all.

    Returns:
        The fitted model, scale in the unit of `values`.

    Raises:
        NonFiniteError: An entry (one of those read) is NaN or infinite.
        UsageError: `values` is not float32.

    Source: Do and Vetterli, IEEE Trans. Image Process. 11(2), 2002, section III-B (likelihood equation, Newton steps).
    """
    if values.dtype != np.float32:
        raise UsageError(f"values to fit are {values.dtype}, want float32")
    values = np.ascontiguousarray(values).reshape(-1)
    moments = measure(values, every=1 if check_finite else max(1, values.size // N_MOMENTS))
    return fit_moments(moments, draw_sample(values, moments))


def measure(values: F32, every: int = 1) -> Moments:
    """Take the moments of every `every`-th block of contiguous, one-dimensional `values` in one pass.

    Raises:
        NonFiniteError: An entry of those blocks is NaN or infinite.
    """
    total, squares, n_zero, n_read = moment_sums(values, every)
    if not math.isfinite(squares):
        bad = values.size - np.count_nonzero(np.isfinite(values))
        raise NonFiniteError(f"{bad} of {values.size} entries are NaN or infinite, want finite numbers")
    n = int(n_read)
    return Moments(n, int(n_zero), total / max(n, 1), squares / max(n, 1))


def draw_sample(values: F32, moments: Moments) -> F32:
    """Return at most N_SAMPLE entries of contiguous, one-dimensional `values`, all parts of it alike represented.

    Where most entries are zero, only the others are drawn from: `moments` already has the zeros.
    """
    if moments.n_zero > 0.75 * moments.n:
        values = values[values != 0]
    if values.size <= N_SAMPLE:
        return values
    sample = np.empty(N_SAMPLE, np.float32)
    strip_sample(values, sample)
    return sample


def fit_moments(moments: Moments, sample: F32) -> GenNorm:
    """Fit a GenNorm to a sample, given the moments of all entries.

    Args:
        moments: Moments of all entries.
        sample: Some or all of the entries, float32, finite. Zeros in it do not matter, their share is in `moments`.

    Returns:
        The fitted model.
    """
    magnitudes = np.abs(sample if sample.all() else sample[sample != 0])
    if magnitudes.size == 0 or moments.mean_abs == 0:
        return NOTHING
    share = 1 - moments.n_zero / moments.n  # of entries that are not zero
    logs = np.log(magnitudes)
    peak = logs.max()  # taken off, so that no power overflows and at least one does not vanish
    logs -= peak
    beta = _moment_beta(moments.mean_abs, moments.mean_square)
    if logs.size > 8192:
        beta = _likeliest_beta(np.ascontiguousarray(logs[::8]), share, beta, 1e-2)
    beta = _likeliest_beta(logs, share, beta, 1e-3)  # the last step squares it

    n_drawn = magnitudes.size / share
    total, squares, _, _ = moment_sums(magnitudes, 1)
    whole = n_drawn > moments.n - 0.5
    if not whole:
        drift = math.log(
            _moment_beta(moments.mean_abs, moments.mean_square) / _moment_beta(total / n_drawn, squares / n_drawn)
        )
        beta *= math.exp(_confined(_beta_regression(beta) * drift, 3 * math.sqrt(_log_beta_variance(beta) / n_drawn)))
        beta = min(max(beta, BETA_MIN), BETA_MAX)
    power = float(np.exp(logs * np.float32(beta)).sum()) * share / logs.size
    log_alpha = math.log(beta * power) / beta + float(peak)
    if not whole:
        drift = math.log(moments.mean_abs * n_drawn / total)
        log_alpha += _confined(_alpha_regression(beta) * drift, 3 / math.sqrt(beta * n_drawn))
    return GenNorm(beta, max(math.exp(log_alpha), ALPHA_MIN))


def _likeliest_beta(logs: F32, share: float, beta: float, tolerance: float) -> float:
    """Root of the profile likelihood's derivative, by Newton steps inside a shrinking bracket."""
    low, high = BETA_MIN, BETA_MAX
    beta = min(max(beta, low), high)
    for _ in range(40):
        powers = np.exp(logs * np.float32(beta))
        weighted = powers * logs
        s0, s1, s2 = float(powers.sum()), float(weighted.sum()), float(weighted @ logs)
        s1, s2 = s1 / s0, s2 / s0
        digamma, log_scale = float(special.digamma(1 / beta)), math.log(beta * share * s0 / logs.size)
        score = 1 + (digamma + log_scale) / beta - s1
        slope = ((1 / beta + s1) - (digamma + log_scale + float(special.zeta(2, 1 / beta)) / beta) / beta) / beta
        slope -= s2 - s1 * s1
        if score > 0:
            low = beta
        else:
            high = beta
        following = beta - score / slope if slope < 0 else math.copysign(math.inf, score)
        if not low < following < high:
            edge = BETA_MIN if following <= low else BETA_MAX
            following = edge if edge in (low, high) and beta != edge else math.sqrt(low * high)
        moved = abs(following - beta)
        beta = following
        if moved < tolerance * beta or high - low < 1e-6:
            break
    return beta


def _moment_beta(mean_abs: float, mean_square: float) -> float:
    """Shape whose ratio of mean square to squared mean magnitude is the given one."""
    ratio = math.log(mean_square) - 2 * math.log(mean_abs)
    return float(np.interp(ratio, _MOMENT_RATIOS, _MOMENT_BETAS))


def _confined(x: float, limit: float) -> float:
    return min(max(x, -limit), limit)


def _log_beta_variance(beta: float) -> float:
    """Variance of the likeliest log(beta), times the number of entries: the inverse Fisher information."""
    a = 1 / beta
    return beta / ((1 + a) * float(special.zeta(2, 1 + a)) - 1)


def _beta_regression(beta: float) -> float:
    """Regression of the likeliest log(beta)'s error on that of the moments: the ratio of their variances.

    An efficient estimate's covariance with any other consistent one is its own variance.
    """
    unit = GenNorm(beta, 1.0)
    m1, m2, m3, m4 = (unit.moment(order) for order in (1, 2, 3, 4))
    ratio_variance = (m4 / m2**2 - 1) + 4 * (m2 / m1**2 - 1) - 4 * (m3 / (m1 * m2) - 1)
    a = 1 / beta
    slope = a * float(4 * special.digamma(2 * a) - 3 * special.digamma(3 * a) - special.digamma(a))
    return _log_beta_variance(beta) * slope**2 / ratio_variance


def _alpha_regression(beta: float) -> float:
    """Regression of the likeliest log(alpha)'s error, beta given, on that of the mean magnitude."""
    unit = GenNorm(beta, 1.0)
    return 1 / (beta * (unit.moment(2) / unit.moment(1) ** 2 - 1))

"""The fit of a GenNorm to a tensor: maximum likelihood on a small sample, put right by statistics of all entries.

Three steps, each a function, so that moments and sample may as well come from a GPU:

    measure      of blocks spread over all entries: zeros, mean log, root, magnitude and square
    draw_sample  one entry from each of N_SAMPLE equal strips
    fit_moments  Newton steps of maximum likelihood on the sample, then one more for what the sample missed

The last step makes a small sample do. The likelihood's derivative is a mean over entries too, and nearly a linear
function of the four means; so from how far the sample's means lie off those of all entries follows its derivative on
all entries (a regression estimate), and with it one more Newton step. It takes nine tenths of the error away, where
the means are of all entries.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from gradwire_common.codec.kernels.grids import INFINITY_BITS
from gradwire_common.codec.kernels.moments import (
    LOG2_UNIT,
    ONE_BITS,
    largest_bits,
    moment_sums,
    regression_products,
    strip_sample,
)
from gradwire_common.codec.model.gennorm import GenNorm
from gradwire_common.errors import NonFiniteError, UsageError

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

BETA_MIN = 0.2  # atoms and outliers want less; but there the data's own code lengths serve better than any fit
BETA_MAX = 4.0  # flatter densities gain nothing: the uniform one costs 0.02 bits an entry when coded as this
ALPHA_MIN = 2.0**-149  # gradient units; the least positive float32
N_SAMPLE = 1 << 13  # entries; a standard error of 2 % in the shape, before the last step
N_MOMENTS = 1 << 17  # entries; a standard error of 0.6 % in the shape, after it, which costs 2e-5 bits an entry
NOTHING = GenNorm(1.0, ALPHA_MIN)  # the answer for no entries and for zeros only

_MOMENT_BETAS = np.geomspace(16.0, 0.1, 513)
_MOMENT_RATIOS = (
    special.gammaln(3 / _MOMENT_BETAS) + special.gammaln(1 / _MOMENT_BETAS) - 2 * special.gammaln(2 / _MOMENT_BETAS)
)


@dataclass(frozen=True, slots=True)
class Moments:
    """Statistics of a tensor's entries.

    Attributes:
        n: Number of entries read.
        n_zero: Number of them that are exactly zero.
        means: Means over the others, float64 of shape (4,): log2 of the magnitude (straight between powers of two, as
            the bits of a float32 have it), its root, itself, its square.
    """

    n: int
    n_zero: int
    means: F64


def fit_gennorm(values: F32, *, check_finite: bool = True) -> GenNorm:
    """Fit a GenNorm by maximum likelihood.

    Up to N_SAMPLE entries the fit is the maximum of the likelihood; above, an estimate of it from a sample and from the
    moments of N_MOMENTS entries or more. Shapes are confined to BETA_MIN..BETA_MAX; a constant gives BETA_MAX. No
    entries, or zeros only, give the shape 1 and the scale ALPHA_MIN, to which every step size that is a normal float32
    is so coarse that nothing is predicted to be sent.

    Args:
        values: Entries, float32 of any shape; not changed.
        check_finite: Look at every entry. Callers whose next pass refuses NaN and infinity itself may set it to False
            and save most of the time of large tensors.

    Returns:
        The fitted model, scale in the unit of `values`.

    Raises:
        NonFiniteError: An entry (without `check_finite`: one of those read) is NaN or infinite.
        UsageError: `values` is not float32.

    Source: Do and Vetterli, IEEE Trans. Image Process. 11(2), 2002, section III-B (likelihood equation, Newton steps).
    """
    if values.dtype != np.float32:
        raise UsageError(f"values to fit are {values.dtype}, want float32")
    values = np.ascontiguousarray(values).reshape(-1)
    if check_finite:
        refuse_non_finite(values)
    moments = measure(values)
    return fit_moments(moments, draw_sample(values, moments))


def refuse_non_finite(values: F32) -> float:
    """Read all of contiguous `values`; return the largest magnitude, 0 where there are none.

    Raises:
        NonFiniteError: An entry is NaN or infinite.
    """
    bits = largest_bits(values)
    if bits >= INFINITY_BITS:
        bad = values.size - np.count_nonzero(np.isfinite(values))
        raise NonFiniteError(f"{bad} of {values.size} entries are NaN or infinite, want finite numbers")
    return float(np.int32(bits).view(np.float32))


def measure(values: F32) -> Moments:
    """Take the moments of contiguous, one-dimensional `values`, of blocks spread over it where it is large.

    Raises:
        NonFiniteError: An entry of those read is NaN or infinite.
    """
    sums = np.empty(5)
    n = int(moment_sums(values, max(1, values.size // N_MOMENTS), sums))
    if not math.isfinite(sums[4]):
        refuse_non_finite(values)
    n_zero = int(sums[0])
    sums[1] -= n_zero * float(-ONE_BITS) * LOG2_UNIT
    return Moments(n, n_zero, sums[1:] / max(n - n_zero, 1))


def draw_sample(values: F32, moments: Moments) -> F32:
    """Return at most N_SAMPLE entries of contiguous, one-dimensional `values`, all parts of it alike represented.

    Where most entries are zero, only the others are drawn from: `moments` already has the zeros.
    """
    if moments.n_zero > 0.75 * moments.n:
        values = values[np.flatnonzero(values != 0)]  # up to five times faster than by the mask itself
    if values.size <= N_SAMPLE:
        return values
    sample = np.empty(N_SAMPLE, np.float32)
    strip_sample(values, sample)
    if not np.isfinite(sample).all():
        refuse_non_finite(values)
    return sample


def fit_moments(moments: Moments, sample: F32) -> GenNorm:
    """Fit a GenNorm to a sample, given the moments of all entries.

    Args:
        moments: Moments of all entries, or of most.
        sample: Some or all of the entries, float32, finite. Zeros in it do not matter, their share is in `moments`.

    Returns:
        The fitted model.
    """
    magnitudes = np.abs(sample if sample.all() else sample[sample != 0])
    if magnitudes.size == 0 or moments.n == moments.n_zero:
        return NOTHING
    share = 1 - moments.n_zero / moments.n  # of entries that are not zero
    logs = np.log(magnitudes)
    peak = logs.max()  # taken off, so that no power overflows and at least one does not vanish
    logs -= peak
    mean_abs, mean_square = share * moments.means[2], share * moments.means[3]
    first = float(np.interp(math.log(mean_square) - 2 * math.log(mean_abs), _MOMENT_RATIOS, _MOMENT_BETAS))
    beta = _likeliest_beta(logs, share, first)
    powers = np.exp(logs * np.float32(beta))
    log_alpha = math.log(beta * share * float(powers.mean())) / beta
    if magnitudes.size < moments.n - moments.n_zero:
        powers *= np.float32(math.exp(-beta * log_alpha))
        log_beta_step, log_alpha_step = _step_for_all(moments, magnitudes, logs - np.float32(log_alpha), powers, beta)
        beta = min(max(beta * math.exp(log_beta_step), BETA_MIN), BETA_MAX)
        log_alpha += log_alpha_step
    return GenNorm(beta, max(math.exp(log_alpha + float(peak)), ALPHA_MIN))


def _likeliest_beta(logs: F32, share: float, beta: float) -> float:
    """Root of the profile likelihood's derivative, by Newton steps inside a shrinking bracket."""
    low, high = BETA_MIN, BETA_MAX
    beta = min(max(beta, low), high)
    for _ in range(40):
        powers = np.exp(logs * np.float32(beta))
        weighted = powers * logs
        s0, s1, s2 = float(powers.sum()), float(weighted.sum()), float((weighted * logs).sum())
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
        if moved < 1e-3 * beta or high - low < 1e-6:  # the last step has squared it
            break
    return beta


def _step_for_all(moments: Moments, magnitudes: F32, logs: F32, powers: F32, beta: float) -> tuple[float, float]:
    """Newton step of log(beta) and log(alpha) from the sample's optimum towards that of all entries.

    Args:
        moments: Moments of all entries.
        magnitudes: Of the sample, without zeros.
        logs: log(magnitude / alpha).
        powers: (magnitude / alpha)**beta.
        beta: The sample's likeliest shape.

    Returns:
        Both steps, each at most three standard errors of the sample.
    """
    m, share, a = magnitudes.size, 1 - moments.n_zero / moments.n, 1 / beta
    raw = np.empty((8, 8))
    regression_products(magnitudes, logs, powers, beta, moments.means, raw)
    means = raw[:6, 6]
    products = raw[:6, :6] - np.outer(means, means)
    if not np.isfinite(products).all():  # an outlier so large that nothing can be told from the rest
        return 0.0, 0.0
    spread = products[:4, :4] + np.diag(1e-4 * np.diag(products)[:4] + 1e-30)  # the four are nearly collinear
    score = -share * (products[4:, :4] @ np.linalg.solve(spread, means[:4]))

    digamma, trigamma = float(special.digamma(a)), float(special.zeta(2, a))
    q1, q2 = -share * float(means[4]), -share * float(raw[4, 7])
    information = np.array([[trigamma * a * a + digamma * a + q1 + beta * q2, -1 - beta * q1], [-1 - beta * q1, beta]])
    limit = 3 * math.sqrt(share / m)
    if not BETA_MIN < beta < BETA_MAX or np.linalg.det(information) <= 0:
        step, most = float(score[1]) / beta, limit / math.sqrt(beta)
        return 0.0, min(max(step, -most), most)
    covariance = np.linalg.inv(information)
    most = limit * np.sqrt(np.diag(covariance))
    steps = np.clip(covariance @ score, -most, most)
    return float(steps[0]), float(steps[1])

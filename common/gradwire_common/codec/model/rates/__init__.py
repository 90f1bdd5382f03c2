"""Bits and distortion of the uniform quantiser, known from the fit before encoding, and step sizes from bits.

integrals   entropy and distortion from incomplete gamma functions, milliseconds a point
table       the same tabulated once and interpolated, under a microsecond a point; its inverse
allocation  one step size for all tensors, for a target of bits per entry, as the fits predict
measured    bits counted on the entries themselves
thinning    which entries are sent where no step size costs the bits asked
spending    the plan that is followed: by the fits, the counts, and what can be spent with use
"""

from gradwire_common.codec.model.rates.allocation import common_step
from gradwire_common.codec.model.rates.measured import SampledRate, measured_bits
from gradwire_common.codec.model.rates.spending import MEASURED_BITS_MAX, Spending, plan_each, plan_spending
from gradwire_common.codec.model.rates.table import (
    TABLE_BETA_MAX,
    TABLE_BETA_MIN,
    TABLE_BITS_MAX,
    TABLE_BITS_MIN,
    distortion,
    entropy_bits,
    rate_table,
    ratio_for_bits,
)
from gradwire_common.codec.model.rates.thinning import Selector, Thinning

__all__ = [
    "MEASURED_BITS_MAX",
    "TABLE_BETA_MAX",
    "TABLE_BETA_MIN",
    "TABLE_BITS_MAX",
    "TABLE_BITS_MIN",
    "SampledRate",
    "Selector",
    "Spending",
    "Thinning",
    "common_step",
    "distortion",
    "entropy_bits",
    "measured_bits",
    "plan_each",
    "plan_spending",
    "rate_table",
    "ratio_for_bits",
]

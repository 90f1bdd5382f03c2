"""Bits and distortion of the uniform quantiser, known from the fit before encoding, and step sizes from bits.

integrals   entropy and distortion from incomplete gamma functions, milliseconds a point
table       the same tabulated once and interpolated, under a microsecond a point; its inverse
allocation  one step size for all tensors, or a step size each, for a target of bits per entry
"""

from gradwire_common.codec.rate_model.allocation import bits_at_step, common_step, distortion_at_step, step_per_tensor
from gradwire_common.codec.rate_model.measured import MEASURED_BITS_MAX, measured_bits, spending_step
from gradwire_common.codec.rate_model.table import (
    TABLE_BETA_MAX,
    TABLE_BETA_MIN,
    TABLE_BITS_MAX,
    TABLE_BITS_MIN,
    distortion,
    entropy_bits,
    rate_table,
    ratio_for_bits,
)

__all__ = [
    "MEASURED_BITS_MAX",
    "TABLE_BETA_MAX",
    "TABLE_BETA_MIN",
    "TABLE_BITS_MAX",
    "TABLE_BITS_MIN",
    "bits_at_step",
    "common_step",
    "distortion",
    "distortion_at_step",
    "entropy_bits",
    "measured_bits",
    "rate_table",
    "ratio_for_bits",
    "spending_step",
    "step_per_tensor",
]

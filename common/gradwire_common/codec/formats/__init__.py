"""Quantisers: frozen, hashable values with one interface, from raw float32 down to a fraction of a bit.

    x (float32) -> quantize -> symbols -> dequantize -> levels (float32)

`quantize` and `dequantize` are written for clearness; the fused kernels of the codec produce the same symbols and
levels, bit for bit, and the tests hold them against these. All rounding is to nearest, ties to even, as in IEEE 754.
"""

from gradwire_common.codec.formats.exact import BFloat16, Float32
from gradwire_common.codec.formats.family import QUANTIZER_NAMES, Quantizer, build_quantizer, fitted_minifloat
from gradwire_common.codec.formats.minifloat import (
    FLOAT4_1_2_1,
    FLOAT8_1_4_3,
    FLOAT8_1_5_2,
    FORMATS,
    Minifloat,
    MinifloatFormat,
    optimal_scale,
)
from gradwire_common.codec.formats.uniform import K_MAX, STEP_MAX, STEP_MIN, Uniform

__all__ = [
    "FLOAT4_1_2_1",
    "FLOAT8_1_4_3",
    "FLOAT8_1_5_2",
    "FORMATS",
    "K_MAX",
    "QUANTIZER_NAMES",
    "STEP_MAX",
    "STEP_MIN",
    "BFloat16",
    "Float32",
    "Minifloat",
    "MinifloatFormat",
    "Quantizer",
    "Uniform",
    "build_quantizer",
    "fitted_minifloat",
    "optimal_scale",
]

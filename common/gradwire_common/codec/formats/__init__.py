"""Formats: all that is known of each quantiser, in one object each, from float32 down to a fraction of a bit.

    x (float32) -> quantize -> symbols -> dequantize -> levels (float32)

format      what the codec asks of a format, and of its quantiser at one parameter
registry    the formats by name and header number
uniform     multiples of a step size, which is planned for the bits asked
minifloat   float8 and float4, at a scale that fits the tensor: grid_scale
exact       float32, which loses nothing, and bfloat16

`quantize` and `dequantize` are written for clarity; the fused kernels of the codec produce the same symbols and
levels, bit for bit, and the tests hold them against these. All rounding is to nearest, ties to even, as in IEEE 754.
"""

from gradwire_common.codec.formats.exact import BFLOAT16, LOSSLESS, BFloat16, Float32
from gradwire_common.codec.formats.format import BucketLayout, Format, Parameter, Quantizer
from gradwire_common.codec.formats.minifloat import (
    FLOAT4_1_2_1,
    FLOAT8_1_4_3,
    FLOAT8_1_5_2,
    MINIFLOATS,
    Minifloat,
    MinifloatFormat,
)
from gradwire_common.codec.formats.registry import (
    all_formats,
    build_quantizer,
    format_named,
    format_numbered,
    register,
)
from gradwire_common.codec.formats.uniform import UNIFORM, Uniform, UniformFormat

__all__ = [
    "BFLOAT16",
    "FLOAT4_1_2_1",
    "FLOAT8_1_4_3",
    "FLOAT8_1_5_2",
    "LOSSLESS",
    "MINIFLOATS",
    "UNIFORM",
    "BFloat16",
    "BucketLayout",
    "Float32",
    "Format",
    "Minifloat",
    "MinifloatFormat",
    "Parameter",
    "Quantizer",
    "Uniform",
    "UniformFormat",
    "all_formats",
    "build_quantizer",
    "format_named",
    "format_numbered",
    "register",
]

"""Machine code and unchecked accesses: what the fast path is made of, and what each part replaces.

`memory` has unaligned loads and stores, which stand for checked indexing in every fast loop; `processor` tells what
this machine can run. REPLACED has the others.
"""

from typing import NamedTuple


class Replaced(NamedTuple):
    """A part of the fast path.

    Attributes:
        native: the intrinsic, as MODULE.NAME of this folder.
        needs: instructions, by LLVM's names or in words.
        portable: what does the same on every processor, as MODULE.NAME of kernels.
    """

    native: str
    needs: str
    portable: str


REPLACED = (  # tests/codec runs each pair on the same inputs; a row is kept while it is worth a tenth of a step
    Replaced("raw_vectors.unpack64", "vectors of 64 bytes, by LLVM", "raws._unpack_columns"),
    Replaced("raw_vectors.join_groups", "vectors of 64 bytes, by LLVM", "quantizing.codes.join_codes"),
    Replaced("vector_quantize.uniform_vectors", "AVX-512", "quantizing.uniform._quantize_uniform"),
    Replaced("vector_quantize.uniform_residual_vectors", "AVX-512", "quantizing.uniform._quantize_uniform"),
    Replaced("vector_quantize.float4_vectors", "AVX-512", "quantizing.float4._quantize_float4"),
    Replaced("vector_quantize.float4_residual_vectors", "AVX-512", "quantizing.float4._quantize_float4"),
    Replaced("vector_minifloat.minifloat_vectors", "AVX-512 VBMI2", "quantizing.minifloat.minifloat_codes"),
    Replaced("vector_minifloat.minifloat_residual_vectors", "AVX-512 VBMI2", "quantizing.minifloat.minifloat_codes"),
    Replaced("batch_lookups.look_up_batches", "BMI2", "words.tuples.look_up_batches_anywhere"),
    Replaced("vector_lookups.decode_four", "AVX-512 VBMI2", "words.tuples.decode_tuples"),
    Replaced("vector_lookups.decode_eight", "AVX-512 VBMI2", "words.tuples.decode_tuples"),
    Replaced("vector_levels.look_up_few", "AVX-512 VBMI", "levels.levels._place_uniform"),
    Replaced("vector_levels.look_up_planes", "AVX-512 VBMI", "quantizing.minifloat.place_codes"),
)

"""Which of the instructions that the machine code needs this processor has, and LLVM knows."""

import platform

from llvmlite import binding
from numba.core import config

_AVX512 = ("avx512f", "avx512bw", "avx512dq", "avx512vl")
_VBMI2 = ("avx512vbmi", "avx512vbmi2")


def has(*features: str) -> bool:
    """Return whether this is an x86-64 processor with all of `features`, by LLVM's names."""
    known = binding.get_host_cpu_features()
    return platform.machine() in ("x86_64", "AMD64") and all(known.get(name) for name in features)


HAS_BMI2 = has("bmi2")
HAS_AVX512 = has(*_AVX512)
HAS_AVX512_VBMI2 = has(*_AVX512, *_VBMI2)
HAS_VBMI2 = has("bmi", "bmi2", "lzcnt", "popcnt", "avx512f", "avx512bw", *_VBMI2)
IN_REGISTERS = HAS_VBMI2 and config.CPU_NAME is None and config.CPU_FEATURES is None  # numba compiles for them too

if HAS_BMI2:  # all of the machine code needs at least that
    binding.initialize_native_asmparser()

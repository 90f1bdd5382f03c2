"""Entries to buckets, 64 at a time, as machine code for x86-64 with AVX-512: uniform without raw bits, and float4.

    symbol      x * factor, at most `limit` from zero, rounded to even
    residual    x - symbol * step; float4: x less the level that a table has for its symbol
    narrow      four times sixteen symbols to 64 bytes, between -127 and 127
    bucket      2 |symbol|, one less where it is positive; at most `last`; float4: two more where the entry is outermost

Compilers narrow each vector on its own and do the rest in words of 32 bits: half as fast. Whether an entry is NaN or
infinite is told by the sum of all of them times zero. `uniform.py` and `float4.py` have the same loops for all other
processors and for what is left of a block, and are where loads and stores are kept within their arrays.
"""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

STEP = 64  # entries
NOT_FINITE, LAST_FOUND = 0xFFFF, 1 << 32  # bits of what a program returns: no entry may be used; a bucket is `last`
MOST_LAST = 253  # of `last`: what symbols beyond 127 are taken for is no coded bucket
N_LEVELS, OUTER_INDEX = 32, 8  # of float4's table: symbol s is at s modulo N_LEVELS; flipped where outermost
FACTOR, LIMIT, ORDER, ZERO, ONES = (f"%zmm{i}" for i in range(20, 25))
STEP_SIZE, LAST, LARGEST, MOST = (f"%zmm{i}" for i in range(25, 29))  # uniform
LOW_LEVELS, HIGH_LEVELS, FLIP, FIVE, ABS, TWO = (f"%zmm{i}" for i in range(25, 31))  # float4
CLOBBERED = (*(f"zmm{i}" for i in range(3, 32)), *(f"k{i}" for i in range(1, 6)))
CLOBBERED += ("rax", *(f"r{i}" for i in range(9, 14)), "memory", "cc", "dirflag", "fpsr", "flags")
SIGNED_ABS_MIN = 2  # vrangeps: the nearer to zero, with the sign of the first


def _program(is_float4: bool, subtracting: bool) -> str:
    """%rdi: entries, %rsi: 64s of them, %rdx: buckets, %rcx: residual, %r8: `last`, or float4's levels.

    %xmm0: factor, %xmm1: limit, %xmm2: step size. Of four vectors at a time %zmm4 to 7 have the rounded, %zmm8 to 11
    the whole numbers, %zmm12 to 15 the sums and %zmm16 to 19 the entries.
    """
    source, left, buckets, residual = "%r10", "%r11", "%r12", "%r13"
    lines = [f"movq %rdi, {source}", f"movq %rsi, {left}", f"movq %rdx, {buckets}", f"movq %rcx, {residual}"]
    lines += [f"vbroadcastss %xmm0, {FACTOR}", f"vbroadcastss %xmm1, {LIMIT}"]
    lines += ["movabsq $$0x0D0905010C080400, %rax", "movabsq $$0x0F0B07030E0A0602, %r9", "vmovq %rax, %xmm3"]
    lines += ["vpinsrq $$1, %r9, %xmm3, %xmm3", f"vpmovzxbd %xmm3, {ORDER}"]
    lines += [f"vpxorq {ZERO}, {ZERO}, {ZERO}", f"vpternlogd $$255, {ONES}, {ONES}, {ONES}"]
    lines += [f"vmovdqa64 {ZERO}, %zmm{i}" for i in range(12, 16)]
    if is_float4:
        lines += [f"vpsrld $$1, {ONES}, {ABS}", f"vpabsb {ONES}, {TWO}", f"vpaddb {TWO}, {TWO}, {TWO}"]
        lines += ["movl $$0x40A00000, %eax", f"vpbroadcastd %eax, {FIVE}"]
        lines += [f"movl $${OUTER_INDEX}, %eax", f"vpbroadcastd %eax, {FLIP}"]
    else:
        lines += [f"vbroadcastss %xmm2, {STEP_SIZE}", f"vpbroadcastb %r8d, {LAST}", f"vmovdqa64 {ZERO}, {LARGEST}"]
        lines += [f"vpsrlw $$9, {ONES}, {MOST}", f"vpackuswb {MOST}, {MOST}, {MOST}"]
    if is_float4 and subtracting:
        lines += [f"vmovups (%r8), {LOW_LEVELS}", f"vmovups 64(%r8), {HIGH_LEVELS}"]
    lines += [".p2align 6", "1:"]
    for i in range(4):
        y, whole, total, x = (f"%zmm{4 + i + 4 * j}" for j in range(4))
        lines += [f"vmovups {64 * i}({source}), {x}", f"vmulps {FACTOR}, {x}, {y}", f"vfmadd231ps {ZERO}, {x}, {total}"]
        if is_float4:
            lines += [f"vandps {ABS}, {y}, {whole}", f"vcmpgtps {FIVE}, {whole}, %k{i + 1}"]
        lines += [f"vrangeps $${SIGNED_ABS_MIN}, {LIMIT}, {y}, {y}", f"vcvtps2dq {y}, {whole}"]
        if subtracting and is_float4:
            lines += [f"vmovdqa64 {whole}, {y}", f"vpxord {FLIP}, {y}, {y} {{%k{i + 1}}}"]
            lines += [f"vpermi2ps {HIGH_LEVELS}, {LOW_LEVELS}, {y}"]
        elif subtracting:
            lines += [f"vrndscaleps $$0, {y}, {y}", f"vmulps {STEP_SIZE}, {y}, {y}"]
        if subtracting:
            lines += [f"vsubps {y}, {x}, {y}", f"vmovups {y}, {64 * i}({residual})"]
    lines += ["vpackssdw %zmm9, %zmm8, %zmm8", "vpackssdw %zmm11, %zmm10, %zmm10", "vpacksswb %zmm10, %zmm8, %zmm8"]
    lines += [f"vpermd %zmm8, {ORDER}, %zmm8", f"vpcmpgtb {ZERO}, %zmm8, %k5", "vpabsb %zmm8, %zmm8"]
    lines += [] if is_float4 else [f"vpminub {MOST}, %zmm8, %zmm8"]
    lines += ["vpaddb %zmm8, %zmm8, %zmm8", f"vpaddb {ONES}, %zmm8, %zmm8 {{%k5}}"]
    if is_float4:
        lines += ["kunpckwd %k1, %k2, %k1", "kunpckwd %k3, %k4, %k3", "kunpckdq %k1, %k3, %k1"]
        lines += [f"vpaddb {TWO}, %zmm8, %zmm8 {{%k1}}"]
    else:
        lines += [f"vpminub {LAST}, %zmm8, %zmm8", f"vpmaxub %zmm8, {LARGEST}, {LARGEST}"]
    lines += [f"vmovdqu64 %zmm8, ({buckets})", f"addq $$256, {source}", f"addq $$64, {buckets}"]
    lines += [f"addq $$256, {residual}"] if subtracting else []
    lines += [f"decq {left}", "jnz 1b"]
    lines += ["vaddps %zmm13, %zmm12, %zmm12", "vaddps %zmm15, %zmm14, %zmm14", "vaddps %zmm14, %zmm12, %zmm12"]
    lines += ["vcmpunordps %zmm12, %zmm12, %k1", "kmovw %k1, %eax"]
    if not is_float4:
        lines += [f"vpcmpeqb {LAST}, {LARGEST}, %k1", "kmovq %k1, %r10", "xorl %r9d, %r9d", "testq %r10, %r10"]
        lines += ["setne %r9b", "shlq $$32, %r9", "orq %r9, %rax"]
    return "\n".join(lines)


def _quantize(is_float4, subtracting):
    def build(_context, builder, _signature, args):
        word, number = ir.IntType(64), ir.FloatType()
        kind = ir.FunctionType(word, [word] * 5 + [number] * 3)
        inputs = ["={rax}", "{rdi}", "{rsi}", "{rdx}", "{rcx}", "{r8}", "{xmm0}", "{xmm1}", "{xmm2}"]
        constraints = ",".join([*inputs, *(f"~{{{name}}}" for name in CLOBBERED)])
        return builder.asm(kind, _program(is_float4, subtracting), constraints, args, True)

    words, numbers = (types.uint64,) * 5, (types.float32,) * 3
    return types.uint64(*words, *numbers), build


@intrinsic
def uniform_vectors(_typing, _x, _n, _buckets, _residual, _last, _factor, _limit, _step):
    """Quantise `_n` (at least 1) times STEP entries at the address `_x`; see above for what it returns."""
    return _quantize(False, False)


@intrinsic
def uniform_residual_vectors(_typing, _x, _n, _buckets, _residual, _last, _factor, _limit, _step):
    """Do the same, and fill the residual at the address `_residual`."""
    return _quantize(False, True)


@intrinsic
def float4_vectors(_typing, _x, _n, _buckets, _residual, _levels, _factor, _limit, _step):
    """Quantise `_n` (at least 1) times STEP entries at the address `_x` to float4, with a limit of 4."""
    return _quantize(True, False)


@intrinsic
def float4_residual_vectors(_typing, _x, _n, _buckets, _residual, _levels, _factor, _limit, _step):
    """Do the same, and fill the residual at the address `_residual` by the 32 float32 at the address `_levels`."""
    return _quantize(True, True)

"""Entries to buckets and raw bits of small floats, 64 at a time, as machine code for x86-64 with AVX-512 VBMI2.

    round       y = |x| * factor, at most `top`; coarse = its binade, `least` at least, times a power of two;
                rounded = y + coarse, whose lowest bits count the steps
    code        binade >> shift, plus twice the steps and the sign: the lowest byte of (rounded:x) << 1 plus the former,
                for coarse itself ends in 23 zeros; less `start`, the code of the least binade
    residual    x less (rounded - coarse) / unit, with the sign of x
    split       bucket = code >> raw bits, less the origin, around the modulus; raw bits = code & mask, 0 for code 1

`minifloat.py` has the same loops for all other processors and for what is left of a block, and is where loads and
stores are kept within their arrays. As in `vector_quantize.py`, NaN and infinity are told by a sum of zeros.
"""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

FIELDS = ("factor", "unit", "top", "least", "coarser", "shift")  # words
FIELDS += ("raw_bits", "start", "origin", "modulus", "mask", "kept", "n_coded")  # a count for shifts, then bytes
INDEX, CONSTANTS_SIZE = 16, 32  # of the constants, uint32: their bits, and from INDEX on every fourth of 256 bytes
PLACES = {name: 4 * i for i, name in enumerate(FIELDS)}
REGISTERS = {name: f"%zmm{16 + i}" for i, name in enumerate(FIELDS)}
BINADE, ABS, ZERO, EACH_FOURTH, ONE, SIGN, LARGEST = (f"%zmm{i}" for i in (29, 30, 31, 12, 13, 14, 15))
CLOBBERED = (*(f"zmm{i}" for i in range(32)), "k1", "rax", *(f"r{i}" for i in range(10, 16)), "memory", "cc")
CLOBBERED += ("dirflag", "fpsr", "flags")


def _program(subtracting: bool) -> str:
    """%rdi: entries, %rsi: 64s of them, %rdx: buckets, %rcx: raw bits, %r8: residual, %r9: constants.

    Of a vector %zmm0 is the entries, %zmm1 y and then rounded, %zmm2 its binade, %zmm3 coarse and then the residual;
    %zmm4 to 7 are the codes of four, %zmm8 and 9 the sums.
    """
    r = REGISTERS
    source, left, buckets, raws, residual = "%r10", "%r11", "%r12", "%r13", "%r14"
    lines = [f"movq %rdi, {source}", f"movq %rsi, {left}", f"movq %rdx, {buckets}", f"movq %rcx, {raws}"]
    lines += [f"movq %r8, {residual}"]
    lines += [f"vpbroadcastd {PLACES[name]}(%r9), {r[name]}" for name in FIELDS[:6]]
    lines += [f"vpbroadcastb {PLACES[name]}(%r9), {r[name]}" for name in FIELDS[7:]]
    raw_bits = r["raw_bits"].replace("zmm", "xmm")
    lines += [f"vmovd {PLACES['raw_bits']}(%r9), {raw_bits}", f"vmovdqu64 {4 * INDEX}(%r9), {EACH_FOURTH}"]
    lines += [f"vpternlogd $$255, {ABS}, {ABS}, {ABS}", f"vpabsb {ABS}, {ONE}", f"vpslld $$31, {ABS}, {SIGN}"]
    lines += [f"vpsrld $$1, {ABS}, {ABS}", f"vpsrld $$23, {ABS}, {BINADE}", f"vpslld $$23, {BINADE}, {BINADE}"]
    lines += [f"vpxorq {zero}, {zero}, {zero}" for zero in (ZERO, LARGEST, "%zmm8", "%zmm9")]
    lines += [".p2align 6", "1:"]
    for i in range(4):
        lines += [f"vmovups {64 * i}({source}), %zmm0", f"vfmadd231ps {ZERO}, %zmm0, %zmm{8 + i % 2}"]
        lines += [f"vandps {ABS}, %zmm0, %zmm1", f"vmulps {r['factor']}, %zmm1, %zmm1"]
        lines += [f"vminps {r['top']}, %zmm1, %zmm1", f"vpandd {BINADE}, %zmm1, %zmm2"]
        lines += [f"vpmaxsd {r['least']}, %zmm2, %zmm2", f"vpaddd {r['coarser']}, %zmm2, %zmm3"]
        lines += ["vaddps %zmm3, %zmm1, %zmm1"]
        if subtracting:
            lines += ["vsubps %zmm3, %zmm1, %zmm3", f"vdivps {r['unit']}, %zmm3, %zmm3"]
            lines += [f"vcmpltps {ZERO}, %zmm0, %k1", f"vpxord {SIGN}, %zmm3, %zmm3 {{%k1}}"]
            lines += ["vsubps %zmm3, %zmm0, %zmm3", f"vmovups %zmm3, {64 * i}({residual})"]
        lines += [f"vpshldd $$1, %zmm0, %zmm1, %zmm{4 + i}", f"vpsrlvd {r['shift']}, %zmm2, %zmm2"]
        lines += [f"vpaddd %zmm2, %zmm{4 + i}, %zmm{4 + i}"]
    lines += [f"vpermt2b %zmm5, {EACH_FOURTH}, %zmm4", f"vpermt2b %zmm7, {EACH_FOURTH}, %zmm6"]
    lines += ["vshufi64x2 $$0xE4, %zmm6, %zmm4, %zmm4", f"vpsubb {r['start']}, %zmm4, %zmm4"]
    lines += [f"vpsrlw {raw_bits}, %zmm4, %zmm5", f"vpandq {r['kept']}, %zmm5, %zmm5"]
    lines += [f"vpsubb {r['origin']}, %zmm5, %zmm5", f"vpaddb {r['modulus']}, %zmm5, %zmm6"]
    lines += ["vpminub %zmm6, %zmm5, %zmm5", f"vpmaxub %zmm5, {LARGEST}, {LARGEST}", f"vmovdqu64 %zmm5, ({buckets})"]
    lines += [f"vpcmpneqb {ONE}, %zmm4, %k1", f"vpandq {r['mask']}, %zmm4, %zmm4"]
    lines += ["vmovdqu8 %zmm4, %zmm4 {%k1} {z}", f"vmovdqu64 %zmm4, ({raws})"]
    lines += [f"addq $$256, {source}", f"addq $$64, {buckets}", f"addq $$64, {raws}"]
    lines += [f"addq $$256, {residual}"] if subtracting else []
    lines += [f"decq {left}", "jnz 1b", "vaddps %zmm9, %zmm8, %zmm8", "vcmpunordps %zmm8, %zmm8, %k1"]
    lines += ["kmovw %k1, %eax", f"vpcmpnltub {r['n_coded']}, {LARGEST}, %k1", "kmovq %k1, %r10"]
    lines += ["xorl %r11d, %r11d", "testq %r10, %r10", "setne %r11b", "shlq $$32, %r11", "orq %r11, %rax"]
    return "\n".join(lines)


def _quantize(subtracting):
    def build(_context, builder, _signature, args):
        word = ir.IntType(64)
        inputs = ["={rax}", "{rdi}", "{rsi}", "{rdx}", "{rcx}", "{r8}", "{r9}"]
        constraints = ",".join([*inputs, *(f"~{{{name}}}" for name in CLOBBERED)])
        return builder.asm(ir.FunctionType(word, [word] * 6), _program(subtracting), constraints, args, True)

    return types.uint64(*(types.uint64,) * 6), build


@intrinsic
def minifloat_vectors(_typing, _x, _n, _buckets, _raws, _residual, _constants):
    """Quantise `_n` (at least 1) times STEP entries at the address `_x`; returns what `uniform_vectors` does."""
    return _quantize(False)


@intrinsic
def minifloat_residual_vectors(_typing, _x, _n, _buckets, _raws, _residual, _constants):
    """Do the same, and fill the residual at the address `_residual`."""
    return _quantize(True)

"""Levels looked up in registers, 64 entries at a time, by AVX-512 VBMI.

    few         up to 64 levels by bucket: four registers hold the table (vpermi2ps)
    planes      128 magnitudes by code >> 1, the sign is the code's last bit: byte b of all magnitudes is plane b, two
                registers; what the four planes give (vpermi2b) is interleaved to float32

A table holds what entries become or what they add, so that a sum has no product beside it. Loads and stores stay within
whole groups; `levels.py` copies what is less.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

FEW, MAGNITUDES = 64, 128
REGISTER = 64  # bytes

BYTE, SHORT, INDEX, WORD = ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.IntType(64)
BYTES, PAIRS, INDICES = ir.VectorType(BYTE, 64), ir.VectorType(SHORT, 32), ir.VectorType(INDEX, 16)
SIXTEEN, FLOATS = ir.VectorType(BYTE, 16), ir.VectorType(ir.FloatType(), 16)
LANES = range(4)  # of 16 bytes, within which bytes are interleaved


@intrinsic(prefer_literal=True)
def look_up_few(_typing: Any, adding: Any, _bucket: Any, _n: Any, _table: Any, _out: Any) -> Any:
    """Store, or with literal `adding` 1 add, the float32 at `_table` of `_n` times 64 buckets at `_bucket` to `_out`.

    The table has FEW of them. Addresses and `_n` are uint64.
    """

    def build(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        _, bucket, n, table, out = args
        quarters = [_load(builder, table, REGISTER * i, FLOATS) for i in range(4)]
        with cgutils.for_range(builder, n) as loop:
            group = builder.add(bucket, builder.mul(loop.index, ir.Constant(WORD, 64)))
            found = []
            for i in range(4):
                which = builder.zext(_load(builder, group, 16 * i, SIXTEEN), INDICES)
                lower = _of_two(builder, "ps", quarters[0], which, quarters[1])
                upper = _of_two(builder, "ps", quarters[2], which, quarters[3])
                above = builder.icmp_unsigned(">", which, ir.Constant(INDICES, [31] * 16))
                found.append(builder.select(above, upper, lower))
            _place(builder, found, adding.literal_value, out, loop.index)
        return _context.get_dummy_value()

    return types.void(adding, *[types.uint64] * 4), build


@intrinsic(prefer_literal=True)
def look_up_planes(_typing: Any, adding: Any, _code: Any, _n: Any, _planes: Any, _out: Any) -> Any:
    """Store, or with literal `adding` 1 add, the levels of `_n` times 64 codes at `_code`, by the planes at `_planes`.

    Code 0 is read as 1, so that the magnitude 0 always comes with the sign. Addresses and `_n` are uint64.
    """

    def build(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        _, code, n, table, out = args
        halves = [_load(builder, table, REGISTER * i, BYTES) for i in range(8)]
        with cgutils.for_range(builder, n) as loop:
            codes = _load(builder, builder.add(code, builder.mul(loop.index, ir.Constant(WORD, 64))), 0, INDICES)
            turned = [4 * i + lane for lane in LANES for i in range(4)]  # interleaving turns it back
            codes = builder.bitcast(_pick(builder, codes, codes, turned), BYTES)
            one = ir.Constant(BYTES, [1] * 64)
            pairs = builder.bitcast(builder.select(builder.icmp_unsigned(">", codes, one), codes, one), PAIRS)
            halved = builder.lshr(pairs, ir.Constant(PAIRS, [1] * 32))
            which = builder.bitcast(halved, BYTES)  # whose upper bit is ignored
            sign = builder.bitcast(builder.shl(pairs, ir.Constant(PAIRS, [7] * 32)), BYTES)
            planes = [_of_two(builder, "qi", halves[2 * i], which, halves[2 * i + 1]) for i in range(4)]
            planes[3] = builder.xor(planes[3], builder.and_(sign, ir.Constant(BYTES, [0x80] * 64)))
            found = []
            for half in (0, 1):
                lower = _interleave(builder, planes[0], planes[1], BYTES, half)
                upper = _interleave(builder, planes[2], planes[3], BYTES, half)
                found += [_interleave(builder, lower, upper, PAIRS, quarter) for quarter in (0, 1)]
            _place(builder, [builder.bitcast(level, FLOATS) for level in found], adding.literal_value, out, loop.index)
        return _context.get_dummy_value()

    return types.void(adding, *[types.uint64] * 4), build


def _load(builder: ir.IRBuilder, address: Any, offset: int, kind: Any) -> Any:
    return builder.load(_at(builder, address, offset, kind), align=1)


def _at(builder: ir.IRBuilder, address: Any, offset: int, kind: Any) -> Any:
    return builder.inttoptr(builder.add(address, ir.Constant(WORD, offset)), kind.as_pointer())


def _place(builder: ir.IRBuilder, levels: list[Any], adding: int, out: Any, group: Any) -> None:
    """Store or add four times 16 levels to the float32 of group number `group` at `out`."""
    start = builder.add(out, builder.mul(group, ir.Constant(WORD, 4 * 64)))
    for i, level in enumerate(levels):
        place = _at(builder, start, REGISTER * i, FLOATS)
        total = builder.fadd(builder.load(place, align=1), level) if adding else level
        builder.store(total, place, align=1)


def _of_two(builder: ir.IRBuilder, lanes: str, first: Any, which: Any, second: Any) -> Any:
    """Element which[i] of two registers one after the other; bits of `which` above these are ignored."""
    kind = ir.FunctionType(first.type, [first.type, which.type, second.type])
    name = f"llvm.x86.avx512.vpermi2var.{lanes}.512"
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [first, which, second])


def _interleave(builder: ir.IRBuilder, first: Any, second: Any, kind: Any, half: int) -> Any:
    """Elements in turns, of the lower or upper half of each lane."""
    n, lane = kind.count, kind.count // 4
    which = [place for i in LANES for j in range(lane // 2) for place in (lane * i + lane // 2 * half + j,) * 2]
    which = [place + n * (i % 2) for i, place in enumerate(which)]
    return _pick(builder, builder.bitcast(first, kind), builder.bitcast(second, kind), which)


def _pick(builder: ir.IRBuilder, first: Any, second: Any, which: list[int]) -> Any:
    return builder.shuffle_vector(first, second, ir.Constant(ir.VectorType(INDEX, len(which)), which))

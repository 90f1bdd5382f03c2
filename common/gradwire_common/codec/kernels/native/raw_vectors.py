"""Raw bits of 64 entries at a time, unpacked, and joined with buckets in the same pass.

    raw bits    a group is `raw_bits` words of 64 bits, byte j of each for column j; entry t of all columns is word t of
                eight, made of one of these words, or of two where its bits cross a byte, shifted
    code        the bucket plus the origin, less the modulus where it reaches that, above the raw bits

These are vectors of 64 bytes, which LLVM turns into those that the processor has. Loads and stores stay within the
group. `memory.py` says where such code may run.
"""

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

BYTE, INDEX, WORD = ir.IntType(8), ir.IntType(32), ir.IntType(64)
BYTES, PAIRS, WORDS = ir.VectorType(BYTE, 64), ir.VectorType(ir.IntType(16), 32), ir.VectorType(WORD, 8)


@intrinsic(prefer_literal=True)
def unpack64(_typing: Any, raw_bits: Any, _raw: Any, _to: Any) -> Any:
    """Write the raw bits of the group at the address `_raw` to the 64 bytes at `_to`; `raw_bits` is a literal."""

    def build(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        n = raw_bits.literal_value
        raws = builder.and_(_unpacked(builder, args[1], n), _all((1 << n) - 1))
        builder.store(raws, builder.inttoptr(args[2], BYTES.as_pointer()), align=1)
        return _context.get_dummy_value()

    return types.void(raw_bits, types.uint64, types.uint64), build


@intrinsic(prefer_literal=True)
def join_groups(_typing: Any, raw_bits: Any, _raw: Any, _bucket: Any, _n: Any, _origin: Any, _wrapped: Any) -> Any:
    """Turn `_n` (uint64) times 64 buckets at the address `_bucket` into codes, with the raw bits of as many at `_raw`.

    `_origin` and `_wrapped`, uint8, are what is added to a bucket, whichever gives less; `raw_bits` is a literal.
    Returns the largest code.
    """

    def build(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        width = raw_bits.literal_value
        _, raw, bucket, n, *added = args
        origin, wrapped = (_everywhere(builder, byte) for byte in added)
        largest = cgutils.alloca_once_value(builder, _all(0))
        with cgutils.for_range(builder, n) as loop:
            place = builder.inttoptr(_after(builder, bucket, loop.index, 64), BYTES.as_pointer())
            buckets = builder.load(place, align=1)
            high = _lower(builder, builder.add(buckets, origin), builder.add(buckets, wrapped))
            pairs = builder.bitcast(high, PAIRS)  # two are shifted at once, then masked
            moved = builder.shl(pairs, ir.Constant(PAIRS, [width] * 32))
            raws = _unpacked(builder, _after(builder, raw, loop.index, 8 * width), width)
            codes = _merged(builder, raws, builder.bitcast(moved, BYTES), [(1 << width) - 1] * 64)
            builder.store(codes, place, align=1)
            builder.store(_higher(builder, builder.load(largest), codes), largest)
        return _highest(builder, builder.load(largest))

    return types.uint8(raw_bits, *[types.uint64] * 3, types.uint8, types.uint8), build


def _after(builder: ir.IRBuilder, address: Any, groups: Any, size: int) -> Any:
    return builder.add(address, builder.mul(groups, ir.Constant(WORD, size)))


def _lower(builder: ir.IRBuilder, first: Any, second: Any) -> Any:
    return builder.select(builder.icmp_unsigned("<", first, second), first, second)


def _higher(builder: ir.IRBuilder, first: Any, second: Any) -> Any:
    return builder.select(builder.icmp_unsigned(">", first, second), first, second)


def _highest(builder: ir.IRBuilder, codes: Any) -> Any:
    for size in (32, 16, 8, 4, 2, 1):
        codes = _higher(builder, *(_pick(builder, codes, range(start, start + size)) for start in (0, size)))
    return builder.extract_element(codes, ir.Constant(INDEX, 0))


def _unpacked(builder: ir.IRBuilder, address: Any, n: int) -> Any:
    """The raw bits of 64 entries, each at the low end of a byte; what is above them is anything."""
    words = builder.load(builder.inttoptr(address, ir.VectorType(WORD, n).as_pointer()), align=1)
    word, shift = [n * t // 8 for t in range(8)], [n * t % 8 for t in range(8)]
    lower = builder.bitcast(builder.lshr(_pick(builder, words, word), ir.Constant(WORDS, shift)), BYTES)
    crossing = [s + n > 8 for s in shift]
    if not any(crossing):
        return lower
    after = _pick(builder, words, [min(w + 1, n - 1) for w in word])
    back = [8 - s if c else 0 for s, c in zip(shift, crossing, strict=True)]
    upper = builder.bitcast(builder.shl(after, ir.Constant(WORDS, back)), BYTES)
    return _merged(builder, lower, upper, [0xFF >> s for s in shift for _ in range(8)])


def _pick(builder: ir.IRBuilder, elements: Any, which: Sequence[int]) -> Any:
    return builder.shuffle_vector(elements, elements, ir.Constant(ir.VectorType(INDEX, len(which)), list(which)))


def _merged(builder: ir.IRBuilder, first: Any, second: Any, of_first: list[int]) -> Any:
    """The bits `of_first` of the first, all others of the second."""
    of_second = [0xFF ^ bits for bits in of_first]
    return builder.or_(
        builder.and_(first, ir.Constant(BYTES, of_first)), builder.and_(second, ir.Constant(BYTES, of_second))
    )


def _everywhere(builder: ir.IRBuilder, byte: Any) -> Any:
    alone = builder.insert_element(ir.Constant(BYTES, ir.Undefined), byte, ir.Constant(INDEX, 0))
    return builder.shuffle_vector(alone, alone, ir.Constant(ir.VectorType(INDEX, 64), [0] * 64))


def _all(byte: int) -> Any:
    return ir.Constant(BYTES, [byte] * 64)

# mypy: ignore-errors
"""Raw bits of 64 entries at a time, unpacked, and joined with buckets in the same pass.

    raw bits    a group is `raw_bits` words of 64 bits, byte j of each for column j; entry t of all columns is word t of
                eight, made of one of these words, or of two where its bits cross a byte, shifted
    code        the bucket plus the origin, less the modulus where it reaches that, above the raw bits

These are vectors of 64 bytes, which LLVM turns into those that the processor has. Loads and stores stay within the
group. `memory.py` says where such code may run.
"""

from typing import Any

from llvmlite import ir
from numba import types
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
def join64(_typing: Any, raw_bits: Any, _raw: Any, _bucket: Any, _origin: Any, _wrapped: Any, _most: Any) -> Any:
    """Turn the 64 buckets at the address `_bucket` into codes, with the raw bits of the group at `_raw`.

    `_origin` and `_wrapped`, uint8, are what is added to a bucket, whichever gives less; `raw_bits` is a literal.
    Returns a bit for each code, the first lowest: whether it is above `_most` (uint8).
    """

    def build(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        n = raw_bits.literal_value
        _, raw, bucket, origin, wrapped, most = args
        place = builder.inttoptr(bucket, BYTES.as_pointer())
        buckets = builder.load(place, align=1)
        low = builder.add(buckets, _everywhere(builder, origin))
        high = builder.add(buckets, _everywhere(builder, wrapped))
        high = builder.bitcast(builder.select(builder.icmp_unsigned("<", low, high), low, high), PAIRS)
        moved = builder.bitcast(builder.shl(high, ir.Constant(PAIRS, [n] * 32)), BYTES)  # two at once, then masked
        codes = _merged(builder, _unpacked(builder, raw, n), moved, [(1 << n) - 1] * 64)
        builder.store(codes, place, align=1)
        return builder.bitcast(builder.icmp_unsigned(">", codes, _everywhere(builder, most)), WORD)

    return types.uint64(raw_bits, types.uint64, types.uint64, types.uint8, types.uint8, types.uint8), build


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


def _pick(builder: ir.IRBuilder, words: Any, which: list[int]) -> Any:
    return builder.shuffle_vector(words, words, ir.Constant(ir.VectorType(INDEX, 8), which))


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

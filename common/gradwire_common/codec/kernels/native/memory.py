"""Unaligned loads and stores, fetching ahead, and shifts without range checks: what the fast kernels are made of.

They check nothing. Every use stands in a kernel that has proven its bounds for a whole batch, and whose module says why
it is safe. Little-endian only; `dispatch.fast_path` keeps them off other machines and from uncompiled runs.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

I8, I16, I32, I64 = (ir.IntType(n) for n in (8, 16, 32, 64))
SHIFT_MASK = 63  # a shift by 64 or more is undefined in LLVM; masked, it is one instruction


@intrinsic
def load16(_typing: Any, _address: Any) -> Any:
    """The two bytes at `address` (uint64) as a little-endian number, uint64."""

    def build(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.zext(builder.load(builder.inttoptr(args[0], I16.as_pointer()), align=1), I64)

    return types.uint64(types.uint64), build


@intrinsic
def load64(_typing: Any, _address: Any) -> Any:
    """The eight bytes at `address` (uint64) as a little-endian number."""

    def build(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.load(builder.inttoptr(args[0], I64.as_pointer()), align=1)

    return types.uint64(types.uint64), build


@intrinsic
def store64(_typing: Any, _address: Any, _value: Any) -> Any:
    """Write `value` (uint64) to the eight bytes at `address` (uint64)."""

    def build(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        builder.store(args[1], builder.inttoptr(args[0], I64.as_pointer()), align=1)
        return _context.get_dummy_value()

    return types.void(types.uint64, types.uint64), build


@intrinsic
def fetch(_typing: Any, _address: Any) -> Any:
    """Have what is at `address` (uint64; nothing need be there) brought to the second-level cache, to be read."""
    return types.void(types.uint64), _prefetch(0)


@intrinsic
def fetch_to_write(_typing: Any, _address: Any) -> Any:
    """Have what is at `address` (uint64; nothing need be there) brought to the second-level cache, to be written."""
    return types.void(types.uint64), _prefetch(1)


def _prefetch(writing: int) -> Any:
    def build(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [I8.as_pointer(), I32, I32, I32])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        second_level, data = ir.Constant(I32, 2), ir.Constant(I32, 1)
        address = builder.inttoptr(args[0], I8.as_pointer())
        builder.call(function, [address, ir.Constant(I32, writing), second_level, data])
        return context.get_dummy_value()

    return build


@intrinsic
def shift_left(_typing: Any, _value: Any, _n: Any) -> Any:
    """`value << (n % 64)`, uint64."""

    def build(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.shl(args[0], builder.and_(args[1], ir.Constant(I64, SHIFT_MASK)))

    return types.uint64(types.uint64, types.uint64), build


@intrinsic
def shift_right(_typing: Any, _value: Any, _n: Any) -> Any:
    """`value >> (n % 64)`, uint64."""

    def build(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.lshr(args[0], builder.and_(args[1], ir.Constant(I64, SHIFT_MASK)))

    return types.uint64(types.uint64, types.uint64), build


@intrinsic
def trailing_zeros(_typing: Any, _value: Any) -> Any:
    """Zero bits below the lowest one bit of `value` (uint64, not 0)."""

    def build(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(types.uint64), build


@intrinsic
def leading_zeros(_typing: Any, _value: Any) -> Any:
    """Zero bits above the highest one bit of `value` (uint64, not 0)."""

    def build(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.ctlz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(types.uint64), build


@intrinsic
def matches64(_typing: Any, _address: Any, _byte: Any) -> Any:
    """A bit for each of the 64 bytes at `address` (uint64), the first lowest: whether it is `byte` (uint8)."""

    def build(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        bytes64 = ir.VectorType(I8, 64)
        found = builder.load(builder.inttoptr(args[0], bytes64.as_pointer()), align=1)
        wanted = builder.insert_element(ir.Constant(bytes64, ir.Undefined), args[1], ir.Constant(I32, 0))
        everywhere = ir.Constant(ir.VectorType(I32, 64), [0] * 64)
        equal = builder.icmp_unsigned("==", found, builder.shuffle_vector(wanted, wanted, everywhere))
        return builder.bitcast(equal, I64)

    return types.uint64(types.uint64, types.uint8), build

"""Batches of decoding look-ups in four bitstreams, as machine code for x86-64 with BMI2.

Compilers run out of registers on this loop and put what it waits for in memory: written out, it takes two thirds of the
time. `tuples.py` has the same loop for all other processors, and says why its accesses are safe. Both move places and
window alike:

    window      the next bits of a stream, the first lowest; bits from `valid` on are either right or 0
    refill      window |= load64(place) << valid; place += (63 - valid) >> 3; valid |= 56
    look-up     entry = table[window & mask]; store its six buckets; window >>= length; valid -= length; to += count

An entry holds its buckets in the six low bytes, then its length, then its count. What is written beyond the count is
written over by the next look-up. Only the low six bits of a length or `valid` matter to a shift, so neither is masked.
"""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

LOOKUPS = 4  # of at most 12 bits: 48 of the 56 that a refill leaves at least
PLACE, TO, WINDOW, VALID = range(0, 16, 4)  # of the state, in uint64: these for each of four streams ...
TABLE, INDEX_BITS, N_BATCHES, STATE_SIZE = range(16, 20)  # ... and these for all

WINDOWS, COUNTS, TARGETS = ("rbx", "rsi", "rdi", "r8"), ("r9", "r10", "r11", "r12"), ("r13", "r14", "r15", "rbp")
FRAME = 256  # bytes: the 128 below the stack pointer belong to the caller, ours are below
GENERAL = ("rax", "rbx", "rcx", "rdx", "rsi", *(f"r{i}" for i in range(8, 16)))
CLOBBERED = (*GENERAL, "memory", "cc", "dirflag", "fpsr", "flags")


def _program() -> str:
    """The loop. %rcx is the table, %rdx the index bits, %rax one entry; the places are on the stack."""
    streams = range(4)
    lines = [f"subq $${FRAME}, %rsp", "movq %rbp, 40(%rsp)", "movq %rdi, 48(%rsp)", "movq %rdi, %rax"]
    for i in streams:
        lines += [f"movq {8 * (PLACE + i)}(%rax), %rdx", f"movq %rdx, {8 * i}(%rsp)"]
    lines += [f"movq {8 * N_BATCHES}(%rax), %rdx", "movq %rdx, 32(%rsp)"]
    for i in streams:
        lines += [
            f"movq {8 * (TO + i)}(%rax), %{TARGETS[i]}",
            f"movq {8 * (WINDOW + i)}(%rax), %{WINDOWS[i]}",
            f"movq {8 * (VALID + i)}(%rax), %{COUNTS[i]}",
        ]
    lines += [f"movq {8 * TABLE}(%rax), %rcx", f"movq {8 * INDEX_BITS}(%rax), %rdx", ".p2align 6", "1:"]
    for i in streams:
        lines += [
            f"movq {8 * i}(%rsp), %rax",
            f"shlxq %{COUNTS[i]}, (%rax), %rax",
            f"orq %rax, %{WINDOWS[i]}",
            f"movzbl %{COUNTS[i]}b, %eax",
            "xorl $$63, %eax",
            "shrl $$3, %eax",
            f"addq %rax, {8 * i}(%rsp)",
            f"orq $$56, %{COUNTS[i]}",
        ]
    for _ in range(LOOKUPS):
        for i in streams:
            lines += [
                f"bzhiq %rdx, %{WINDOWS[i]}, %rax",
                "movq (%rcx,%rax,8), %rax",
                f"movq %rax, (%{TARGETS[i]})",
                "rorxq $$48, %rax, %rax",
                f"shrxq %rax, %{WINDOWS[i]}, %{WINDOWS[i]}",
                f"subq %rax, %{COUNTS[i]}",
                "movzbl %ah, %eax",
                f"addq %rax, %{TARGETS[i]}",
            ]
    lines += ["decq 32(%rsp)", "jnz 1b", "movq 48(%rsp), %rax"]
    for i in streams:
        lines += [
            f"movq %{TARGETS[i]}, {8 * (TO + i)}(%rax)",
            f"movq %{WINDOWS[i]}, {8 * (WINDOW + i)}(%rax)",
            f"movq %{COUNTS[i]}, {8 * (VALID + i)}(%rax)",
            f"movq {8 * i}(%rsp), %rdx",
            f"movq %rdx, {8 * (PLACE + i)}(%rax)",
        ]
    lines += ["movq %rax, %rdi", "movq 40(%rsp), %rbp", f"addq $${FRAME}, %rsp"]
    return "\n".join(lines)


@intrinsic
def look_up_batches(_typing, _state):
    """Run N_BATCHES (at least 1) batches on the state at the address `_state`, uint64 of shape (STATE_SIZE,)."""

    def build(_context, builder, _signature, args):
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(64)])
        constraints = ",".join(["{rdi}", *(f"~{{{name}}}" for name in CLOBBERED)])
        builder.asm(kind, _program(), constraints, args, True)
        return _context.get_dummy_value()

    return types.void(types.uint64), build

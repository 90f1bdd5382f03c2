"""Decoding look-ups in four or eight bitstreams, and what they find spread to buckets, as machine code for x86-64 with
AVX-512 VBMI2.

    look-up     entry = load32(table + (window & 4095 << 2)); window >>= entry; the entry goes to a slot
    refill      n = leading zeros of the window; place += n >> 3; window = (load64(place) << 2 | 1 << 63) >> (n & 7)
    spread      sixteen slots of a stream: every packed bucket to a byte, and what is none squeezed out

A turn fills sixteen slots of every stream while those of the turn before are spread: look-ups wait for the first-level
cache, and spreading for nothing. A table's entry has 32 bits, so that all 4096 take half of that cache: six bits of
length, then buckets of `width` bits each. A look-up takes four instructions, none of which knows how many buckets it
found. The next bits of a window begin at its third, which makes them the distance of an entry in bytes; zeros above its
highest one bit tell how many bits were used. `side_by_side.py` says why all accesses are safe.
"""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

LOOKUPS = 4  # between refills, of at most 12 bits: 48 of the 54 that a refill leaves at least
REFILLS = 4  # a turn
MOST_STREAMS = 8
SLOTS = LOOKUPS * REFILLS  # of a stream; as many as a vector holds
PACKED_SYMBOLS = 4  # buckets in a packed entry of 32 bits, beside 6 bits of length
TURN_BUCKETS = PACKED_SYMBOLS * SLOTS  # of a stream at most, and what one store writes
TURN_BYTES = 8 * REFILLS  # of a stream at least what a turn moves it by; 28 do, 32 are quickly divided by
PLACE, WINDOW, TO, TABLE, N_TURNS = 0, 8, 16, 24, 25  # of the state, in uint64: eight places, windows, targets ...
CONTROL, MASK, STATE_SIZE = 32, 40, 48  # ... and for spreading: eight times where buckets start, and their bits

WINDOWS = ("rbx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12")
PLACES, TARGETS, TURNS, KEPT_RBP, KEPT_STATE, KEPT_RSP, FOUND = 0, 64, 128, 136, 144, 152, 192  # on the stack
AHEAD = 256  # bytes: what is written soon is fetched into the cache
HALF = 4 * SLOTS * MOST_STREAMS  # bytes of the slots of a turn; those of two turns take turns
CLOBBERS = ("rax", "rbx", "rcx", "rdx", "rsi", *(f"r{i}" for i in range(8, 16)), *(f"zmm{i}" for i in range(16, 20)))
CLOBBERS += ("k1", "memory", "cc", "dirflag", "fpsr", "flags")


def _program(n_streams: int) -> str:
    """%rdi is the state. %rcx becomes the table, %rdx what no index has, %r15 the top bit, %r13 and %r14 slots."""
    windows = WINDOWS[:n_streams]
    lines = ["movq %rsp, %rax", f"subq $${FOUND + 2 * HALF + 256}, %rsp", "andq $$-64, %rsp"]
    lines += [f"movq %rax, {KEPT_RSP}(%rsp)", f"movq %rbp, {KEPT_RBP}(%rsp)", f"movq %rdi, {KEPT_STATE}(%rsp)"]
    lines += ["movq %rdi, %r15", f"movq {8 * TABLE}(%r15), %rcx", f"movq {8 * N_TURNS}(%r15), %rax"]
    lines += [f"movq %rax, {TURNS}(%rsp)", "movq $$-16381, %rdx"]
    lines += [f"leaq {FOUND}(%rsp), %r13", f"leaq {FOUND + HALF}(%rsp), %r14"]
    lines += [f"vmovdqu64 {8 * CONTROL}(%r15), %zmm16", f"vmovdqu64 {8 * MASK}(%r15), %zmm17"]
    lines += ["vpternlogd $$255, %zmm18, %zmm18, %zmm18"]  # slots of before the first turn hold no bucket
    for i, window in enumerate(windows):
        lines += [f"vmovdqu64 %zmm18, {4 * SLOTS * i}(%r14)", f"movq {8 * (WINDOW + i)}(%r15), %{window}"]
        lines += [f"movq {8 * (PLACE + i)}(%r15), %rax", f"movq %rax, {PLACES + 8 * i}(%rsp)"]
        lines += [f"movq {8 * (TO + i)}(%r15), %rax", f"movq %rax, {TARGETS + 8 * i}(%rsp)"]
    lines += ["movq $$1, %r15", "rorq $$1, %r15", ".p2align 6", "1:"]
    to_spread = iter(range(n_streams))
    for step in range(SLOTS):
        if step % LOOKUPS == 0:
            for i, window in enumerate(windows):
                lines += _refill(i, window)
        for i, window in enumerate(windows):
            lines += _look_up(i, window, step)
        if (step + 1) * n_streams % SLOTS == 0:
            lines += _spread(next(to_spread))
    lines += ["xchgq %r13, %r14", f"decq {TURNS}(%rsp)", "jnz 1b"]
    for i in range(n_streams):
        lines += _spread(i)
    lines += [f"movq {KEPT_STATE}(%rsp), %r15"]
    for i, window in enumerate(windows):
        lines += [f"movq %{window}, {8 * (WINDOW + i)}(%r15)"]
        lines += [f"movq {PLACES + 8 * i}(%rsp), %rax", f"movq %rax, {8 * (PLACE + i)}(%r15)"]
        lines += [f"movq {TARGETS + 8 * i}(%rsp), %rax", f"movq %rax, {8 * (TO + i)}(%r15)"]
    lines += ["movq %r15, %rdi", f"movq {KEPT_RBP}(%rsp), %rbp", f"movq {KEPT_RSP}(%rsp), %rsp"]
    return "\n".join(lines)


def _refill(i: int, window: str) -> list[str]:
    return [
        f"lzcntq %{window}, %rax",
        "movl %eax, %ebp",
        "shrl $$3, %ebp",
        f"addq {PLACES + 8 * i}(%rsp), %rbp",
        f"movq %rbp, {PLACES + 8 * i}(%rsp)",
        "andl $$7, %eax",
        f"movq (%rbp), %{window}",
        f"shlq $$2, %{window}",
        f"orq %r15, %{window}",
        f"shrxq %rax, %{window}, %{window}",
    ]


def _look_up(i: int, window: str, step: int) -> list[str]:
    return [
        f"andnq %{window}, %rdx, %rax",
        "movl (%rcx,%rax), %eax",
        f"shrxq %rax, %{window}, %{window}",
        f"movl %eax, {4 * (SLOTS * i + step)}(%r13)",
    ]


def _spread(i: int) -> list[str]:
    return [
        f"vpmultishiftqb {4 * SLOTS * i}(%r14), %zmm16, %zmm18",
        "vpandq %zmm17, %zmm18, %zmm18",
        "vpcmpub $$4, %zmm17, %zmm18, %k1",
        "vpcompressb %zmm18, %zmm19 {%k1} {z}",
        f"movq {TARGETS + 8 * i}(%rsp), %rax",
        f"prefetchw {AHEAD}(%rax)",
        "kmovq %k1, %rbp",
        "popcntq %rbp, %rbp",
        "vmovdqu64 %zmm19, (%rax)",
        f"addq %rbp, {TARGETS + 8 * i}(%rsp)",
    ]


def _build(n_streams):
    def build(context, builder, _signature, args):
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(64)])
        constraints = ",".join(["{rdi}", *(f"~{{{name}}}" for name in CLOBBERS)])
        builder.asm(kind, _program(n_streams), constraints, args, True)
        return context.get_dummy_value()

    return types.void(types.uint64), build


@intrinsic
def decode_four(_typing, _state):
    """Take N_TURNS (at least 1) turns in four streams on the state at the address `_state`."""
    return _build(4)


@intrinsic
def decode_eight(_typing, _state):
    """Take N_TURNS (at least 1) turns in eight streams on the state at the address `_state`."""
    return _build(8)

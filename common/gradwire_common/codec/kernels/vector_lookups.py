# mypy: ignore-errors
"""Decoding look-ups in four or eight bitstreams, and their results spread to buckets, as machine code for x86-64 with
AVX-512 VBMI2.

    look-up     entry = load32(table + (window & 4095 << 2)); window >>= entry; the entry goes to a slot
    refill      n = leading zeros of the window; place += n >> 3; window = (load64(place) << 2 | 1 << 63) >> (n & 7)
    spread      sixteen slots at a time: every packed bucket to a byte, and what is none squeezed out

A table's entry has 32 bits, so that all 4096 take half of the first-level cache: six bits of length, then buckets of
`width` bits each. A look-up takes four instructions, none of which knows how many buckets it found. The next bits
of a window begin at its third, which makes them the distance of an entry in bytes; zeros above its highest one bit tell
how many bits were used. `side_by_side.py` says why all accesses are safe.
"""

import platform

from llvmlite import binding, ir
from numba import types
from numba.extending import intrinsic

from gradwire_common.codec.kernels.tables import PACKED_SYMBOLS

LOOKUPS = 4  # a batch, of at most 12 bits: 48 of the 54 that a refill leaves at least
MOST_STREAMS = 8
SPREAD = 16  # slots at a time
ROW = 272  # slots of a bitstream: 256, and SPREAD more, so that rows start in different sets of the cache
MOST_BATCHES = (ROW - SPREAD) // LOOKUPS
BATCH_BUCKETS, SPREAD_BYTES = PACKED_SYMBOLS * LOOKUPS, 64  # most of a batch in one stream; one store
SLOTS_SIZE = MOST_STREAMS * ROW + (BATCH_BUCKETS * MOST_BATCHES + SPREAD_BYTES) // 4  # uint32: rows, a round's buckets
PLACE, WINDOW, TABLE, SLOTS, N_BATCHES = 0, 8, 16, 17, 18  # of the state, in uint64: eight places, eight windows ...
CONTROL, MASK, STATE_SIZE = 24, 32, 40  # ... and for spreading: eight times where buckets start, and their bits

WINDOWS = ("rbx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12")
FRAME = 256  # bytes: the 128 below the stack pointer belong to the caller, ours are below
LAST_SLOT, KEPT_RBP, KEPT_STATE = 64, 72, 80  # on the stack, after eight places
LOOK_UP_CLOBBERS = ("rax", "rbx", "rcx", "rdx", "rsi", *(f"r{i}" for i in range(8, 16)), "memory", "cc")
SPREAD_CLOBBERS = ("r8", "r9", "r10", "zmm16", "zmm17", "zmm18", "zmm19", "k1", "memory", "cc")
CPU_FLAGS = ("dirflag", "fpsr", "flags")
NEEDED = ("bmi", "bmi2", "lzcnt", "popcnt", "avx512f", "avx512bw", "avx512vbmi", "avx512vbmi2")


def has_vbmi2() -> bool:
    """Return whether this processor, and this LLVM, can run the machine code below."""
    features = binding.get_host_cpu_features()
    return platform.machine() in ("x86_64", "AMD64") and all(features.get(name) for name in NEEDED)


def _look_up_program(n_streams: int) -> str:
    """%rcx is the table, %rdx what no index has, %r15 the top bit, %r13 the slots; places are on the stack."""
    windows = WINDOWS[:n_streams]
    lines = [f"subq $${FRAME}, %rsp", f"movq %rbp, {KEPT_RBP}(%rsp)", f"movq %rdi, {KEPT_STATE}(%rsp)"]
    lines += ["movq %rdi, %r15", f"movq {8 * TABLE}(%r15), %rcx", f"movq {8 * SLOTS}(%r15), %r13"]
    lines += [f"movq {8 * N_BATCHES}(%r15), %rax", f"imulq $${4 * LOOKUPS}, %rax", "addq %r13, %rax"]
    lines += [f"movq %rax, {LAST_SLOT}(%rsp)", "movq $$-16381, %rdx"]
    for i, window in enumerate(windows):
        lines += [f"movq {8 * (PLACE + i)}(%r15), %rax", f"movq %rax, {8 * i}(%rsp)"]
        lines += [f"movq {8 * (WINDOW + i)}(%r15), %{window}"]
    lines += ["movq $$1, %r15", "rorq $$1, %r15", ".p2align 6", "1:"]
    for i, window in enumerate(windows):
        lines += [
            f"lzcntq %{window}, %rax",
            "movl %eax, %ebp",
            "shrl $$3, %ebp",
            f"addq {8 * i}(%rsp), %rbp",
            f"movq %rbp, {8 * i}(%rsp)",
            "andl $$7, %eax",
            f"movq (%rbp), %{window}",
            f"shlq $$2, %{window}",
            f"orq %r15, %{window}",
            f"shrxq %rax, %{window}, %{window}",
        ]
    for step in range(LOOKUPS):
        for i, window in enumerate(windows):
            lines += [
                f"andnq %{window}, %rdx, %rax",
                "movl (%rcx,%rax), %eax",
                f"shrxq %rax, %{window}, %{window}",
                f"movl %eax, {4 * (i * ROW + step)}(%r13)",
            ]
    lines += [
        f"addq $${4 * LOOKUPS}, %r13",
        f"cmpq %r13, {LAST_SLOT}(%rsp)",
        "jnz 1b",
        f"movq {KEPT_STATE}(%rsp), %r15",
    ]
    for i, window in enumerate(windows):
        lines += [f"movq %{window}, {8 * (WINDOW + i)}(%r15)"]
        lines += [f"movq {8 * i}(%rsp), %rax", f"movq %rax, {8 * (PLACE + i)}(%r15)"]
    lines += ["movq %r15, %rdi", f"movq {KEPT_RBP}(%rsp), %rbp", f"addq $${FRAME}, %rsp"]
    return "\n".join(lines)


def _spread_program() -> str:
    """%rdi: slots, %rsi: sixteens of them, %rdx: where buckets go, %rcx: state; %rax ends after the last bucket."""
    return "\n".join(
        [
            f"vmovdqu64 {8 * CONTROL}(%rcx), %zmm16",
            f"vmovdqu64 {8 * MASK}(%rcx), %zmm17",
            "movq %rdi, %r8",
            "movq %rsi, %r9",
            "movq %rdx, %rax",
            ".p2align 5",
            "1:",
            "vmovdqu64 (%r8), %zmm18",
            "vpmultishiftqb %zmm18, %zmm16, %zmm18",
            "vpandq %zmm17, %zmm18, %zmm18",
            "vpcmpub $$4, %zmm17, %zmm18, %k1",
            "vpcompressb %zmm18, %zmm19 {%k1} {z}",
            "kmovq %k1, %r10",
            "popcntq %r10, %r10",
            "vmovdqu64 %zmm19, (%rax)",
            "addq %r10, %rax",
            f"addq $${4 * SPREAD}, %r8",
            "decq %r9",
            "jnz 1b",
        ]
    )


HAS_VBMI2 = has_vbmi2()
if HAS_VBMI2:
    binding.initialize_native_asmparser()


def _look_up(n_streams):
    def build(context, builder, _signature, args):
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(64)])
        constraints = ",".join(["{rdi}", *(f"~{{{name}}}" for name in LOOK_UP_CLOBBERS + CPU_FLAGS)])
        builder.asm(kind, _look_up_program(n_streams), constraints, args, True)
        return context.get_dummy_value()

    return types.void(types.uint64), build


@intrinsic
def look_up_four(_typing, _state):
    """Run N_BATCHES (at least 1) batches in four streams on the state at the address `_state`."""
    return _look_up(4)


@intrinsic
def look_up_eight(_typing, _state):
    """Run N_BATCHES (at least 1) batches in eight streams on the state at the address `_state`."""
    return _look_up(8)


@intrinsic
def spread(_typing, _slots, _n, _to, _state):
    """Write the buckets of `_n` (at least 1) times SPREAD slots to the address `_to`; return the address after."""

    def build(_context, builder, _signature, args):
        word = ir.IntType(64)
        inputs = ["={rax}", "{rdi}", "{rsi}", "{rdx}", "{rcx}"]
        constraints = ",".join([*inputs, *(f"~{{{name}}}" for name in SPREAD_CLOBBERS + CPU_FLAGS)])
        return builder.asm(ir.FunctionType(word, [word] * 4), _spread_program(), constraints, args, True)

    return types.uint64(types.uint64, types.uint64, types.uint64, types.uint64), build

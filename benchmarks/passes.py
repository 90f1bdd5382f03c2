"""gradwire's own passes over float32 entries, beside what memory allows for them."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import numpy.typing as npt

from gradwire_common.codec.frames import add_frame, decode_frame, encode_frame
from gradwire_common.codec.model.fit import fit_gennorm
from stopwatch import Timing, take_turns
from workloads import Part

F32 = npt.NDArray[np.float32]
WEIGHT = 0.25


def memory_passes(n: int) -> dict[str, Callable[[], object]]:
    """Passes that do nothing but move float32 entries: what a pass of as many bytes an entry can reach.

    Returns:
        read: 4 bytes an entry; copy: 8; subtract: 12 (read, own, write), as quantising with a residual.
    """
    source, target = np.ones(n, np.float32), np.zeros(n, np.float32)
    words = source.view(np.uint64)
    return {
        "read": lambda: np.bitwise_or.reduce(words),
        "copy": lambda: np.copyto(target, source),
        "subtract": lambda: np.subtract(source, np.float32(0.5), out=target),
    }


@numba.njit(nogil=True)
def add_entries(entries: F32, weight: np.float32, accumulator: F32) -> None:
    """Add `weight` times `entries` to `accumulator`, in one pass: the second of the two that add_frame replaces."""
    for i in range(entries.size):
        accumulator[i] += weight * entries[i]


def float_passes(part: Part) -> dict[str, Callable[[], object]]:
    """Encode, decode, add and fit `part`, as gradwire's callers do it, after checking that all agree."""
    values, quantizer, model = part.values, part.quantizer, part.model
    frame = encode_frame(values, quantizer, model)
    decoded, residual, accumulator = decode_frame(frame), np.zeros_like(values), np.zeros_like(values)
    check(np.array_equal(decoded, quantizer.dequantize(quantizer.quantize(values))), "decoded entries are the levels")
    check(encode_frame(values, quantizer, model, residual=residual) == frame, "a residual does not change the frame")
    check(np.array_equal(values - decoded, residual), "the residual is what was lost")
    add_frame(frame, WEIGHT, accumulator)
    check(np.array_equal(accumulator, np.float32(WEIGHT) * decoded), "adding is decoding, times the weight")

    return {
        "encode": lambda: encode_frame(values, quantizer, model),
        "encode, residual": lambda: encode_frame(values, quantizer, model, residual=residual),
        "decode": lambda: decode_frame(frame),
        "decode + add": lambda: add_frame(frame, WEIGHT, accumulator),
        "decode, then add": lambda: add_entries(decode_frame(frame), np.float32(WEIGHT), accumulator),
        "fit": lambda: fit_gennorm(values, check_finite=False),  # as encode_frame does, which checks later
    }


def time_passes(part: Part, rounds: int) -> dict[str, Timing]:
    """Time gradwire's passes and memory's in turns."""
    return take_turns({**memory_passes(part.values.size), **float_passes(part)}, rounds)


def thread_gains(part: Part, rounds: int) -> dict[str, float]:
    """Return how many times faster two threads are than one, by the wall clock, for gradwire and for memcpy.

    Each thread codes its own half, as a frame of its own; encode_frame's own `threads` does the same within a frame.
    """
    half = part.values.size // 2
    values = [part.values[:half].copy(), part.values[half : 2 * half].copy()]
    frames = [encode_frame(v, part.quantizer, part.model) for v in values]
    targets = [np.zeros_like(v) for v in values]
    tasks: dict[str, list[Callable[[], object]]] = {
        "encode": [lambda v=v: encode_frame(v, part.quantizer, part.model) for v in values],
        "decode": [lambda f=f: decode_frame(f) for f in frames],
        "add": [lambda f=f, t=t: add_frame(f, WEIGHT, t) for f, t in zip(frames, targets, strict=True)],
        "memcpy": [lambda v=v, t=t: np.copyto(t, v) for v, t in zip(values, targets, strict=True)],
    }
    gains = {}
    with ThreadPoolExecutor(2) as pool:
        for name, halves in tasks.items():
            timings = take_turns(
                {
                    "one": lambda halves=halves: [run() for run in halves],
                    "two": lambda halves=halves: list(pool.map(lambda run: run(), halves)),
                },
                rounds,
                time.perf_counter,
            )
            gains[name] = timings["one"].best / timings["two"].best
    return gains


def check(holds: bool, what: str) -> None:
    """Stop the benchmark where the codec is wrong.

    Raises:
        SystemExit: `what` does not hold.
    """
    if not holds:
        raise SystemExit(f"the codec is wrong: it does not hold that {what}")

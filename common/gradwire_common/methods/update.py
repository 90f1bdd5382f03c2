"""A whole update, as frames one after the other: a push's gradient, a version's change of the weights, a snapshot.

Parameters travel in frames of a method, all else in exact frames of the codec; so do the parameters of snapshots.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from gradwire_common.codec.model.fit import refuse_non_finite
from gradwire_common.errors import BitstreamError, NonFiniteError, RangeError, UsageError
from gradwire_common.layout.manifest import Role, Unit
from gradwire_common.methods.frames import CODEC_FRAMES, encode_exact
from gradwire_common.methods.method import F32, MAX_ENTRY, Encoder, EncodeReport, Frames


def encode_update(
    encoder: Encoder,
    values: F32,
    report: EncodeReport,
    others: Sequence[Unit] = (),
    *,
    stored: bool = False,
    budget: int = 0,
) -> Iterator[bytes]:
    """Yield the frames of all parameters of u, then exact ones of other units: buffers, where they are due.

    Args:
        encoder: of the parameters.
        values: float32 in layout order, prepared by the encoder.
        report: filled in while frames are made.
        others: units that `values` holds beside the parameters.
        stored: whether their entries are stored as they are, as `encode_exact` has it.
        budget: most bytes of all frames together; 0 where there is no limit. All are made before the first then.

    Raises:
        NonFiniteError, ConfigError: as `Encoder.encode`.
    """
    if not budget:
        yield from encoder.encode(values, report)
        yield from encode_others(values, report, others, stored=stored)
        return
    exact = list(encode_others(values, report, others, stored=stored))
    yield from list(encoder.encode(values, report, max(budget - sum(map(len, exact)), 1)))
    yield from exact


def encode_others(values: F32, report: EncodeReport, units: Sequence[Unit], *, stored: bool) -> Iterator[bytes]:
    """Yield the exact frames of units that are no parameters, as the last part of an update."""
    began = time.perf_counter()
    for frame in encode_exact(values, units, stored=stored):
        report.encode_seconds += time.perf_counter() - began
        report.n_bytes += len(frame)
        yield frame
        began = time.perf_counter()


def frames_of(unit: Unit, method: Frames) -> Frames:
    """Return how the frame of `unit` is read in an update whose parameters go by `method`."""
    return method if unit.role is Role.PARAMETER else CODEC_FRAMES


def split_frames(
    data: bytes | memoryview, units: Sequence[Unit], method: Frames = CODEC_FRAMES
) -> list[tuple[Unit, memoryview]]:
    """Cut an update into its frames, each with its unit.

    Raises:
        BitstreamError: the frames are not those of `units`.
    """
    rest = memoryview(data)
    frames = []
    for unit in units:
        length = frames_of(unit, method).frame_length(rest, unit)
        frames.append((unit, rest[:length]))
        rest = rest[length:]
    if rest:
        raise BitstreamError(f"{len(rest)} bytes follow the last of {len(units)} frames")
    return frames


def check_update(
    data: bytes | memoryview, units: Sequence[Unit], method: Frames = CODEC_FRAMES, held: F32 | None = None
) -> None:
    """Read every frame once, so that nothing of an update ever counts that is damaged or cannot be added up.

    Args:
        data: the frames.
        units: what they are of.
        method: how those of parameters are read.
        held: float32 in layout order: a buffer's entry above MAX_ENTRY may have the value that it has here, as a mask.

    Raises:
        BitstreamError: a frame is damaged, not of its unit, or holds a NaN or infinity; names the unit.
        RangeError: an entry's magnitude is above MAX_ENTRY; names the tensor.
    """
    for unit, frame in split_frames(data, units, method):
        frames = frames_of(unit, method)
        if frames.check(frame, unit) > MAX_ENTRY:
            values = np.zeros(unit.stop, np.float32)
            frames.decode(frame, unit, values[unit.place])
            if held is not None and unit.role is Role.BUFFER:
                values[unit.place][values[unit.place] == held[unit.place]] = 0
            check_finite(values, unit, MAX_ENTRY)


def decode_update(data: bytes | memoryview, units: Sequence[Unit], out: F32, method: Frames = CODEC_FRAMES) -> None:
    """Write the entries of an update to their places in the flat vector `out`.

    Raises:
        BitstreamError: a frame is damaged or not of its unit; `out` may hold a part then.
    """
    for unit, frame in split_frames(data, units, method):
        frames_of(unit, method).decode(frame, unit, out[unit.place])


def add_update(
    data: bytes | memoryview,
    units: Sequence[Unit],
    weight: float,
    total: F32,
    method: Frames = CODEC_FRAMES,
    scale: float = 1.0,
) -> None:
    """Add `weight` times an update to the flat vector `total`: float32 product, rounded, then float32 sum.

    Args:
        data: the frames of `units`, one after the other.
        units: in order.
        weight: of every entry.
        total: (n,) float32 in layout order.
        method: of the parameters' frames.
        scale: of the parameters' entries, beside their weight.

    Raises:
        BitstreamError: a frame is damaged or not of its unit; `total` may hold a part then.
    """
    scaled = weight if scale == 1 else weight * scale
    for unit, frame in split_frames(data, units, method):
        weight_of_unit = scaled if unit.role is Role.PARAMETER else weight
        frames_of(unit, method).add(frame, weight_of_unit, unit, total[unit.place])


def largest_update(units: Sequence[Unit], method: Frames = CODEC_FRAMES) -> int:
    """Return the most bytes that an update of `units` can take."""
    return sum(frames_of(unit, method).largest(unit) for unit in units)


def check_finite(values: F32, unit: Unit, most: float = math.inf) -> float:
    """Return the largest magnitude of `unit`.

    Args:
        values: float32 in layout order.
        unit: what to look at.
        most: the largest magnitude that may be.

    Raises:
        NonFiniteError: an entry is a NaN or infinity; names the first tensor that has one.
        RangeError: a magnitude is above `most`; names the first tensor that has one.
    """
    try:
        largest = refuse_non_finite(values[unit.place])
    except NonFiniteError:
        what, n, size = _first_wrong(values, unit, np.isfinite)
        raise NonFiniteError(f"{what} ({n} of {size} entries are not finite), want finite numbers") from None
    if largest > most:
        what, n, size = _first_wrong(values, unit, lambda some: np.abs(some) <= most)
        raise RangeError(
            f"{what} ({n} of {size} entries are too large to be added up), want magnitudes of at most {most:g}; "
            "a lower lr may help"
        )
    return largest


def _first_wrong(values: F32, unit: Unit, is_right: Callable[[F32], npt.NDArray[np.bool_]]) -> tuple[str, int, int]:
    """Tell of the first tensor of `unit` with wrong entries: name, number and place of the first; how many of how many.

    There must be one.
    """
    start = unit.start
    for spec in unit.tensors:
        some = values[start : start + spec.size]
        right = is_right(some)
        if not right.all():
            first = int(np.argmin(right))
            return f"{spec.name}: got {some[first]} at entry {first}", spec.size - int(right.sum()), spec.size
        start += spec.size
    raise UsageError(f"{unit}: all entries are right")

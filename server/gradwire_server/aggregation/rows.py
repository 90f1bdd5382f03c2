"""The pushes of a round side by side, for rules that compare them entry by entry."""

from collections.abc import Iterator, Sequence

import numpy as np

from gradwire_common.layout.manifest import Layout, Role
from gradwire_common.methods.method import F32, Frames
from gradwire_common.methods.update import frames_of, split_frames
from gradwire_server.aggregation.push import Push

ROWS_BYTES = 32 << 20  # of decoded entries of all pushes at once; a longer unit is decoded once for each part of it


def decoded_rows(
    pushes: Sequence[Push], layout: Layout, method: Frames, *, with_buffers: bool = False
) -> Iterator[tuple[slice, F32]]:
    """Yield what pushes hold, in parts: a place in the flat vector, and a row of its entries for each push.

    Parameters are scaled as clipping asks for. Rows are the caller's until the next part.

    Args:
        pushes: at least one.
        layout: of the model.
        method: decodes the parameters' frames.
        with_buffers: whether the buffers follow the parameters; every push has them then.

    Raises:
        BitstreamError: a frame is damaged or not of its unit.
    """
    units = layout.pushed(with_buffers)
    frames = [split_frames(push.data, layout.pushed(push.with_buffers), method) for push in pushes]
    most = max(1, ROWS_BYTES // (4 * len(pushes)))
    rows = np.empty((len(pushes), min(most, max(map(len, units)))), np.float32)
    for index, unit in enumerate(units):
        entries = np.empty(len(unit) if len(unit) > most else 0, np.float32)
        for start in range(0, len(unit), most):
            part = rows[:, : min(most, len(unit) - start)]
            for row, push, (_, frame) in zip(part, pushes, (each[index] for each in frames), strict=True):
                if entries.size:
                    frames_of(unit, method).decode(frame, unit, entries)
                    row[:] = entries[start : start + len(row)]
                else:
                    frames_of(unit, method).decode(frame, unit, row)
                if push.scale != 1 and unit.role is Role.PARAMETER:
                    row *= np.float32(push.scale)
            yield slice(unit.start + start, unit.start + start + part.shape[1]), part


def square_norm(values: F32) -> float:
    """Return the sum of the squares of `values`, (n,), in float64: the same on every machine, unlike BLAS's."""
    return float(np.square(values, dtype=np.float64).sum())

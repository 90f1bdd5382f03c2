"""Which pushes of a round lie far from what it came to."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from gradwire_server.aggregation.push import Push
from gradwire_server.aggregation.rule import Treatment

FAR = 2.0  # times the median distance; random directions of the honest's length are at sqrt(2) where gradients agree


def outlying(square_distances: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Say which pushes are more than FAR times as far from the aggregate as the median push.

    While most pushes are honest, the median is of honest ones. None is outlying where most are the aggregate itself.

    Args:
        square_distances: (n,) squared Euclidean distances.
    """
    median = float(np.median(square_distances))
    return square_distances > FAR**2 * median if median > 0 else np.zeros(len(square_distances), bool)


def treatments(
    pushes: Sequence[tuple[int, Push]], square_distances: npt.NDArray[np.float64]
) -> Mapping[int, Treatment]:
    """Return how the pushes of slots were treated that were clipped, or are outlying."""
    far = outlying(square_distances)
    return {
        slot: Treatment(push.scale, bool(out))
        for (slot, push), out in zip(pushes, far, strict=True)
        if out or push.scale != 1
    }

"""The tensors of parts of the flat vector, and the norms that pushes have in each: for rules that look at tensors."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from gradwire_common.layout.manifest import Layout
from gradwire_common.methods.method import Method
from gradwire_server.aggregation.push import Push
from gradwire_server.aggregation.rows import decoded_rows, square_norm

F64 = npt.NDArray[np.float64]


class TensorPlaces:
    """Where the tensors of the parameters are; `parts` finds those of a part of the flat vector."""

    def __init__(self, layout: Layout):
        specs = [spec for unit in layout.parameters for spec in unit.tensors]
        self.slices = [layout.slots[spec.name] for spec in specs]
        self._stops = np.array([each.stop for each in self.slices])

    def parts(self, place: slice) -> Iterator[tuple[int, slice]]:
        """Yield the number of each tensor that has entries in `place`, and where in the part they are."""
        for number in range(int(np.searchsorted(self._stops, place.start, "right")), len(self.slices)):
            start, stop = max(self.slices[number].start, place.start), min(self.slices[number].stop, place.stop)
            if start >= place.stop:
                return
            if start < stop:
                yield number, slice(start - place.start, stop - place.start)


def tensor_norms(pushes: Sequence[Push], layout: Layout, places: TensorPlaces, method: Method) -> F64:
    """Return the Euclidean norm of each push in each tensor of the parameters, (tensors, pushes).

    Raises:
        BitstreamError: a frame is damaged.
    """
    squares = np.zeros((len(places.slices), len(pushes)))
    for place, rows in decoded_rows(pushes, layout, method):
        for number, part in places.parts(place):
            squares[number] += [square_norm(row[part]) for row in rows]
    return np.sqrt(squares)


def push_weights(pushes: Sequence[Push], *, equal: bool) -> F64:
    """Return what each push weighs, (pushes,): one, or as many as it is of."""
    return np.array([1.0 if equal else float(push.samples) for push in pushes])

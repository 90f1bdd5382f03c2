"""The radial-directional mean: how far pushes go and where they go, averaged apart."""

import numpy as np

from gradwire_common.layout.manifest import Layout
from gradwire_common.methods.method import Method
from gradwire_server.aggregation.kept import KeptPushes
from gradwire_server.aggregation.mean import EQUAL
from gradwire_server.aggregation.rows import decoded_rows, square_norm
from gradwire_server.aggregation.rule import Mean
from gradwire_server.aggregation.senders import checked_weights
from gradwire_server.aggregation.tensors import TensorPlaces, push_weights, tensor_norms


class RadialMean(KeptPushes):
    """Of every tensor the mean of the pushes' norms times the direction of the mean of their unit vectors.

    The changes that many learners make in local steps are nearly orthogonal, so that their plain mean is much shorter
    than any of them; this one is as long as they are. Decoupled DiLoCo merges so. Buffers are averaged plainly.

    Args:
        layout: of the model.
        method: decodes what pushes hold; its basis is orthonormal, so norms are those of the entries.
        weights: what a push weighs: "equal", one for each, or "samples", as many as it is of.

    Raises:
        ConfigError: other weights.
    """

    def __init__(self, layout: Layout, method: Method, weights: str = EQUAL):
        super().__init__(layout, method)
        self._equal = checked_weights("radial_mean", weights)
        self._places = TensorPlaces(layout)

    def finish(self) -> Mean:
        """Return the radial-directional mean of all parameters, and the mean of the buffers."""
        pushes = [push for _, push in self._take()]
        with_buffers = self._layout.n_buffers > 0 and all(push.with_buffers for push in pushes)
        shares = push_weights(pushes, equal=self._equal)
        shares /= shares.sum()
        norms = tensor_norms(pushes, self._layout, self._places, self._method)
        units = np.divide(shares, norms, out=np.zeros_like(norms), where=norms > 0)
        for place, rows in decoded_rows(pushes, self._layout, self._method, with_buffers=with_buffers):
            out = self._entries[place]
            with np.errstate(over="ignore"):  # of masks among the buffers: see `Training`
                if place.start >= self._layout.n_parameters:
                    out[:] = np.einsum("i,ij->j", shares, rows)
            for number, part in self._places.parts(place):
                out[part] = np.einsum("i,ij->j", units[number], rows[:, part])
        for tensor, lengths in zip(self._places.slices, norms, strict=True):
            direction = self._entries[tensor]
            length = square_norm(direction) ** 0.5
            if length > 0:
                direction *= np.float32(float(shares @ lengths) / length)
        return Mean(self._entries, with_buffers)

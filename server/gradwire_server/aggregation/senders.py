"""The mean over those that sent an entry: what sparse pushes say is not diluted by those that say nothing."""

import numpy as np

from gradwire_common.errors import ConfigError
from gradwire_common.layout.manifest import Layout
from gradwire_common.methods.method import Method
from gradwire_common.units import quoted
from gradwire_server.aggregation.kept import KeptPushes
from gradwire_server.aggregation.mean import EQUAL, SAMPLES
from gradwire_server.aggregation.rows import decoded_rows
from gradwire_server.aggregation.rule import Mean, Treatment
from gradwire_server.aggregation.tensors import TensorPlaces, push_weights, tensor_norms

NONE, MEDIAN = "none", "median"


class SendersMean(KeptPushes):
    """Of every entry the weighted mean of the pushes in which it is not zero; zero where it is in none.

    Peng, Quesnelle, Kingma, "DeMo", 2024, and Sarfi et al., "SparseLoCo", 2025, merge so. Buffers are averaged plainly.

    Args:
        layout: of the model.
        method: decodes what pushes hold.
        weights: what a push weighs: "equal", one for each, or "samples", as many as it is of: tokens, where a loop
            counts those.
        clip: "median" scales each tensor of a push down to the median of the pushes' norms in it, as one of
            SparseLoCo's deployments does; "none" leaves them.

    Raises:
        ConfigError: an option that cannot be.
    """

    def __init__(self, layout: Layout, method: Method, weights: str = EQUAL, clip: str = NONE):
        super().__init__(layout, method)
        self._equal = checked_weights("senders_mean", weights)
        if clip not in (NONE, MEDIAN):
            raise ConfigError(f"aggregation senders_mean: clip: got {quoted(clip)}, want {NONE} or {MEDIAN}")
        self._clips = clip == MEDIAN
        self._places = TensorPlaces(layout)

    def finish(self) -> Mean:
        """Return the mean over senders of all parameters, and the mean of the buffers."""
        taken = self._take()
        pushes = [push for _, push in taken]
        with_buffers = self._layout.n_buffers > 0 and all(push.with_buffers for push in pushes)
        weights = push_weights(pushes, equal=self._equal)
        scales = np.ones((len(self._places.slices), len(pushes)))
        if self._clips:
            norms = tensor_norms(pushes, self._layout, self._places, self._method)
            bounds = np.median(norms, axis=1, keepdims=True)
            np.divide(bounds, norms, out=scales, where=norms > bounds)
        for place, rows in decoded_rows(pushes, self._layout, self._method, with_buffers=with_buffers):
            out = self._entries[place]
            for number, part in self._places.parts(place):
                rows[:, part] *= scales[number].astype(np.float32)[:, None]
            present = rows != 0 if place.start < self._layout.n_parameters else np.ones(rows.shape, bool)
            with np.errstate(over="ignore"):  # of masks among the buffers: see `Training`
                out[:] = np.einsum("i,ij->j", weights, rows)
            sent = np.einsum("i,ij->j", weights, present).astype(np.float32)
            np.divide(out, sent, out=out, where=sent > 0)
        treated = {slot: Treatment(float(each.min())) for (slot, _), each in zip(taken, scales.T, strict=True)}
        return Mean(self._entries, with_buffers, {slot: how for slot, how in treated.items() if how.scale < 1})


def checked_weights(rule: str, weights: object) -> bool:
    """Return whether pushes weigh the same. Raises ConfigError unless `weights` are "equal" or "samples"."""
    if weights not in (SAMPLES, EQUAL):
        raise ConfigError(f"aggregation {rule}: weights: got {quoted(weights)}, want {SAMPLES} or {EQUAL}")
    return weights == EQUAL

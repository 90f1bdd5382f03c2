"""The sum of a round's pushes, in the order of slots, and its mean."""

from typing import ClassVar

import numpy as np

from gradwire_common.errors import ConfigError
from gradwire_common.layout.manifest import Layout
from gradwire_common.methods.method import Method
from gradwire_common.methods.update import add_update
from gradwire_common.units import quoted
from gradwire_server.aggregation.push import Push
from gradwire_server.aggregation.rule import Mean

SAMPLES, EQUAL = "samples", "equal"


class WeightedMean:
    """The weighted mean: sum += float32(weight) * gradient, push by push, in float32.

    The same pushes in the same order give the same bits. Nothing is kept of a push but its share of the sum.

    Args:
        layout: of the model.
        method: adds what pushes hold.
        weights: what a push weighs: "samples", as many as it is of, or "equal", one for each.

    Raises:
        ConfigError: other weights.
    """

    streams: ClassVar[bool] = True

    def __init__(self, layout: Layout, method: Method, weights: str = SAMPLES):
        if weights not in (SAMPLES, EQUAL):
            raise ConfigError(f"aggregation mean: weights: got {quoted(weights)}, want {SAMPLES} or {EQUAL}")
        self._layout = layout
        self._method = method
        self._equal = weights == EQUAL
        self._sum = np.zeros(layout.n_parameters + layout.n_buffers, np.float32)
        self._weight = self._buffer_weight = 0

    def add(self, push: Push, slot: int) -> None:  # noqa: ARG002
        """Add a push, which has been checked. Only buffers that are masks can overflow: see `Training`."""
        if not self._weight:
            self._sum[:] = 0
        weight, units = 1 if self._equal else push.samples, self._layout.pushed(push.with_buffers)
        with np.errstate(over="ignore"):
            add_update(push.data, units, weight, self._sum, self._method, push.scale)
        self._weight += weight
        self._buffer_weight += weight if push.with_buffers else 0

    def finish(self) -> Mean:
        """Turn the sums into means."""
        entries, n = self._sum, self._layout.n_parameters
        entries[:n] /= np.float32(self._weight)
        if self._buffer_weight:
            entries[n:] /= np.float32(self._buffer_weight)
        mean = Mean(entries, self._buffer_weight > 0 and self._layout.n_buffers > 0)
        self._weight = self._buffer_weight = 0
        return mean

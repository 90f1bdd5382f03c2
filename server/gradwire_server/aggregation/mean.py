"""The sum of a round's pushes, in the order of slots, and its mean."""

from typing import ClassVar

import numpy as np

from gradwire_common.layout.manifest import Layout
from gradwire_common.methods.method import Method
from gradwire_common.methods.update import add_update
from gradwire_server.aggregation.push import Push
from gradwire_server.aggregation.rule import Mean


class WeightedMean:
    """The mean weighted by samples: sum += float32(samples) * gradient, push by push, in float32.

    The same pushes in the same order give the same bits. Nothing is kept of a push but its share of the sum.
    """

    streams: ClassVar[bool] = True

    def __init__(self, layout: Layout, method: Method):
        self._layout = layout
        self._method = method
        self._sum = np.zeros(layout.n_parameters + layout.n_buffers, np.float32)
        self._samples = self._buffer_samples = 0

    def add(self, push: Push, slot: int) -> None:  # noqa: ARG002
        """Add a push, which has been checked. Only buffers that are masks can overflow: see `Training`."""
        if not self._samples:
            self._sum[:] = 0
        with np.errstate(over="ignore"):
            add_update(push.data, self._layout.pushed(push.with_buffers), push.samples, self._sum, self._method)
        self._samples += push.samples
        self._buffer_samples += push.samples if push.with_buffers else 0

    def finish(self) -> Mean:
        """Turn the sums into means."""
        entries, n = self._sum, self._layout.n_parameters
        entries[:n] /= np.float32(self._samples)
        if self._buffer_samples:
            entries[n:] /= np.float32(self._buffer_samples)
        mean = Mean(entries, self._buffer_samples > 0 and self._layout.n_buffers > 0)
        self._samples = self._buffer_samples = 0
        return mean

"""The sum of a round's pushes, in the order of slots, and its mean."""

import numpy as np
import numpy.typing as npt

from gradwire_common.layout.manifest import Layout
from gradwire_common.methods.update import add_update, check_finite
from gradwire_server.intake.staging import Push

F32 = npt.NDArray[np.float32]


class Accumulator:
    """Sums one round: sum += float32(samples) * gradient, push by push, in float32.

    The same pushes in the same order give the same bits. Nothing is kept of a push but its share of the sum.

    Attributes:
        entries: (n_parameters + n_buffers,) float32, the sums, then the means, in layout order.
        samples: sum of the weights so far.
    """

    def __init__(self, layout: Layout):
        self.layout = layout
        self.entries = np.zeros(layout.n_parameters + layout.n_buffers, np.float32)
        self.samples = 0
        self._buffer_samples = 0

    def add(self, push: Push) -> None:
        """Add a push, which has been checked."""
        add_update(push.data, self.layout.pushed(push.with_buffers), push.samples, self.entries)
        self.samples += push.samples
        self._buffer_samples += push.samples if push.with_buffers else 0

    def mean(self) -> bool:
        """Turn the sums into means weighted by samples; return whether there are means of the buffers.

        Raises:
            NonFiniteError: the sum of finite gradients overflowed; names the tensor.
        """
        n = self.layout.n_parameters
        self.entries[:n] /= np.float32(self.samples)
        for unit in self.layout.parameters:
            check_finite(self.entries, unit)
        if self._buffer_samples:
            self.entries[n:] /= np.float32(self._buffer_samples)
        return self._buffer_samples > 0 and self.layout.n_buffers > 0

    def reset(self) -> None:
        """Begin the next round."""
        self.entries[:] = 0
        self.samples = self._buffer_samples = 0

"""How the replica follows the weights: the frames of a version, which workers and server take in alike."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from isal.isal_zlib import crc32

from gradwire_common.layout.manifest import Layout
from gradwire_common.methods.frames import encode_exact
from gradwire_common.methods.method import F32, EncodeReport, Method
from gradwire_common.methods.silence import Silence
from gradwire_common.methods.update import encode_update
from gradwire_server.outcome.weights import Weights


class Downlink:
    """Makes the frames of versions and lets the replica have each as workers will.

    Attributes:
        exact: whether versions are the new weights themselves, and not changes of the replica.
        digest: CRC-32 of the replica once all frames of the newest version have been taken.

    Args:
        weights: the weights and their replica.
        method: how changes are coded.
    """

    def __init__(self, layout: Layout, weights: Weights, method: Method):
        self.exact = weights.exact
        self.digest = 0
        self._layout = layout
        self._weights = weights
        self._method = method
        self._encoder = method.encoder(layout)
        self._silence = Silence(
            "the weights have not changed in %d rounds in a row: every pushed update is zero, or the learning rate is"
        )

    def frames(self, change: F32, budget: int = 0, *, with_buffers: bool) -> Iterator[bytes]:
        """Yield the frames that bring the replica from where it is towards the weights.

        Args:
            change: (n_parameters + n_buffers,) float32; receives what the replica lacks, in place of whatever it held,
                where versions are changes. The buffers follow, and are read with_buffers.
            budget: bytes that the frames may take where the method's bits are auto; 0 for no budget.
            with_buffers: whether frames of the buffers follow.

        Raises:
            ConfigError: the budget is too small for any update.
        """
        layout, replica = self._layout, self._weights.replica
        units = layout.pushed(with_buffers)
        if self.exact:
            frames = encode_exact(self._weights.values, units, stored=self._method.stored)
        else:
            n = layout.n_parameters
            np.subtract(self._weights.values[:n], replica, out=change[:n])
            frames = self._coded(change, budget, with_buffers=with_buffers)
        self.digest = 0
        for unit, frame in zip(units, frames, strict=True):
            if unit.stop <= layout.n_parameters:
                if not self.exact:
                    self._method.add(frame, 1.0, unit, replica[unit.place])
                self.digest = crc32(replica[unit.place].astype("<f4", copy=False).data, self.digest)
            yield frame

    def state(self) -> dict[str, Any]:
        """Return what the next frames depend on beside the weights."""
        return self._encoder.state()

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Resume from what `state` returned."""
        self._encoder.load_state(state)

    def _coded(self, change: F32, budget: int, *, with_buffers: bool) -> Iterator[bytes]:
        report, method = EncodeReport(), self._method
        buffers = self._layout.buffers if with_buffers else ()
        self._encoder.prepare(change)
        left = budget if method.auto else 0
        yield from encode_update(self._encoder, change, report, buffers, stored=method.stored, budget=left)
        self._silence.count(report.silent)

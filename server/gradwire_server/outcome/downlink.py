"""How the replica follows the weights: the frames of a version, which workers and server take in alike."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from isal.isal_zlib import crc32

from gradwire_common.codec.frames import add_frame
from gradwire_common.layout.manifest import Layout
from gradwire_common.methods.budget import BudgetEncoder
from gradwire_common.methods.method import BITS_MAX, Method
from gradwire_common.methods.silence import Silence
from gradwire_common.methods.update import F32, EncodeReport, UpdateEncoder, encode_exact
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
        self._encoder = UpdateEncoder(layout, method)
        self._spender = BudgetEncoder(self._encoder)
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
            frames = encode_exact(self._weights.values, units, raw=self._encoder.raw)
        else:
            n = layout.n_parameters
            np.subtract(self._weights.values[:n], replica, out=change[:n])
            frames = self._coded(change, budget, with_buffers=with_buffers)
        self.digest = 0
        for unit, frame in zip(units, frames, strict=True):
            if unit.stop <= layout.n_parameters:
                if not self.exact:
                    add_frame(frame, 1.0, replica[unit.place])
                self.digest = crc32(replica[unit.place].astype("<f4", copy=False).data, self.digest)
            yield frame

    def state(self) -> dict[str, float]:
        """Return what the next frames depend on beside the weights."""
        return {"step": self._encoder.step, "overhead": self._spender.overhead}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Resume from what `state` returned."""
        self._encoder.step, self._spender.overhead = float(state["step"]), float(state["overhead"])

    def _coded(self, change: F32, budget: int, *, with_buffers: bool) -> Iterator[bytes]:
        report, auto = EncodeReport(), self._encoder.method.auto
        if budget and auto:
            yield from self._spender.encode(change, None, budget, with_buffers=with_buffers, report=report)
        else:
            bits = BITS_MAX if auto else None
            yield from self._encoder.encode(change, with_buffers=with_buffers, report=report, bits=bits)
        self._silence.count(report.silent)

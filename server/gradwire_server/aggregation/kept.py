"""What rules share that compare the pushes of a round: they keep them until it is over."""

from typing import ClassVar

import numpy as np

from gradwire_common.layout.manifest import Layout
from gradwire_common.methods.method import Method
from gradwire_server.aggregation.push import Push


class KeptPushes:
    """The pushes of a round, and room for what becomes of them.

    Args:
        layout: of the model.
        method: decodes what pushes hold.
    """

    streams: ClassVar[bool] = False

    def __init__(self, layout: Layout, method: Method):
        self._layout = layout
        self._method = method
        self._entries = np.empty(layout.n_parameters + layout.n_buffers, np.float32)
        self._pushes: list[tuple[int, Push]] = []

    def add(self, push: Push, slot: int) -> None:
        """Keep a push, which has been checked, until the round is over."""
        self._pushes.append((slot, push))

    def _take(self) -> list[tuple[int, Push]]:
        """Return the round's pushes with their slots, and keep none."""
        pushes, self._pushes = self._pushes, []
        return pushes

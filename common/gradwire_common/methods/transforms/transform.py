"""Orthonormal changes of basis of a tensor before it is quantised: the seam of transforms.

A transform keeps the shape, the number of entries and the sum of squares, and is linear: coefficients of many workers
may be added up and inverted once, and what quantising loses has the same mean square on both sides.
"""

from typing import Protocol

from gradwire_common.methods.method import F32


class Transform(Protocol):
    """forward: entries -> coefficients, inverse: coefficients -> entries; new arrays of the same shape."""

    @property
    def name(self) -> str:
        """Name in configurations."""

    def changes(self, shape: tuple[int, ...]) -> bool:
        """Tell whether tensors of `shape` are transformed at all."""

    def forward(self, tensor: F32) -> F32:
        """Return the coefficients of `tensor`, float32 in its shape; the tensor itself where nothing changes."""

    def inverse(self, coefficients: F32) -> F32:
        """Return the tensor of `coefficients`, float32 in their shape; themselves where nothing changes."""

"""Orthonormal changes of basis of a tensor before it is quantised: the transform stage.

A transform keeps the shape, the number of entries and the sum of squares, and is linear: coefficients of many workers
may be added up and inverted once, and what quantising loses has the same mean square on both sides.
"""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from gradwire_common.codec.kernels.dct import dct3x3, inverse_dct3x3
from gradwire_common.errors import UsageError

F32 = npt.NDArray[np.float32]


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


class Identity:
    """No transform."""

    name = "none"

    def changes(self, shape: tuple[int, ...]) -> bool:  # noqa: ARG002
        """Tell that no shape is transformed."""
        return False

    def forward(self, tensor: F32) -> F32:
        """Return `tensor` itself."""
        return tensor

    def inverse(self, coefficients: F32) -> F32:
        """Return `coefficients` themselves."""
        return coefficients


class KernelDct:
    """Orthonormal two-dimensional DCT-II of every 3x3 convolution kernel; other tensors stay as they are.

    The float32 operations and their order are fixed: two machines invert the same coefficients to the same bits.

    Source: Ahmed, Natarajan and Rao, IEEE Trans. Computers C-23(1), 1974.
    """

    name = "dct"

    def changes(self, shape: tuple[int, ...]) -> bool:
        """Tell whether `shape` is that of convolution weights (out, in, 3, 3)."""
        return len(shape) == 4 and shape[2:] == (3, 3)

    def forward(self, tensor: F32) -> F32:
        """Return the coefficients of `tensor`, kernel by kernel."""
        if not self.changes(tensor.shape):
            return tensor
        kernels = np.ascontiguousarray(tensor, np.float32).reshape(-1, 9)
        out = np.empty_like(kernels)
        dct3x3(kernels, out)
        return out.reshape(tensor.shape)

    def inverse(self, coefficients: F32) -> F32:
        """Return the tensor of `coefficients`, kernel by kernel."""
        if not self.changes(coefficients.shape):
            return coefficients
        kernels = np.ascontiguousarray(coefficients, np.float32).reshape(-1, 9)
        out = np.empty_like(kernels)
        inverse_dct3x3(kernels, out)
        return out.reshape(coefficients.shape)


TRANSFORMS: dict[str, Transform] = {"none": Identity(), "dct": KernelDct()}


def build_transform(name: str) -> Transform:
    """Return the transform called `name`, one of TRANSFORMS.

    Raises:
        UsageError: Unknown name.
    """
    if name not in TRANSFORMS:
        raise UsageError(f"transform is {name!r}, want one of {', '.join(TRANSFORMS)}")
    return TRANSFORMS[name]

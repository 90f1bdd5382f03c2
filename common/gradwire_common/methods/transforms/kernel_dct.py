"""The DCT of 3x3 convolution kernels."""

import numpy as np

from gradwire_common.codec.kernels.dct import dct3x3, inverse_dct3x3
from gradwire_common.methods.method import F32


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

"""The seam of devices: how the tensors of one device become a flat vector of the host, and back."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

F32 = npt.NDArray[np.float32]


class Compute(Protocol):
    """What depends on the device that a model lives on.

    Fitting, quantising and writing are one call for every device: the encoder of the method, on the host.
    """

    def synchronize(self) -> None:
        """Wait until the device has finished what it was given."""

    def new_vector(self, size: int) -> F32:
        """Return `size` zeros of host memory from which the device copies fast."""

    def gather(self, tensors: Sequence[torch.Tensor | None], sizes: Sequence[int], out: F32) -> None:
        """Write tensors one after the other to `out` as float32; None is so many zeros.

        Args:
            tensors: on any device.
            sizes: the entries of each.
            out: (sum of sizes,).
        """

    def on_device(self, values: F32) -> torch.Tensor:
        """Return `values` as a tensor of the device, which is valid until the next call."""


def flattened(
    tensors: Sequence[torch.Tensor | None], sizes: Sequence[int], device: torch.device, out: torch.Tensor
) -> None:
    """Write tensors one after the other to `out`, (sum of sizes,) float32 on `device`; None is zeros."""
    zero = torch.zeros(1, dtype=torch.float32, device=device)
    with torch.no_grad():
        pieces = [
            zero.expand(size) if tensor is None else tensor.detach().to(device).reshape(-1)
            for tensor, size in zip(tensors, sizes, strict=True)
        ]
        torch.cat([piece.float() for piece in pieces], out=out)

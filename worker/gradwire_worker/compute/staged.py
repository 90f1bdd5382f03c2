"""Models in a device's memory: one vector there, through which everything is copied at once."""

from collections.abc import Sequence

import torch

from gradwire_worker.compute.compute import F32, flattened


class StagedCompute:
    """A GPU, or another device with memory of its own.

    Args:
        device: where the model lives.
        size: entries that the vector on the device has at least, once it is needed.
    """

    def __init__(self, device: torch.device, size: int):
        self._device = device
        self._size = size
        self._held = torch.empty(0, dtype=torch.float32, device=device)

    def synchronize(self) -> None:
        """Wait until the device has finished what it was given."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    def new_vector(self, size: int) -> F32:
        """Return `size` zeros, in pinned memory where a GPU copies from it."""
        pinned = self._device.type == "cuda"
        zeros: F32 = torch.zeros(size, dtype=torch.float32, device="cpu", pin_memory=pinned).numpy()
        return zeros

    def gather(self, tensors: Sequence[torch.Tensor | None], sizes: Sequence[int], out: F32) -> None:
        """Gather tensors on the device and copy them to `out` at once; None is zeros."""
        flat = self._staged(out.size)
        flattened(tensors, sizes, self._device, flat)
        torch.from_numpy(out).copy_(flat)

    def on_device(self, values: F32) -> torch.Tensor:
        """Return a copy of `values` on the device."""
        return self._staged(values.size).copy_(torch.from_numpy(values))

    def _staged(self, size: int) -> torch.Tensor:
        """Return the first `size` entries of the vector on the device."""
        if self._held.numel() < size:
            self._held = torch.empty(max(size, self._size), dtype=torch.float32, device=self._device)
        return self._held[:size]

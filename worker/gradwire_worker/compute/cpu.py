"""Models in host memory: vectors are read and written in place."""

from collections.abc import Sequence

import torch

from gradwire_worker.compute.compute import F32, flattened

CPU = torch.device("cpu")


class CpuCompute:
    """The host itself."""

    def synchronize(self) -> None:
        """Return at once: nothing runs behind the caller's back."""

    def new_vector(self, size: int) -> F32:
        """Return `size` zeros."""
        zeros: F32 = torch.zeros(size, dtype=torch.float32, device=CPU).numpy()
        return zeros

    def gather(self, tensors: Sequence[torch.Tensor | None], sizes: Sequence[int], out: F32) -> None:
        """Write tensors one after the other to `out`; None is zeros."""
        flattened(tensors, sizes, CPU, torch.from_numpy(out))

    def on_device(self, values: F32) -> torch.Tensor:
        """Return a tensor over `values` themselves."""
        return torch.from_numpy(values)

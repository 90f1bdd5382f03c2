"""Where the tensors of a model lie in memory: which of them are one, and which cannot be trained."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from gradwire_common.errors import ModelMismatchError
from gradwire_common.layout.dtypes import SAFETENSORS

MAX_OVERLAP_WORK = 1_000_000  # candidates; two views that numpy cannot tell apart sooner are refused


def check_tensor(name: str, tensor: torch.Tensor) -> None:
    """Raise ModelMismatchError unless a tensor can be read and written, entry by entry, as real numbers."""
    if nn.parameter.is_lazy(tensor):
        raise ModelMismatchError(
            f"{name}: got a lazy tensor without a shape, want one batch run through the model first"
        )
    if tensor.layout is not torch.strided or tensor.is_nested:
        layout = "nested" if tensor.is_nested else tensor.layout
        raise ModelMismatchError(f"{name}: got layout {layout}, want a dense tensor (torch.strided)")
    if str(tensor.dtype).removeprefix("torch.") not in SAFETENSORS:
        raise ModelMismatchError(
            f"{name}: got dtype {tensor.dtype}, want real numbers of a dtype that a weights file can have"
        )
    if tensor.is_meta:
        raise ModelMismatchError(
            f"{name}: got a tensor of shape {list(tensor.shape)} on device meta, which holds no numbers, want the "
            "model on a real device (to_empty, then its initialisation)"
        )
    if tensor.numel() and not tensor.data_ptr():
        raise ModelMismatchError(
            f"{name}: got a {type(tensor).__name__} of shape {list(tensor.shape)} without memory of its own (freed, or "
            "made of other tensors as a DTensor is), want a plain tensor"
        )
    if tensor.is_inference():
        raise ModelMismatchError(
            f"{name}: got a tensor made under torch.inference_mode(), which cannot be trained, want the model built "
            "outside of it"
        )
    if _overlaps_itself(tensor):
        raise ModelMismatchError(
            f"{name}: got shape {list(tensor.shape)} with strides {list(tensor.stride())}, an expanded tensor whose "
            "entries share memory, want each entry to have its own (.clone())"
        )


def first_of_same_memory(tensors: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """Return for every name the first one that stands for the same entries in memory, mostly itself.

    Tensors are the same where address, shape, strides and dtype are, whatever objects and storages they belong to.

    Args:
        tensors: by name, each of which passes `check_tensor`.

    Raises:
        ModelMismatchError: two share some entries without being the same; names both.
    """
    first: dict[Any, str] = {}
    same = {
        name: first.setdefault(_identity(tensor) if tensor.numel() else name, name) for name, tensor in tensors.items()
    }
    _check_apart({name: tensors[name] for name in first.values()})
    return same


def _identity(tensor: torch.Tensor) -> tuple[Any, ...]:
    strides = [stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if size > 1]
    return (tensor.device, tensor.data_ptr(), tensor.dtype, tensor.shape, *strides)


def _overlaps_itself(tensor: torch.Tensor) -> bool:
    """Say whether entries may share memory: whether some stride does not step over all smaller ones together."""
    if not tensor.numel():
        return False
    reach = 0
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size > 1:
            if stride <= reach:
                return True
            reach += stride * (size - 1)
    return False


def _check_apart(tensors: Mapping[str, torch.Tensor]) -> None:
    """Raise unless no two tensors share an entry; only those whose ranges of addresses meet are compared."""
    ranges = [
        (str(tensor.device), tensor.data_ptr(), index, name)
        for index, (name, tensor) in enumerate(tensors.items())
        if tensor.numel()
    ]
    begun: list[tuple[str, int, str, Any]] = []  # device, end, name and addresses of those that reach this far
    for device, start, _, name in sorted(ranges):
        tensor, addresses = tensors[name], np.asarray(_Addresses(tensors[name]))
        begun = [each for each in begun if each[0] == device and each[1] > start]
        for _, _, other, others in begun:
            if _share_entries(others, addresses):
                raise ModelMismatchError(
                    f"{other} {_view(tensors[other])} and {name} {_view(tensor)} overlap in memory, want the same view "
                    "of the same memory, as tied parameters are, or memory of their own (.clone())"
                )
        begun.append((device, start + _extent(tensor), name, addresses))


def _extent(tensor: torch.Tensor) -> int:
    """Return how many bytes lie between the first entry's beginning and the last one's end."""
    last = sum(stride * (size - 1) for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return (last + 1) * tensor.element_size()


def _share_entries(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> bool:
    try:
        return np.shares_memory(a, b, max_work=MAX_OVERLAP_WORK)  # type: ignore[arg-type]  # stubs know -1 and 0 alone
    except np.exceptions.TooHardError:
        return True


class _Addresses:
    """A tensor's addresses on any device, for numpy to compare; what is there is never read."""

    def __init__(self, tensor: torch.Tensor):
        size = tensor.element_size()
        self.__array_interface__ = {
            "data": (tensor.data_ptr(), False),
            "shape": tuple(tensor.shape),
            "strides": tuple(stride * size for stride in tensor.stride()),
            "typestr": f"|V{size}",
            "version": 3,
        }


def _view(tensor: torch.Tensor) -> str:
    return f"(shape {list(tensor.shape)}, strides {list(tensor.stride())}, {tensor.dtype})"

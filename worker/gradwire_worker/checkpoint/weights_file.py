"""The weights file that a run leaves, loaded into a model."""

from os import PathLike

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from gradwire_common.errors import ModelMismatchError, UsageError
from gradwire_worker.compute.tensors import tensors_of


def load_weights(model: nn.Module, path: str | PathLike[str]) -> None:
    """Load the weights of a run, its `weights.safetensors`, into the model that was trained.

    Shared parameters, which the file has once, stay shared. Wrappers such as torch.compile and DistributedDataParallel
    may be around the model or not, as in the run or otherwise.

    Args:
        model: whose parameters and persistent buffers are set, in place, each on its own device and in its own dtype.
        path: of the file.

    Raises:
        UsageError: the file cannot be read.
        ModelMismatchError: its names or shapes are not the model's; nothing has changed then.
    """
    tensors = tensors_of(model)
    targets: dict[str, torch.Tensor] = {name: tied[name] for name, tied in tensors.parameters.items()}
    targets |= {name: place.buffer for name, place in tensors.buffers.items()}
    try:
        with safe_open(path, "pt", device="cpu") as file:
            names = file.keys()  # no mapping
            _check_fits(str(path), {name: file.get_slice(name).get_shape() for name in names}, targets)
            with torch.no_grad():
                for name, target in targets.items():
                    target.copy_(file.get_tensor(name))
    except (OSError, SafetensorError) as error:
        raise UsageError(f"{path}: cannot be read as safetensors: {error}") from error


def _check_fits(path: str, shapes: dict[str, list[int]], targets: dict[str, torch.Tensor]) -> None:
    lines = [f"{name} {list(target.shape)} is missing" for name, target in targets.items() if name not in shapes]
    lines += [f"{name} {shape} is not in the model" for name, shape in shapes.items() if name not in targets]
    lines += [
        f"{name} has shape {shape}, want {list(targets[name].shape)}"
        for name, shape in shapes.items()
        if name in targets and shape != list(targets[name].shape)
    ]
    if lines:
        more = f" and {len(lines) - 3} more" if len(lines) > 3 else ""
        raise ModelMismatchError(f"{path} does not fit the model: {'; '.join(lines[:3])}{more}; nothing was loaded")

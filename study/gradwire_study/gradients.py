"""Gradients to study: recorded ones of a file, or those that a network has after some steps of training."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gradwire_common.errors import DataError

F32 = npt.NDArray[np.float32]
Gradient = Mapping[str, F32]

MOST_ENTRIES = 1 << 20  # of a tensor: the first so many are looked at, as a vector


def load_gradient(path: Path) -> Gradient:
    """Return the tensors of a .npz or .safetensors file, as float32.

    Raises:
        DataError: the file cannot be read, or its entries are not finite or all zero.
    """
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as stored:
                found = {name: stored[name] for name in stored.files}
        else:
            from safetensors.torch import load_file

            found = {name: tensor.float().numpy() for name, tensor in load_file(path).items()}
        tensors = {name: np.asarray(tensor, np.float32) for name, tensor in found.items() if tensor.size}
    except Exception as error:  # readers raise errors of many kinds at a damaged file
        raise DataError(f"gradients: {path} cannot be read ({error}), want a .npz or .safetensors file") from error
    if not all(np.isfinite(tensor).all() for tensor in tensors.values()):
        raise DataError(f"gradients: {path} has entries that are not finite, want finite numbers")
    return _checked({name: _short(tensor) for name, tensor in tensors.items()}, str(path))


def record_gradient(network: str, steps: int, data: Path | None = None, seed: int = 0) -> Gradient:
    """Return the gradient of one mini-batch after `steps` steps of a network's own local training.

    Raises:
        ConfigError: there is no network of this name.
        DataError: the gradient is zero.
        TaskError: the task's data cannot be used.
    """
    import torch

    from gradwire_study.frontier.networks import Local, network_named

    chosen = network_named(network)
    task, local = chosen.load(data), Local(**chosen.local)
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = task.model().train()
    parameters = {name: each for name, each in model.named_parameters() if each.requires_grad}
    optimizer = local.steps(1).build_optimizer([{"params": list(parameters.values())}])
    for step in range(steps + 1):
        optimizer.zero_grad()
        batch = task.train_batch(rng.integers(0, task.n_train, local.batch_size), rng)
        task.loss(model, batch).backward()  # type: ignore[no-untyped-call]
        if step < steps:
            optimizer.step()
    found = {name: each.grad.numpy().copy() for name, each in parameters.items() if each.grad is not None}
    return _checked({name: _short(tensor) for name, tensor in found.items()}, network)


def _short(tensor: F32) -> F32:
    return tensor if tensor.size <= MOST_ENTRIES else tensor.reshape(-1)[:MOST_ENTRIES]


def _checked(gradient: Gradient, source: str) -> Gradient:
    if not any(tensor.any() for tensor in gradient.values()):
        raise DataError(f"gradients: those of {source} are all zero, want some that are not")
    return gradient

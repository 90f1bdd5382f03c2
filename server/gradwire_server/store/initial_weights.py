"""The file of weights that a run begins with, in place of the first worker's own."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from gradwire_common.errors import ConfigError, ModelMismatchError
from gradwire_common.layout.manifest import Manifest

F32 = npt.NDArray[np.float32]

MAX_SHOWN = 3  # tensors that differ, in a message


def check_initial_weights(path: Path) -> None:
    """Raise ConfigError unless `path` can be read as safetensors."""
    try:
        with safe_open(path, "pt", device="cpu"):
            pass
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"initial_weights: {path} cannot be read as safetensors: {error}") from error


def read_initial_weights(path: Path, manifest: Manifest) -> F32:
    """Return the tensors of a file as float32 in layout order, (size,).

    Raises:
        ConfigError: the file cannot be read.
        ModelMismatchError: its names or shapes are not those of `manifest`.
    """
    layout = manifest.layout
    values = np.zeros(layout.size, np.float32)
    try:
        with safe_open(path, "pt", device="cpu") as file:
            _check_fits({name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}, manifest)  # noqa: SIM118
            for name, place in layout.slots.items():
                values[place] = file.get_tensor(name).float().reshape(-1).numpy()
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"initial_weights: {path.name} cannot be read as safetensors: {error}") from error
    return values


def _check_fits(shapes: dict[str, tuple[int, ...]], manifest: Manifest) -> None:
    wanted = {spec.name: spec.shape for spec in manifest.tensors}
    lines = [f"{name} {list(shape)} is missing" for name, shape in wanted.items() if name not in shapes]
    lines += [f"{name} {list(shape)} is not in the model" for name, shape in shapes.items() if name not in wanted]
    lines += [
        f"{name} has shape {list(shape)}, want {list(wanted[name])}"
        for name, shape in shapes.items()
        if wanted.get(name, shape) != shape
    ]
    if lines:
        more = f" and {len(lines) - MAX_SHOWN} more" if len(lines) > MAX_SHOWN else ""
        told = "; ".join(lines[:MAX_SHOWN])
        raise ModelMismatchError(f"the server's initial weights do not fit the model: {told}{more}")

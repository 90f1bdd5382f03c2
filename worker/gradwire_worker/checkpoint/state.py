"""A worker's own checkpoint: its newest push and what its next ones depend on, so that a killed worker can go on.

It is written before a push can count. A worker that comes back repeats that push, byte for byte: the server counts it
once, whether or not it had arrived. It is renamed into place, so that a kill leaves the one before or this one. It is
not forced to the disk: a machine that loses power may lose it, which its checksum tells.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from os import PathLike
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from isal.isal_zlib import crc32
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from gradwire_common.errors import CheckpointError, UsageError
from gradwire_common.private_files import make_empty, make_folder

log = logging.getLogger("gradwire")

SUFFIX = ".worker"
LOCAL = "local."  # begins the names of what the optimizer of local steps holds
ENCODER = "encoder."  # and those of vectors that the encoder keeps
Arrays = Mapping[str, npt.NDArray[Any]]
_DTYPES = {"frames": np.uint8, "residual": np.float32, "buffers": np.float32, "random": np.uint8, "weights": np.float32}


@dataclass(frozen=True, slots=True)
class Pushed:
    """What is known of a push beside its bytes; see PendingPush.

    Attributes:
        run_id: of the run that it is for.
        held: version of the weights in hand.
        options: of the parameter groups, as JSON.
    """

    run_id: str
    round: int
    samples: int
    with_buffers: bool
    family: str
    loss: float
    held: int = -1
    options: str = "[]"


@dataclass(frozen=True, slots=True)
class WorkerState:
    """A worker's state once it has encoded a push.

    Attributes:
        frames: the push.
        residual: (n_parameters,) float32, what quantising it lost.
        buffers: (n_buffers,) float32, as they were after the backward pass; with a delay those in hand.
        random: torch's random state.
        weights: (n_parameters,) float32, with a delay the weights in hand: the next gradients are of them, whatever
            came of the push meanwhile. Empty without.
        local, local_told: state of the frame source, as FrameSource.state has it.
        encoder: state of the encoder after the push, as Encoder.state has it.
    """

    pushed: Pushed
    frames: bytes
    residual: npt.NDArray[np.float32]
    buffers: npt.NDArray[np.float32]
    random: npt.NDArray[np.uint8] = field(default_factory=lambda: np.empty(0, np.uint8))
    weights: npt.NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))
    local: Mapping[str, npt.NDArray[np.uint8]] = field(default_factory=dict)
    local_told: str = "{}"
    encoder: Mapping[str, Any] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write it in place of the one before. Raises OSError where that fails."""
        arrays: dict[str, npt.NDArray[Any]] = {
            "frames": np.frombuffer(self.frames, np.uint8),
            "residual": self.residual,
            "buffers": self.buffers,
            "random": self.random,
            "weights": self.weights,
            **{LOCAL + name: array for name, array in self.local.items()},
            **{ENCODER + name: value for name, value in self.encoder.items() if isinstance(value, np.ndarray)},
        }
        told = {
            "pushed": json.dumps(asdict(self.pushed)),
            "local": self.local_told,
            "encoder": json.dumps({k: v for k, v in self.encoder.items() if not isinstance(v, np.ndarray)}),
        }
        metadata = {**told, "crc32": str(_crc(arrays, told))}
        partial = path.with_name(path.name + ".partial")
        make_folder(path.parent)
        make_empty(partial)
        try:
            save_file(arrays, partial, metadata)
        except SafetensorError as error:  # a full disk, among others
            raise OSError(str(error)) from error
        partial.replace(path)

    @classmethod
    def load(cls, path: Path) -> Self | None:
        """Read it; None where there is none.

        Raises:
            CheckpointError: it is damaged; names the file.
        """
        if not path.exists():
            return None
        try:
            with safe_open(path, "np") as file:
                metadata = file.metadata()
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            got, want = _crc(arrays, metadata), int(metadata["crc32"])
            if got != want:
                raise CheckpointError(f"{path}: got checksum {got:08x}, want {want:08x}")
            local, vectors = (
                {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}
                for start in (LOCAL, ENCODER)
            )
            for name, dtype in _DTYPES.items():
                if arrays[name].dtype != dtype or arrays[name].ndim != 1:
                    got_array = f"{arrays[name].dtype} {list(arrays[name].shape)}"
                    raise CheckpointError(f"{path}: {name} is {got_array}, want a vector of {dtype.__name__}")
            for name in ("local", "encoder"):
                if not isinstance(json.loads(metadata[name]), dict):
                    raise CheckpointError(f"{path}: {name} is {metadata[name][:40]}, want a JSON object")
            return cls(
                _pushed_of(json.loads(metadata["pushed"])),
                arrays["frames"].tobytes(),
                arrays["residual"],
                arrays["buffers"],
                arrays["random"],
                arrays["weights"],
                local,
                metadata["local"],
                {**json.loads(metadata["encoder"]), **vectors},
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, SafetensorError) as error:
            raise CheckpointError(f"{path}: cannot be read: {type(error).__name__}: {error}") from error


def writable_file(folder: str | PathLike[str], worker_id: str) -> Path:
    """Return the file of a worker's state in `folder`, which is made where it is missing.

    Raises:
        UsageError: the file could not be written there.
    """
    if not isinstance(folder, str | PathLike):
        raise UsageError(f"state: got {folder!r}, want the path of a folder")
    file = Path(folder) / f"{worker_id}{SUFFIX}"
    try:
        make_folder(file.parent)
        with NamedTemporaryFile(dir=file.parent, prefix=f"{file.name}.", suffix=".tried"):
            pass
        if file.is_dir():
            raise IsADirectoryError(f"{file} is a folder")
    except (OSError, ValueError) as error:
        raise UsageError(f"state: cannot write {file}: {error}; want a folder that this process can write to") from None
    return file


def load_or_warn(path: Path, run_id: str) -> WorkerState | None:
    """Return the state at `path` if it is of the run `run_id`; a damaged one is named and left out."""
    try:
        state = WorkerState.load(path)
    except CheckpointError as error:
        log.warning("a damaged state is left out: %s", error)
        return None
    if state is not None and state.pushed.run_id != run_id:
        log.warning("%s is of another run and left out", path)
        return None
    return state


def _pushed_of(told: Mapping[str, Any]) -> Pushed:
    """Return what is known of a push. Raises TypeError where it is not of its type."""
    pushed = Pushed(**told)
    for each in fields(Pushed):
        value = getattr(pushed, each.name)
        kinds = (int, float) if each.type is float else (each.type,)
        if type(value) not in kinds:
            raise TypeError(f"{each.name}: got {value!r}, want {each.type}")
    json.loads(pushed.options)
    return pushed


def _crc(arrays: Arrays, told: Mapping[str, str]) -> int:
    crc = 0
    for name in sorted(arrays):
        crc = crc32(np.ascontiguousarray(arrays[name]).data, crc)
    for name in ("pushed", "local", "encoder"):
        crc = crc32(told[name].encode(), crc)
    return crc

"""Checkpoints: the whole state of a run at one version, as safetensors and a JSON manifest with hashes."""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from gradwire_common.errors import CheckpointError, GradwireError
from gradwire_server.store.files import write_durably
from gradwire_server.store.state_files import checkpoint_versions, manifest_path, tensors_path
from gradwire_server.store.tensor_file import write_tensors

log = logging.getLogger("gradwire.server")

FORMAT = 1
_HASHED = 1 << 20  # bytes hashed at a time


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of a run.

    Attributes:
        version: of the weights.
        tensors: weights, replica, the optimizer's state.
        meta: everything else, as JSON has it.
    """

    version: int
    tensors: Mapping[str, torch.Tensor]
    meta: Mapping[str, Any]


def save_checkpoint(folder: Path, checkpoint: Checkpoint, written: Callable[[], None] = lambda: None) -> int:
    """Write a checkpoint, its manifest last, so that it is there wholly or not at all; return its bytes.

    Args:
        folder: of the checkpoints.
        checkpoint: whose tensors must stay as they are until `written` is called.
        written: called before the file is brought to the disk.

    Raises:
        OSError: it could not be written; those that were there are as before.
    """
    path = tensors_path(folder, checkpoint.version)
    digest = ""

    def write(partial: Path) -> None:
        nonlocal digest
        digest = write_tensors(partial, ((name, tensor, tensor.dtype) for name, tensor in checkpoint.tensors.items()))
        written()

    write_durably(path, write)
    body = {
        "format": FORMAT,
        "version": checkpoint.version,
        "bytes": path.stat().st_size,
        "sha256": digest,
        "meta": dict(checkpoint.meta),
    }
    manifest = json.dumps({"sha256": _sha256(body), "checkpoint": body}, indent=1)
    write_durably(manifest_path(folder, checkpoint.version), lambda partial: partial.write_text(manifest, "utf-8"))
    return path.stat().st_size


def load_checkpoint(folder: Path, version: int) -> Checkpoint:
    """Read the checkpoint of `version`.

    Raises:
        CheckpointError: it is damaged or not there; names the file, what it got and what it wants.
    """
    manifest, path = manifest_path(folder, version), tensors_path(folder, version)
    try:
        outer = json.loads(manifest.read_text("utf-8"))
        body = outer["checkpoint"]
        got = _sha256(body)
        if got != outer["sha256"]:
            raise CheckpointError(f"{manifest}: got SHA-256 {got[:12]}..., want {outer['sha256'][:12]}...")
        if body["format"] != FORMAT or body["version"] != version:
            raise CheckpointError(
                f"{manifest}: got format {body['format']}, version {body['version']}, want {FORMAT}, {version}"
            )
        got = _sha256_of(path)
        if got != body["sha256"]:
            raise CheckpointError(
                f"{path}: got {path.stat().st_size} bytes of SHA-256 {got[:12]}..., want {body['bytes']} of "
                f"{body['sha256'][:12]}..."
            )
        return Checkpoint(version, load_file(path), body["meta"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, SafetensorError) as error:
        raise CheckpointError(f"{manifest}: cannot be read: {type(error).__name__}: {error}") from error


def newest_checkpoint(folder: Path, check: Callable[[Checkpoint], None] = lambda _: None) -> Checkpoint | None:
    """Return the newest checkpoint that verifies, None where there is none at all; a damaged one is named and skipped.

    Args:
        folder: of the checkpoints.
        check: raises a GradwireError where one does not hold what a run needs.

    Raises:
        CheckpointError: there are some, and all are damaged.
    """
    versions = checkpoint_versions(folder)
    for version in reversed(versions):
        try:
            checkpoint = load_checkpoint(folder, version)
        except CheckpointError as error:
            log.warning("a damaged checkpoint is skipped: %s", error)
            continue
        try:
            check(checkpoint)
            return checkpoint
        except GradwireError as error:
            log.warning("a damaged checkpoint is skipped: %s: %s", manifest_path(folder, version), error)
    if versions:
        raise CheckpointError(f"{folder}: got {len(versions)} checkpoints, all of them damaged; want one that verifies")
    return None


def _sha256(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_HASHED):
            digest.update(piece)
    return digest.hexdigest()

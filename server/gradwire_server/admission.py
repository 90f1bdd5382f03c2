"""What a worker must agree with before it may join: versions, model, settings."""

from collections.abc import Mapping
from typing import Any

import torch

from gradwire_common import __version__
from gradwire_common.channel import PROTOCOL_VERSION
from gradwire_common.codec.frames import FRAME_VERSION
from gradwire_common.errors import ConfigError, JoinError, ModelMismatchError
from gradwire_common.manifest import Manifest
from gradwire_common.v1 import parameter_server_pb2 as pb

MOST_LINES = 3  # differences that a refusal names


def check_versions(request: pb.JoinRequest) -> None:
    """Raise JoinError unless worker and server speak the same protocol and the same frames."""
    for what, got, want in (
        ("protocol version", request.protocol_version, PROTOCOL_VERSION),
        ("frame version", request.frame_version, FRAME_VERSION),
    ):
        if got != want:
            raise JoinError(
                f"{what}: got {got} (gradwire {request.package_version or 'unknown'}), "
                f"want {want} (gradwire {__version__})"
            )


def check_dtypes(manifest: Manifest) -> None:
    """Raise ModelMismatchError if a tensor has a dtype that this server's torch does not know, or that is complex."""
    for spec in manifest.tensors:
        dtype = getattr(torch, spec.dtype, None)
        if not isinstance(dtype, torch.dtype) or dtype.is_complex:
            raise ModelMismatchError(f"tensor {spec.name!r}: got dtype {spec.dtype!r}, want a real dtype of torch")


def check_same_model(run: Manifest, worker: Manifest) -> None:
    """Raise ModelMismatchError, naming the first tensors that differ, unless both manifests are the same."""
    lines = run.differences(worker)
    if lines:
        raise ModelMismatchError(f"model differs from the run's: {_first(lines)}")


def check_same_settings(run: Mapping[str, str], worker: Mapping[str, str]) -> None:
    """Raise JoinError, naming the first settings that differ, unless both are the same."""
    lines = [
        f"{name}: got {worker.get(name, 'nothing')}, want {run.get(name, 'nothing')}"
        for name in sorted({*run, *worker})
        if run.get(name) != worker.get(name)
    ]
    if lines:
        raise JoinError(f"settings differ from the run's: {_first(lines)}")


def check_resumed(run: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise ConfigError, naming the first settings that differ, unless a run is resumed with those it was made with."""
    lines = [
        f"{name}: got {now.get(name, 'nothing')}, want {run.get(name, 'nothing')}"
        for name in sorted({*run, *now})
        if run.get(name) != now.get(name)
    ]
    if lines:
        raise ConfigError(f"settings differ from those of the run to resume: {_first(lines)}")


def _first(lines: list[str]) -> str:
    more = f"; and {len(lines) - MOST_LINES} more" if len(lines) > MOST_LINES else ""
    return "; ".join(lines[:MOST_LINES]) + more

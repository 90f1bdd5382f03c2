"""The names of the files of a run's state. No other file is ever removed or renamed, whatever else is in the folder."""

import re
from pathlib import Path

from gradwire_server.store.files import PARTIAL

SKIPPED = ".skipped"  # added to a segment that cannot be reached any more
_MANIFEST = re.compile(r"checkpoint-(\d{10})\.json")
_SEGMENT = re.compile(r"journal-(\d{10})")
_PARTIAL = re.compile(rf"checkpoint-\d{{10}}\.(json|safetensors){re.escape(PARTIAL)}")
_ANY = re.compile(
    rf"checkpoint-\d{{10}}\.(json|safetensors)({re.escape(PARTIAL)})?|journal-\d{{10}}({re.escape(SKIPPED)})?"
)


def manifest_path(folder: Path, version: int) -> Path:
    """Return where the manifest of a checkpoint is."""
    return folder / f"checkpoint-{version:010d}.json"


def tensors_path(folder: Path, version: int) -> Path:
    """Return where the tensors of a checkpoint are."""
    return folder / f"checkpoint-{version:010d}.safetensors"


def segment_path(folder: Path, version: int) -> Path:
    """Return where the journal of what follows `version` is."""
    return folder / f"journal-{version:010d}"


def checkpoint_versions(folder: Path) -> list[int]:
    """Return the versions that have a checkpoint, damaged or not, oldest first."""
    return _numbers(folder, _MANIFEST)


def segment_versions(folder: Path) -> list[int]:
    """Return the versions that a segment of the journal follows, oldest first."""
    return _numbers(folder, _SEGMENT)


def is_state_file(name: str) -> bool:
    """Say whether a file of this name is one of a run's state."""
    return _ANY.fullmatch(name) is not None


def remove_checkpoint(folder: Path, version: int) -> None:
    """Remove a checkpoint, its manifest first."""
    manifest_path(folder, version).unlink(missing_ok=True)
    tensors_path(folder, version).unlink(missing_ok=True)


def remove_partial(folder: Path) -> None:
    """Remove what was being written when a process was killed."""
    for path in folder.iterdir():
        if _PARTIAL.fullmatch(path.name):
            path.unlink(missing_ok=True)


def prune(folder: Path, kept: int) -> None:
    """Remove all that the newest `kept` checkpoints, at least one, do not need."""
    versions = checkpoint_versions(folder)
    for version in versions[:-kept]:
        remove_checkpoint(folder, version)
    oldest = versions[-kept:][0]
    for version in segment_versions(folder):
        if version < oldest:
            segment_path(folder, version).unlink(missing_ok=True)


def _numbers(folder: Path, pattern: re.Pattern[str]) -> list[int]:
    return sorted(int(found[1]) for path in folder.iterdir() if (found := pattern.fullmatch(path.name)))

"""runs/NAME: always the newest run of that name. An older one there is kept, as NAME.1, NAME.2 ..."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from google.protobuf import json_format

from gradwire.history import History
from gradwire_common.errors import UsageError
from gradwire_common.v1 import parameter_server_pb2 as pb

LOCK = ".lock"  # held while a run writes to the folder
METRICS = "metrics.jsonl"
_SIGNS = (LOCK, METRICS, "config.toml")  # any of these marks a folder as a run's


@contextmanager
def new_run_folder(folder: Path) -> Iterator[Path | None]:
    """Make `folder` empty and ours; the context's value is where an older run went, None where there was none.

    Raises:
        UsageError: if something else than a run is there, another run is writing to it, or it cannot be made.
    """
    try:
        kept = _set_aside(folder)
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR, 0o644)
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror}; want a folder that can be written") from None
    try:
        if not _take(lock):
            raise UsageError(f"{folder}: another run is writing to it; want a --name of its own")
        yield kept
    finally:
        os.close(lock)


def read_metrics(file: Path, history: History) -> None:
    """Add the rounds and evaluations of a metrics.jsonl to `history`."""
    rounds, evaluations = [], []
    for text in file.read_text().splitlines():
        line = json.loads(text)
        kind = line.pop("kind")
        if kind == "round":
            line["loss"] = "NaN" if line.get("loss") is None else line["loss"]  # as proto3's JSON has it
            rounds.append(json_format.ParseDict(line, pb.RoundRecord(), ignore_unknown_fields=True))
        elif kind == "evaluation":
            evaluations.append(json_format.ParseDict(line, pb.Evaluation(), ignore_unknown_fields=True))
    history.include(rounds, evaluations)


def _set_aside(folder: Path) -> Path | None:
    """Move an older run out of the way."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
    if not any((folder / sign).exists() for sign in _SIGNS):
        raise UsageError(f"{folder}: exists and is no run of gradwire; want another --name")
    if (folder / LOCK).exists():
        lock = os.open(folder / LOCK, os.O_RDWR)
        try:
            if not _take(lock):
                raise UsageError(f"{folder}: another run is writing to it; want a --name of its own")
        finally:
            os.close(lock)
    kept = next(place for n in count(1) if not (place := folder.with_name(f"{folder.name}.{n}")).exists())
    return folder.rename(kept)


def _take(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

"""The lines of metrics.jsonl: how a round or an evaluation is written, and read back from a file of any contents."""

import json
import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message

from gradwire_common.errors import DataError
from gradwire_common.foreign_text import MAX_REASON, printable
from gradwire_common.v1 import parameter_server_pb2 as pb

log = logging.getLogger("gradwire.server")

Line = pb.RoundRecord | pb.Evaluation
_KINDS: dict[str, type[Line]] = {"round": pb.RoundRecord, "evaluation": pb.Evaluation}


def written(message: Line) -> str:
    """Return the line of a round or an evaluation, without the newline."""
    kind = next(kind for kind, of in _KINDS.items() if isinstance(message, of))
    return json.dumps({"kind": kind, **_as_json(message)}, allow_nan=False)


def read(line: bytes) -> Line:
    """Return what `written` made a line of. Raises DataError, with the reason, where it is no such line."""
    try:
        entry = json.loads(line)
        kind = _KINDS[entry.pop("kind")]
        return json_format.ParseDict(_of_json(entry), kind(), ignore_unknown_fields=True)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, json_format.Error) as error:
        reason = printable(f"{type(error).__name__}: {error}", MAX_REASON)
        raise DataError(f"is no round and no evaluation ({reason})") from error


def read_lines(path: Path) -> Iterator[tuple[bytes, Line]]:
    """Yield the rounds and evaluations of a file with their lines; any other line is named in the log and left out."""
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if not line:
            continue
        try:
            yield line, read(line)
        except DataError as error:
            log.warning("%s: line %d %s; it is left out", path, number, error)


def _as_json(message: Message) -> dict[str, Any]:
    """Return every field of a message by name, those at their default too; NaN as None, infinities as protobuf has."""
    result: dict[str, Any] = {}
    for descriptor in message.DESCRIPTOR.fields:
        value = getattr(message, descriptor.name)
        if isinstance(value, Message):
            value = _as_json(value)
        elif isinstance(value, float) and not math.isfinite(value):
            value = None if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        result[descriptor.name] = value
    return result


def _of_json(entry: dict[str, Any]) -> dict[str, Any]:
    """Undo what `_as_json` made of NaN."""
    return {
        name: _of_json(value) if isinstance(value, dict) else "NaN" if value is None else value
        for name, value in entry.items()
    }

"""The lines of metrics.jsonl: how a round or an evaluation is written, and read back from a file of any contents."""

import json
import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message

from gradwire_common.errors import DataError, GradwireError
from gradwire_common.foreign_text import MAX_REASON, printable
from gradwire_common.metrics import MAX_COUNT
from gradwire_common.transport.wire import metrics_from_messages
from gradwire_common.v1 import parameter_server_pb2 as pb

log = logging.getLogger("gradwire.server")

Line = pb.RoundRecord | pb.Evaluation
_NO_LINE = (ValueError, KeyError, TypeError, AttributeError, RecursionError, json_format.Error)
_KINDS: dict[str, type[Line]] = {"round": pb.RoundRecord, "evaluation": pb.Evaluation}


def written(message: Line) -> str:
    """Return the line of a round or an evaluation, without the newline."""
    if isinstance(message, pb.Evaluation):
        metrics = {metric.name: _metric_as_json(metric) for metric in message.metrics}
        entry = {"kind": "evaluation", "version": message.version, "metrics": metrics}
    else:
        entry = {"kind": "round", **_as_json(message)}
    return json.dumps(entry, allow_nan=False)


def read(line: bytes) -> Line:
    """Return what `written` made a line of. Raises DataError, with the reason, where it is no such line."""
    try:
        entry = json.loads(line)
        kind = _KINDS[entry.pop("kind")]
        if kind is pb.Evaluation:
            entry["metrics"] = [_metric_of_json(name, metric) for name, metric in entry["metrics"].items()]
        message = json_format.ParseDict(_of_json(entry), kind(), ignore_unknown_fields=True)
        if isinstance(message, pb.Evaluation):
            metrics_from_messages(message.metrics)
        return message
    except (GradwireError, *_NO_LINE) as error:
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


def _metric_as_json(metric: pb.Metric) -> dict[str, Any]:
    """Return the fields of a metric but its name, and its mean; a sum that is a whole number as one."""
    whole = metric.sum.is_integer() and abs(metric.sum) <= MAX_COUNT
    return {
        "mean": metric.sum / metric.count,
        "sum": int(metric.sum) if whole else metric.sum,
        "count": metric.count,
        "lower_is_better": metric.lower_is_better,
    }


def _metric_of_json(name: str, metric: dict[str, Any]) -> dict[str, Any]:
    """Undo `_metric_as_json`, whose mean follows from the rest; no field may be missing."""
    return _of_json({"name": name, **{field: metric[field] for field in ("sum", "count", "lower_is_better")}})


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

"""What a run of gradwire wrote down of itself."""

import json
from pathlib import Path
from typing import Any


def records_of(run: Path) -> list[dict[str, Any]]:
    """Return the lines of the metrics in the folder of a run."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def rounds_of(run: Path) -> list[dict[str, Any]]:
    """Return the records of its rounds."""
    return [record for record in records_of(run) if record["kind"] == "round"]

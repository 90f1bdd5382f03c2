"""The study's outcomes: a row an arm, in a JSON file that grows as arms are done."""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from gradwire_common.errors import ConfigError
from gradwire_common.settings.wrong_value import one_line
from gradwire_study.frontier.arm import RAW, Arm

FLOAT_BITS = 32  # of a parameter and local step where all is sent after every one
_OF_ARM = (
    "network",
    "method",
    "workers",
    "local_steps",
    "split",
    "seed",
    "exchanges",
    "recipe",
)  # repeated for readers


class Row(BaseModel):
    """What came of an arm.

    Attributes:
        parameters: of the network.
        bits_up, bits_down: measured, an entry and exchange, every byte of frames counted; up is the workers' mean.
        loss: over the test samples at the end, of the weights that workers hold; None where training failed.
        metrics: all that the task measures there.
        curve: (exchanges, loss) along the way.
        failure: why training failed; empty where it did not.
        seconds: of processor time.
        reference_loss: that of float32 exchanges, once that arm has been run.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    arm: Arm
    parameters: int
    bits_up: float
    bits_down: float
    loss: float | None
    metrics: dict[str, float] = {}
    curve: list[tuple[int, float]] = []
    failure: str = ""
    seconds: float
    reference_loss: float | None = None

    @property
    def reduction(self) -> tuple[float, float]:
        """How many times fewer bits are sent than as float32 after every local step, up and down."""
        dense = FLOAT_BITS * self.arm.local_steps
        return dense / self.bits_up, dense / self.bits_down

    def __str__(self) -> str:
        arm = self.arm
        where = f"{arm.name} ({arm.network}, {arm.workers} workers, {arm.local_steps} local steps, seed {arm.seed})"
        loss = f"failed: {self.failure}" if self.loss is None else f"loss {self.loss:.3f}"
        beside = "" if self.reference_loss is None else f", float32 exchanges {self.reference_loss:.3f}"
        return f"{where}: {loss}{beside}; {self.bits_up:.3g} bits up, {self.bits_down:.3g} down; {self.seconds:.0f} s"

    def told(self) -> dict[str, Any]:
        """Return the row as JSON has it."""
        measured = self.model_dump(mode="json", exclude={"arm"})
        arm = self.arm.model_dump(mode="json")
        return {**{name: arm[name] for name in _OF_ARM}, **measured, "arm": arm}


class Rows:
    """The rows of one file, in the order in which they came.

    Another process may add rows to the same file meanwhile: each reads it again before it writes.

    Raises:
        ConfigError: the file is there and is none of rows.
    """

    def __init__(self, path: Path):
        self._path = path
        self._rows: dict[str, Row] = {}
        self._read()

    def __contains__(self, arm: Arm) -> bool:
        return arm.key in self._rows

    def __iter__(self) -> Iterator[Row]:
        return iter(_with_references(list(self._rows.values())))

    def of(self, arms: Sequence[Arm]) -> list[Row]:
        """Return the rows of those arms that have been run, by the names and in the order that `arms` give."""
        rows = {row.arm.key: row for row in self}
        return [rows[arm.key].model_copy(update={"arm": arm}) for arm in arms if arm.key in rows]

    def add(self, row: Row) -> None:
        """Add a row, and write the file at once, whole or not at all."""
        self._read()
        self._rows[row.arm.key] = row
        text = json.dumps({"rows": [each.told() for each in self]}, indent=1) + "\n"
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        partial.write_text(text)
        partial.replace(self._path)

    def _read(self) -> None:
        if not self._path.exists():
            return
        try:
            rows = [Row.model_validate(each) for each in json.loads(self._path.read_text())["rows"]]
        except ValidationError as error:
            raise ConfigError(f"{self._path}: {one_line(error)}; want rows of this study") from None
        except (ValueError, KeyError, TypeError):
            raise ConfigError(f"{self._path} is no file of this study's rows; want one, or none") from None
        self._rows |= {row.arm.key: row for row in rows}


def _with_references(rows: Sequence[Row]) -> list[Row]:
    losses = {row.arm.key: row.loss for row in rows if row.arm.method == RAW}
    return [row.model_copy(update={"reference_loss": losses.get(row.arm.reference().key)}) for row in rows]

"""The baseline: every entry as the four bytes of its float32, nothing lost, nothing coded."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradwire_common.codec.frames import encode_frame
from gradwire_common.errors import ConfigError
from gradwire_common.layout.manifest import Layout, Unit
from gradwire_common.methods.coding import EXACT
from gradwire_common.methods.frames import ENTRIES, CodecFrames
from gradwire_common.methods.method import F32, EncodeReport
from gradwire_common.methods.quantizer_names import STORED
from gradwire_common.methods.update import check_finite


@dataclass(frozen=True)
class Raw(CodecFrames):
    """Sends updates as they are."""

    name = "raw"
    family = ENTRIES
    exact = stored = True
    auto = False
    wants_all = ""
    nominal_bits = 32.0

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> "Raw":
        """Return it. Raises ConfigError where there are options: it has none."""
        if options:
            raise ConfigError(f"method raw: got the option {next(iter(options))!r}, but it has none")
        return cls()

    @property
    def options(self) -> dict[str, Any]:
        """None."""
        return {}

    def encoder(self, layout: Layout, memory: F32 | None = None) -> "RawEncoder":
        """Return an encoder of updates of `layout`."""
        return RawEncoder(layout, memory)

    def invert(self, total: F32, layout: Layout) -> None:
        """Leave a sum as it is."""

    def broadcast(self, bits: float | str | None = None) -> "Raw":  # noqa: ARG002
        """Return this method."""
        return self

    def __str__(self) -> str:
        return STORED


class RawEncoder:
    """Stores entries. The memory holds nothing but updates that did not count, until the next one takes them along."""

    ready = True

    def __init__(self, layout: Layout, memory: F32 | None):
        self.layout = layout
        self.memory = memory

    def prepare(self, values: F32, unit: Unit | None = None) -> None:
        """Add what the memory holds."""
        if self.memory is not None:
            place = slice(0, self.layout.n_parameters) if unit is None else unit.place
            np.add(values[place], self.memory[place], out=values[place])

    def encode(self, values: F32, report: EncodeReport, budget: int = 0) -> Iterator[bytes]:  # noqa: ARG002
        """Yield one frame for each unit of parameters. Raises NonFiniteError and RangeError before the first."""
        began = time.perf_counter()
        largest = (check_finite(values, unit, report.most) for unit in self.layout.parameters)
        report.silent = max(largest, default=0.0) == 0
        report.fit_seconds += time.perf_counter() - began
        for unit in self.layout.parameters:
            yield self._store(values, unit, self.memory, report)

    def encode_unit(self, values: F32, unit: Unit, lost: F32, report: EncodeReport) -> bytes:
        """Return the frame of one unit. Raises NonFiniteError, RangeError."""
        report.silent &= check_finite(values, unit, report.most) == 0
        return self._store(values, unit, lost, report)

    def plan(self) -> None:
        """Nothing is to be chosen."""

    def state(self) -> dict[str, Any]:
        """Nothing is to be saved."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Nothing was saved."""

    def _store(self, values: F32, unit: Unit, lost: F32 | None, report: EncodeReport) -> bytes:
        began = time.perf_counter()
        frame = encode_frame(values[unit.place], EXACT, raw=True)
        if lost is not None:
            lost[unit.place] = 0
        report.encode_seconds += time.perf_counter() - began
        report.n_bytes += len(frame)
        return frame

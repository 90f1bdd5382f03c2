"""What published methods share here: options that are checked, frames in envelopes, an encoder with a residual memory.

A method of this kind is a small file: its options, how a unit's entries become the body of a frame, and back.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Self

import numpy as np
from isal.isal_zlib import crc32
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gradwire_common.errors import ConfigError
from gradwire_common.layout.manifest import Layout, Unit
from gradwire_common.methods.entropy_options import BROADCAST_BITS
from gradwire_common.methods.envelope import EnvelopeFrames, sealed
from gradwire_common.methods.frames import ENTRIES
from gradwire_common.methods.method import F32, EncodeReport, Method
from gradwire_common.methods.residual import add_residual
from gradwire_common.methods.update import check_finite
from gradwire_common.settings.load import did_you_mean
from gradwire_common.settings.wrong_value import one_line

FLOAT_BITS = 32  # of a value, as authors count one that is sent as it is


class Published(EnvelopeFrames, BaseModel, ABC):
    """A method of the literature: immutable options, and frames whose bodies `pack` writes and `read` reads.

    Attributes:
        label: its name in settings and on the wire.
        number: which frames are its own.
        gamma: decay of the residual memory, from 0, which switches it off, to 1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    label: ClassVar[str]

    gamma: float = Field(1.0, ge=0.0, le=1.0)

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """Return the method of `options`. Raises ConfigError for an unknown one, or a value that cannot be."""
        for name in options:
            if name not in cls.model_fields:
                raise ConfigError(
                    f"{name}: unknown option of method {cls.label}; {did_you_mean(name, cls.model_fields)}"
                )
        try:
            return cls.model_validate(dict(options))
        except ValidationError as error:
            raise ConfigError(one_line(error)) from None

    @property
    def name(self) -> str:
        """Name in settings and on the wire."""
        return self.label

    @property
    def options(self) -> dict[str, Any]:
        """All options."""
        return self.model_dump()

    @property
    def family(self) -> str:
        """What frames are of, the method and all options but its decay: with others they cannot be read."""
        given = (value for name, value in self.options.items() if name != "gamma")
        told = ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in given)
        return f"{self.basis} of {self.label}({told})"

    @property
    def basis(self) -> str:
        """What sums of frames are of, which `invert` brings back to entries."""
        return ENTRIES

    @property
    def exact(self) -> bool:
        """Something is lost."""
        return False

    @property
    def stored(self) -> bool:
        """Exact frames are coded."""
        return False

    @property
    def auto(self) -> bool:
        """No update follows a budget."""
        return False

    @property
    def wants_all(self) -> str:
        """It looks at whole updates."""
        return f"method {self.label}"

    @property
    @abstractmethod
    def nominal_bits(self) -> float:
        """Bits per entry that an update takes, about."""

    @abstractmethod
    def authors_bits(self, layout: Layout) -> float:
        """Return the bits of an update of `layout` as the method's authors count them."""

    def pack(self, u: F32, unit: Unit, decoded: F32) -> bytes:
        """Return the body of the frame of one unit's u; write what `read` will make of it to `decoded`.

        A method whose bodies depend on more than u has an encoder with a `pack` of its own, and none here.

        Args:
            u: (len(unit),) float32, finite; stays as it is.
            unit: its tensors.
            decoded: (len(unit),) float32.
        """
        raise NotImplementedError

    def encoder(self, layout: Layout, memory: F32 | None = None) -> "PublishedEncoder":
        """Return an encoder of updates of `layout`, which leaves in `memory` what its frames lose."""
        return PublishedEncoder(self, layout, memory)

    def invert(self, total: F32, layout: Layout) -> None:
        """Leave a sum as it is: frames hold entries."""

    def broadcast(self, bits: float | str | None = None) -> Method:
        """Return the entropy method, at 2 bits where none are given: changes of the replica are dense."""
        from gradwire_common.methods.entropy import Entropy

        return Entropy.from_options({"bits": BROADCAST_BITS if bits is None else bits})

    def __str__(self) -> str:
        return self.label


class PublishedEncoder:
    """Makes the frames of updates of one layout: u = update + gamma * memory; memory = u - decoded.

    Subclasses look at whole updates in `begin`, and keep what goes from one update to the next in `state`.
    """

    def __init__(self, method: Published, layout: Layout, memory: F32 | None):
        self.layout = layout
        self.memory = memory
        self.method = method

    def prepare(self, values: F32, unit: Unit | None = None) -> None:
        """Add what the memory holds."""
        if self.memory is not None:
            place = slice(0, self.layout.n_parameters) if unit is None else unit.place
            add_residual(values[place], self.memory[place], self.method.gamma)

    def encode(self, values: F32, report: EncodeReport, budget: int = 0) -> Iterator[bytes]:  # noqa: ARG002
        """Yield one frame for each unit of parameters. Raises NonFiniteError and RangeError before the first."""
        began = time.perf_counter()
        units = self.layout.parameters
        largest = [check_finite(values, unit, report.most) for unit in units]
        report.silent = max(largest, default=0.0) == 0
        self.begin(values)
        report.fit_seconds += time.perf_counter() - began
        for unit in units:
            began = time.perf_counter()
            u, decoded = values[unit.place], np.empty(len(unit), np.float32)
            frame = sealed(self.method.number, self.pack(u, unit, decoded))
            if self.memory is not None:
                np.subtract(u, decoded, out=self.memory[unit.place])
            report.encode_seconds += time.perf_counter() - began
            report.n_bytes += len(frame)
            yield frame
        self.end()

    def begin(self, values: F32) -> None:
        """Look at all of u, (n_parameters,) or longer, before the first frame."""

    def pack(self, u: F32, unit: Unit, decoded: F32) -> bytes:
        """Return the body of one unit's frame, as the method packs it."""
        return self.method.pack(u, unit, decoded)

    def end(self) -> None:
        """Do what is left once all frames are made."""

    def state(self) -> dict[str, Any]:
        """Nothing is to be saved."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Nothing was saved."""


class CountingEncoder(PublishedEncoder):
    """Knows how many updates it has made, from which what is drawn at random follows: no two draws are alike."""

    def __init__(self, method: Published, layout: Layout, memory: F32 | None):
        super().__init__(method, layout, memory)
        self.n_updates = 0

    def end(self) -> None:
        """Count the update."""
        self.n_updates += 1

    def seed(self, u: F32) -> int:
        """Return 32 bits that follow from how many updates there were and from a unit's entries."""
        return crc32(np.ascontiguousarray(u).data, self.n_updates % (1 << 32))

    def state(self) -> dict[str, Any]:
        """Return how many updates there were."""
        return {"updates": self.n_updates}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Resume from what `state` returned."""
        self.n_updates = int(state["updates"])

"""What an update goes through on its way to frames, and how frames become sums again: the seam of methods.

u = update in the method's basis + what the memory holds -> frames; memory = u - what the frames say
frames, decoded or added up, weighted -> sum -> inverted once a round -> an update
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from gradwire_common.layout.manifest import Layout, Unit

F32 = npt.NDArray[np.float32]

MAX_ENTRY = 1e15  # magnitude of a pushed entry: its square, and a sum over 2**48 samples, are far from float32's 3.4e38


@dataclass
class EncodeReport:
    """What one update may hold, and what it cost to encode.

    Attributes:
        most: the largest magnitude that an entry of u may have; an encoder refuses what is larger.
        step: the common step size, in gradient units; 0 where there is none.
        silent: whether every parameter's entry is sent as zero.
        fit_seconds, encode_seconds: time spent; encoding is measured between the frames' hand-overs.
        n_bytes: bytes of frames made so far.
    """

    most: float = math.inf
    step: float = 0.0
    silent: bool = True
    fit_seconds: float = 0.0
    encode_seconds: float = 0.0
    n_bytes: int = 0

    def include(self, other: "EncodeReport") -> None:
        """Add what the report of a further unit says."""
        self.step = other.step
        self.silent &= other.silent
        self.fit_seconds += other.fit_seconds
        self.encode_seconds += other.encode_seconds
        self.n_bytes += other.n_bytes


class Frames(Protocol):
    """How the frames of units are told apart, checked and read. Every call may come from any thread."""

    @property
    def header_bytes(self) -> int:
        """The most bytes at the start of a frame that tell its length."""

    def frame_length(self, head: bytes | memoryview, unit: Unit) -> int:
        """Return the bytes of the frame of `unit` that begins with `head`, its first `header_bytes` or all there are.

        Raises:
            BitstreamError: it is no frame of the unit; names the unit.
        """

    def largest(self, unit: Unit) -> int:
        """Return the most bytes that a frame of `unit` can take."""

    def check(self, frame: bytes | memoryview, unit: Unit) -> float:
        """Read a whole frame once, so that no damaged one ever counts, and none that overflows a sum.

        Returns:
            The largest magnitude of what it says; or a larger number up to MAX_ENTRY, which allows any sum.

        Raises:
            BitstreamError: it is damaged, not of the unit, or holds a NaN or infinity; names the unit.
        """

    def decode(self, frame: bytes | memoryview, unit: Unit, out: F32) -> None:
        """Write what a frame says of `unit` to `out`, (len(unit),) float32.

        Raises:
            BitstreamError: it is damaged; `out` may hold a part then.
        """

    def add(self, frame: bytes | memoryview, weight: float, unit: Unit, out: F32) -> None:
        """Add `weight` times what a frame says of `unit` to `out`, (len(unit),): float32 product, rounded, then sum.

        Raises:
            BitstreamError: it is damaged; `out` may hold a part then.
        """


class Encoder(Protocol):
    """Makes the frames of the updates of one layout, one update after the other.

    Attributes:
        memory: (n_parameters,) float32 in the method's basis: what the frames made so far lost, so that
            decoded + memory == u; None where the caller's next update holds that anyway. It belongs to the caller, who
            may put another array in its place between two updates.
    """

    memory: F32 | None

    def prepare(self, values: F32, unit: Unit | None = None) -> None:
        """Turn an update into u in place: to the method's basis, then add what the memory holds.

        Args:
            values: (n_parameters,) or longer float32 in layout order.
            unit: the only one to prepare, for a method whose units are encoded one by one; None for all.
        """

    def encode(self, values: F32, report: EncodeReport, budget: int = 0) -> Iterator[bytes]:
        """Yield one frame for each unit of parameters, in order; the memory gets what they lose.

        Args:
            values: (n_parameters,) or longer float32: u, which stays as it is unless it is the memory itself.
            report: filled in while frames are made.
            budget: most bytes that the frames may take together; 0 where there is no limit.

        Raises:
            NonFiniteError: an entry is not finite; names the tensor. Before the first frame, the memory as it was.
            RangeError: an entry is larger than `report` allows; likewise.
            ConfigError: the budget is too small for any update of this layout.
        """

    def state(self) -> dict[str, Any]:
        """Return what the next frames depend on beside the memory, as JSON can hold it, and vectors.

        A vector, (n,) float32, is the encoder's own: a worker's checkpoint is written before it changes. The encoders
        of a broadcast have none.
        """

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Resume from what `state` returned, bit for bit; vectors are copied."""


class UnitEncoder(Encoder, Protocol):
    """An encoder whose units can be encoded one by one, each once its own entries are there."""

    @property
    def ready(self) -> bool:
        """Whether units can be encoded one by one by now, or a whole update must come first."""

    def encode_unit(self, values: F32, unit: Unit, lost: F32, report: EncodeReport) -> bytes:
        """Return the frame of one unit of u.

        Args:
            values: as for `encode`; the entries of `unit` are read.
            unit: of the layout's parameters.
            lost: (n_parameters,) float32; gets at the unit's place what the frame loses. The memory stays as it is.
            report: filled in.

        Raises:
            NonFiniteError: an entry is not finite; names the tensor.
            RangeError: an entry is larger than `report` allows; names the tensor.
        """

    def plan(self) -> None:
        """Choose what the next update's units are encoded by, once all of this one's have been."""


class Method(Frames, Protocol):
    """What an update goes through: an immutable value, of which both ends make the same by name and options.

    What changes from round to round belongs to its encoders. Buffers, snapshots and initial weights are no updates:
    they travel as exact frames of the codec, whatever the method. Its text is what people call it, such as "2 bits".
    """

    @property
    def name(self) -> str:
        """Name in settings and on the wire."""

    @property
    def options(self) -> Mapping[str, Any]:
        """What `build_method` makes the same of, as JSON can hold it."""

    @property
    def family(self) -> str:
        """What frames have in common that can be added up and inverted together, whatever else their methods differ in.

        All pushes of a run must be of its method's family.
        """

    @property
    def linear(self) -> bool:
        """Whether frames can be added up as they come; otherwise each is decoded alone."""

    @property
    def exact(self) -> bool:
        """Whether nothing is lost, so that new weights can be broadcast themselves rather than their change."""

    @property
    def stored(self) -> bool:
        """Whether exact frames of buffers and weights are stored as they are rather than coded, as a baseline's are."""

    @property
    def auto(self) -> bool:
        """Whether each update takes as many bytes as its budget allows."""

    @property
    def wants_all(self) -> str:
        """What of the method wants all units at once, such as "bits auto"; empty where its encoder is a UnitEncoder."""

    @property
    def nominal_bits(self) -> float:
        """Bits per entry that an update takes, about; the most that it may where they follow from a budget."""

    def encoder(self, layout: Layout, memory: F32 | None = None) -> Encoder:
        """Return an encoder of updates of `layout`, which leaves in `memory` what its frames lose."""

    def invert(self, total: F32, layout: Layout) -> None:
        """Bring a sum or mean of decoded updates, (n_parameters,) or longer, from the method's basis to entries."""

    def broadcast(self, bits: float | str | None = None) -> "Method":
        """Return how the server codes the changes of the replica, which lacks what their frames lose.

        So it has no memory and no change of basis: each frame is added to the replica as it comes.

        Args:
            bits: bits per entry, or "auto" for what the links allow, where the method knows bits; None for its own.
        """

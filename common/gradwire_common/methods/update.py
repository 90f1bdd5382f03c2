"""A whole update, as frames one after the other: a push's gradient, a version's change of the weights, a snapshot."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from gradwire_common.codec.frames import FrameHeader, add_frame, decode_frame, encode_frame, read_header
from gradwire_common.codec.model.fit import refuse_non_finite
from gradwire_common.codec.model.rates import plan_spending
from gradwire_common.codec.model.tensor_fit import TensorFit, fit_tensor
from gradwire_common.errors import BitstreamError, NonFiniteError
from gradwire_common.layout.manifest import Layout, Unit
from gradwire_common.methods.coding import EXACT, Coding, coding_by, plan_codings, unfitted_coding
from gradwire_common.methods.method import Method

F32 = npt.NDArray[np.float32]

FRAME_BITS = 256  # of an empty frame, about; fewer for a tiny model's entries would delay them and save nothing


@dataclass
class EncodeReport:
    """What one update cost to make.

    Attributes:
        fits: one per parameter unit; empty where the quantiser needs none.
        step: the common step size, in gradient units; 0 where there is none.
        silent: whether every parameter's entry is sent as zero.
        fit_seconds, encode_seconds: time spent; encoding is measured between the frames' hand-overs.
        n_bytes: bytes of frames made so far.
    """

    fits: list[TensorFit] = field(default_factory=list)
    step: float = 0.0
    silent: bool = True
    fit_seconds: float = 0.0
    encode_seconds: float = 0.0
    n_bytes: int = 0
    fit_of: dict[Unit, TensorFit] = field(default_factory=dict)  # of units that were encoded one by one

    def fits_of(self, units: Sequence[Unit]) -> list[TensorFit]:
        """Return the fits of units that were encoded one by one; empty where the quantiser needs none."""
        return [self.fit_of[unit] for unit in units if unit in self.fit_of]

    def take(self, other: "EncodeReport") -> None:
        """Add what another report says."""
        self.step = other.step
        self.silent = other.silent
        self.fit_seconds += other.fit_seconds
        self.encode_seconds += other.encode_seconds
        self.n_bytes += other.n_bytes


class UpdateEncoder:
    """Makes the frames of updates of one layout with one method.

    Attributes:
        step: common step size of the last update, where the search for the next one begins; 0 before the first. The
            next update's bytes depend on it, so it belongs in checkpoints.
    """

    def __init__(self, layout: Layout, method: Method):
        self.layout = layout
        self.method = method
        self.step = 0.0

    @property
    def raw(self) -> bool:
        """Whether the parameters' entries are stored uncoded."""
        return self.method.quantizer == "float32"

    def encode(
        self,
        values: F32,
        residual: F32 | None = None,
        *,
        with_buffers: bool = False,
        report: EncodeReport | None = None,
        bits: float | None = None,
    ) -> Iterator[bytes]:
        """Yield one frame a unit: the parameters' entries coded by the method, then the buffers' in float32.

        Args:
            values: (n_parameters,) or longer float32 in layout order, transformed already.
            residual: (n_parameters,) float32 or None; receives what quantising lost. May be `values` itself.
            with_buffers: whether the frames of the buffers follow; `values` must hold them then.
            report: filled in while frames are made. One that holds the fits of `values` already spares fitting again.
            bits: bits per entry in place of the method's.

        Raises:
            NonFiniteError: at the first frame, if a parameter's entries are not all finite; names the tensor.
        """
        report = report if report is not None else EncodeReport()
        began = time.perf_counter()
        codings = self._codings(values, report, self._method_bits if bits is None else bits)
        report.fit_seconds += time.perf_counter() - began
        for unit, coding in zip(self.layout.parameters, codings, strict=True):
            began = time.perf_counter()
            frame = coding.encode(values[unit.place], None if residual is None else residual[unit.place])
            yield _account(frame, began, report)
        if with_buffers:
            yield from self.encode_buffers(values, report)

    def encode_buffers(self, values: F32, report: EncodeReport) -> Iterator[bytes]:
        """Yield the frames of the buffers, which stand in `values` after the parameters."""
        for unit in self.layout.buffers:
            began = time.perf_counter()
            yield _account(encode_frame(values[unit.place], EXACT, raw=self.raw), began, report)

    def encode_unit(self, values: F32, unit: Unit, residual: F32, report: EncodeReport) -> bytes:
        """Return the frame of one unit of parameters, by its own fit and the common step size that there is already.

        Args:
            values: as for `encode`; the entries of `unit` are read.
            unit: of the layout's parameters.
            residual: (n_parameters,) float32; receives at the unit's place what quantising lost.
            report: filled in.

        Raises:
            NonFiniteError: an entry is not finite; names the tensor.
        """
        began = time.perf_counter()
        coding = self._coding(values, unit, report)
        report.fit_seconds += time.perf_counter() - began
        began = time.perf_counter()
        return _account(coding.encode(values[unit.place], residual[unit.place]), began, report)

    def plan(self, fits: Sequence[TensorFit]) -> None:
        """Choose the common step size that the entries whose `fits` these are would have needed."""
        if self.method.quantizer == "uniform" and self.method.allocation == "common":
            self.step = plan_spending(fits, self._method_bits, self.step or None).step

    @property
    def _method_bits(self) -> float:
        """Bits per entry that the method asks for, in a tiny model at least as many as its frame takes anyway."""
        return max(self.method.bits, FRAME_BITS / max(self.layout.n_parameters, 1))

    def _coding(self, values: F32, unit: Unit, report: EncodeReport) -> Coding:
        """Fit one parameter unit, unless its coding needs no fit, and choose how it is coded by itself."""
        coding = unfitted_coding(self.method.quantizer)
        if coding is not None:
            report.silent &= coding.silences(check_finite(values, unit))
            return coding
        fit = report.fit_of[unit] = _fit(values, unit)
        coding = coding_by(fit, self.method, self._method_bits, self.step)
        report.silent &= coding.silences(fit.largest)
        report.step = self.step
        return coding

    def _codings(self, values: F32, report: EncodeReport, bits: float) -> list[Coding]:
        """Fit every parameter unit, unless their coding needs no fit, and choose how they are coded."""
        units = self.layout.parameters
        coding = unfitted_coding(self.method.quantizer)
        if coding is not None:
            report.silent = coding.silences(max((check_finite(values, unit) for unit in units), default=0.0))
            return [coding] * len(units)
        if not report.fits:
            report.fits.extend(_fit(values, unit) for unit in units)
        codings, step = plan_codings(report.fits, self.method, bits, self.step or None)
        if step:
            report.step = self.step = step
        report.silent = all(coding.silences(fit.largest) for coding, fit in zip(codings, report.fits, strict=True))
        return codings


def encode_exact(values: F32, units: Sequence[Unit], *, raw: bool = False) -> Iterator[bytes]:
    """Yield a bit-exact frame for each unit of the flat vector `values`: a snapshot, where `units` are all."""
    for unit in units:
        yield encode_frame(values[unit.place], EXACT, raw=raw)


def split_frames(data: bytes | memoryview, units: Sequence[Unit]) -> list[memoryview]:
    """Cut an update into its frames, one a unit.

    Raises:
        BitstreamError: if the frames are not those of `units`.
    """
    rest = memoryview(data)
    frames = []
    for unit in units:
        length = read_unit_header(rest, unit).frame_length
        frames.append(rest[:length])
        rest = rest[length:]
    if rest:
        raise BitstreamError(f"{len(rest)} bytes follow the last of {len(units)} frames")
    return frames


def read_unit_header(data: bytes | memoryview, unit: Unit) -> FrameHeader:
    """Read the header of the frame of `unit`, at the start of `data`.

    Raises:
        BitstreamError: if it is damaged or not of the unit; names the unit.
    """
    try:
        header = read_header(data)
    except BitstreamError as error:
        raise BitstreamError(f"frame of {unit}: {error}") from error
    if header.n_entries != len(unit):
        raise BitstreamError(f"frame of {unit} holds {header.n_entries} entries, want {len(unit)}")
    return header


def decode_update(data: bytes | memoryview, units: Sequence[Unit], out: F32) -> None:
    """Write the entries of an update to their places in the flat vector `out`.

    Raises:
        BitstreamError: if a frame is damaged or not of its unit; `out` may hold a part then.
    """
    for unit, frame in zip(units, split_frames(data, units), strict=True):
        decode_frame(frame, out=out[unit.place])


def add_update(data: bytes | memoryview, units: Sequence[Unit], weight: float, accumulator: F32) -> None:
    """Add `weight` times an update to the flat vector `accumulator`: float32 product, rounded, then float32 sum.

    Raises:
        BitstreamError: if a frame is damaged or not of its unit; `accumulator` may hold a part then.
    """
    for unit, frame in zip(units, split_frames(data, units), strict=True):
        add_frame(frame, weight, accumulator[unit.place])


def largest_update(units: Sequence[Unit]) -> int:
    """Return the most bytes that an update of `units` can take, whatever its method."""
    return sum(5 * len(unit) + 1024 for unit in units)


def check_finite(values: F32, unit: Unit) -> float:
    """Return the largest magnitude of `unit`.

    Raises:
        NonFiniteError: an entry is a NaN or infinity; names the first tensor that has one.
    """
    try:
        return refuse_non_finite(values[unit.place])
    except NonFiniteError:
        start = unit.start
        for spec in unit.tensors:
            finite = np.isfinite(values[start : start + spec.size])
            if not finite.all():
                first = int(np.argmin(finite))
                raise NonFiniteError(
                    f"{spec.name}: got {values[start + first]} at entry {first} "
                    f"({spec.size - int(finite.sum())} of {spec.size} entries are not finite), want finite numbers"
                ) from None
            start += spec.size
        raise


def _fit(values: F32, unit: Unit) -> TensorFit:
    try:
        return fit_tensor(values[unit.place])
    except NonFiniteError:
        check_finite(values, unit)
        raise


def _account(frame: bytes, began: float, report: EncodeReport) -> bytes:
    report.encode_seconds += time.perf_counter() - began
    report.n_bytes += len(frame)
    return frame

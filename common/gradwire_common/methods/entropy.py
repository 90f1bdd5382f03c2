"""The entropy method: residual memory, transform, fit, step sizes, quantiser and codebooks made of the fit."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Self

from pydantic import ValidationError

from gradwire_common.codec.model.tensor_fit import TensorFit, fit_tensor
from gradwire_common.errors import ConfigError, NonFiniteError
from gradwire_common.layout.manifest import Layout, Unit
from gradwire_common.methods.budget import BudgetSearch
from gradwire_common.methods.coding import Coding, unfitted_coding
from gradwire_common.methods.dead_zone import HALF
from gradwire_common.methods.entropy_options import BROADCAST_BITS, MAX_BITS, EntropyOptions
from gradwire_common.methods.frames import ENTRIES, CodecFrames
from gradwire_common.methods.method import F32, EncodeReport
from gradwire_common.methods.residual import add_residual
from gradwire_common.methods.step_plan import StepPlan
from gradwire_common.methods.transforms.coefficients import from_coefficients, to_coefficients
from gradwire_common.methods.update import check_finite
from gradwire_common.settings.load import did_you_mean
from gradwire_common.settings.wrong_value import one_line
from gradwire_common.units import AUTO

Code = Callable[[Coding, F32, F32 | None], bytes]  # makes the frame of a unit's entries, and fills in what is lost


class Entropy(CodecFrames, EntropyOptions):
    """Entries, or their coefficients, quantised and coded by their own distribution."""

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """Return the method of `options`.

        Raises:
            ConfigError: an unknown one, or a value that cannot be; names it.
        """
        for name in options:
            if name not in cls.model_fields:
                raise ConfigError(f"{name}: unknown option of method entropy; {did_you_mean(name, cls.model_fields)}")
        try:
            method = cls.model_validate(dict(options))
        except ValidationError as error:
            raise ConfigError(one_line(error)) from None
        for name, given in (("means", method.means), ("dead_zone", method.dead_zone != HALF)):
            if given and not method.format.takes_bits:
                raise ConfigError(
                    f"{name}: got {getattr(method, name)} with quantizer {method.quantizer}, want it with uniform alone"
                )
        return method

    @property
    def name(self) -> str:
        """Name in settings and on the wire."""
        return "entropy"

    @property
    def options(self) -> dict[str, Any]:
        """All options."""
        return self.model_dump()

    @property
    def family(self) -> str:
        """Frames of different quantisers can be added up; of different transforms not."""
        return ENTRIES if self.transform == "none" else f"{self.transform} coefficients"

    @property
    def exact(self) -> bool:
        """Whether nothing is lost, so that no residual is needed."""
        return self.format.exact

    @property
    def stored(self) -> bool:
        """Exact frames are coded."""
        return False

    @property
    def wants_all(self) -> str:
        """Budgets and transforms want all units at once."""
        if self.auto:
            return f"bits {AUTO}"
        return "" if self.transform == "none" else f"transform {self.transform}"

    @property
    def nominal_bits(self) -> float:
        """Bits per entry that an update takes, about; the most that it may where they follow from a budget."""
        return self.target_bits if self.format.takes_bits else self.format.nominal_bits

    def encoder(self, layout: Layout, memory: F32 | None = None) -> "EntropyEncoder":
        """Return an encoder of updates of `layout`, which leaves in `memory` what quantising loses."""
        return EntropyEncoder(self, layout, memory)

    @property
    def code(self) -> Code:
        """What makes the frame of a unit."""
        return Coding.encode

    def invert(self, total: F32, layout: Layout) -> None:
        """Bring a sum of coefficients back to entries."""
        from_coefficients(total, layout, self.transform)

    def broadcast(self, bits: float | str | None = None) -> Self:
        """Return the same quantiser at `bits` per entry, without transform, nor decay of what the replica lacks."""
        own = BROADCAST_BITS if self.bits == AUTO else self.bits
        return self.model_copy(update={"bits": own if bits is None else bits, "gamma": 1.0, "transform": "none"})

    def __str__(self) -> str:
        bits = self.bits if self.bits == AUTO else f"{self.bits:g}"
        return f"{bits} bits" if self.format.takes_bits else self.quantizer


class EntropyEncoder:
    """Makes the frames of updates of one layout.

    It owns the memory's content, `plan` the step size, `budget` the overhead: nothing else writes to them.
    """

    def __init__(self, options: "Entropy", layout: Layout, memory: F32 | None = None):
        self.layout = layout
        self._code = options.code
        self.memory = memory
        self._options = options
        self._steps = StepPlan(options, layout.n_parameters)
        self._budget = BudgetSearch()
        self._unit_fits: dict[Unit, TensorFit] = {}  # of units that were encoded one by one since the last plan

    @property
    def ready(self) -> bool:
        """Whether there is a common step size."""
        return self._steps.step > 0

    def prepare(self, values: F32, unit: Unit | None = None) -> None:
        """Turn an update into u: coefficients, to which the residual is added."""
        if unit is None:
            to_coefficients(values, self.layout, self._options.transform)
        if self.memory is not None:
            place = slice(0, self.layout.n_parameters) if unit is None else unit.place
            add_residual(values[place], self.memory[place], self._options.gamma)

    def encode(self, values: F32, report: EncodeReport, budget: int = 0) -> Iterator[bytes]:
        """Yield one frame for each unit of parameters. Raises before the first, as Encoder says."""
        fits: list[TensorFit] = []
        if not budget:
            yield from self._encode_at(MAX_BITS if self._options.auto else self._steps.bits, values, fits, report)
            return
        before = report.n_bytes

        def attempt(bits: float) -> list[bytes]:
            report.n_bytes = before
            return list(self._encode_at(bits, values, fits, report))

        yield from self._budget.encode(attempt, self.layout.n_parameters, budget)

    def encode_unit(self, values: F32, unit: Unit, lost: F32, report: EncodeReport) -> bytes:
        """Return the frame of one unit, by its own fit and the common step size. Raises as UnitEncoder says."""
        began = time.perf_counter()
        coding = unfitted_coding(self._options.format)
        if coding is not None:
            largest = check_finite(values, unit, report.most)
        else:
            fit = self._unit_fits[unit] = _fit(values, unit, report.most)
            coding, largest = self._steps.coding(fit), fit.largest
        report.silent &= coding.silences(largest)
        report.step = self._steps.step
        report.fit_seconds += time.perf_counter() - began
        return self._encode(coding, values, unit, lost, report)

    def plan(self) -> None:
        """Choose the common step size that the units encoded one by one would have needed together."""
        fits, self._unit_fits = self._unit_fits, {}
        if fits:
            self._steps.plan([fits[unit] for unit in self.layout.parameters if unit in fits])

    def state(self) -> dict[str, Any]:
        """Return the step size, and what the next budget expects of the prediction."""
        return {"step": self._steps.step, "overhead": self._budget.overhead}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Resume from what `state` returned."""
        self._steps.step = float(state["step"])
        self._budget.overhead = float(state["overhead"])

    def _encode_at(self, bits: float, values: F32, fits: list[TensorFit], report: EncodeReport) -> Iterator[bytes]:
        """Yield the frames at `bits` per entry; `fits` are those of `values`, filled in where they are needed first."""
        began = time.perf_counter()
        units = self.layout.parameters
        codings = self._codings(bits, values, units, fits, report)
        report.fit_seconds += time.perf_counter() - began
        for unit, coding in zip(units, codings, strict=True):
            yield self._encode(coding, values, unit, self.memory, report)

    def _codings(
        self, bits: float, values: F32, units: Sequence[Unit], fits: list[TensorFit], report: EncodeReport
    ) -> list[Coding]:
        """Choose how every unit is coded, by its fit unless its quantiser needs none."""
        coding = unfitted_coding(self._options.format)
        if coding is not None:
            largest = (check_finite(values, unit, report.most) for unit in units)
            report.silent = coding.silences(max(largest, default=0.0))
            return [coding] * len(units)
        if not fits:
            fits.extend(_fit(values, unit, report.most) for unit in units)
        codings = self._steps.codings(fits, bits)
        report.step = self._steps.step
        report.silent = all(coding.silences(fit.largest) for coding, fit in zip(codings, fits, strict=True))
        return codings

    def _encode(self, coding: Coding, values: F32, unit: Unit, lost: F32 | None, report: EncodeReport) -> bytes:
        began = time.perf_counter()
        frame = self._code(coding, values[unit.place], None if lost is None else lost[unit.place])
        report.encode_seconds += time.perf_counter() - began
        report.n_bytes += len(frame)
        return frame


def _fit(values: F32, unit: Unit, most: float) -> TensorFit:
    try:
        fit = fit_tensor(values[unit.place])
    except NonFiniteError:
        check_finite(values, unit)
        raise
    if fit.largest > most:
        check_finite(values, unit, most)
    return fit

"""Updates that fit a budget: the step size whose predicted bits meet it, counted exactly before anything is sent.

What one prediction missed, in headers and in codes, is made up for in the next: the entries of successive updates are
alike. So the first attempt fits as a rule, and the second does where the entries have changed.
"""

import math
from collections.abc import Sequence

from gradwire_common.codec.model.rates import TABLE_BITS_MIN
from gradwire_common.errors import ConfigError
from gradwire_common.methods.method import BITS_MAX
from gradwire_common.methods.update import F32, EncodeReport, UpdateEncoder, encode_exact
from gradwire_common.units import format_size

AIM = 0.988  # of the budget: midway between LEAST and all of it, drawn to the upper end
LEAST = 0.965  # of the budget; an update that takes less is made again with a finer step
ATTEMPTS = 12  # of which one or two are usual
ENOUGH = 3  # attempts after which whatever fits is taken, and the aim is lowered each time
BACK_OFF = 0.97  # of the bits, in each attempt from then on
SLOPE_RANGE = (0.5, 2.0)  # of log(bytes) with log(bits), as far as two attempts tell it
HALVE_FROM = 6  # attempts; then the bits are halved each time
OVERHEAD_RANGE = (0.5, 4.0)  # bytes made per byte predicted, as far as one update says something about the next


class BudgetEncoder:
    """Makes updates of at most so many bytes.

    Attributes:
        overhead: bytes that the last update took, per byte predicted. The next update's bytes depend on it, so it
            belongs in checkpoints.
    """

    def __init__(self, encoder: UpdateEncoder):
        self.encoder = encoder
        self.overhead = 1.0

    def encode(
        self,
        values: F32,
        residual: F32 | None,
        budget: int,
        *,
        with_buffers: bool = False,
        report: EncodeReport | None = None,
    ) -> Sequence[bytes]:
        """Return one frame a unit, together at most `budget` bytes, and close to it where the entries have the bits.

        Args:
            values: as for `UpdateEncoder.encode`.
            residual: likewise, but not `values` itself.
            budget: bytes of frames, those of the buffers included, which cost the same whatever the budget.
            with_buffers: as for `UpdateEncoder.encode`.
            report: filled in; its number of bytes is that of the frames returned, its times those of all attempts.

        Raises:
            NonFiniteError: a parameter's entries are not all finite; names the tensor.
            ConfigError: the budget is too small for any update of this layout.
        """
        report = report if report is not None else EncodeReport()
        layout = self.encoder.layout
        buffers = list(encode_exact(values, layout.buffers, raw=self.encoder.raw)) if with_buffers else []
        n_fixed = sum(map(len, buffers))
        room, n = budget - n_fixed, max(layout.n_parameters, 1)
        bits = _allowed(8 * AIM * room / n / self.overhead)
        last: tuple[float, int] | None = None
        for attempt in range(ATTEMPTS):
            report.n_bytes = n_fixed
            frames = list(self.encoder.encode(values, residual, report=report, bits=bits))
            size = report.n_bytes - n_fixed
            low, high = OVERHEAD_RANGE
            self.overhead = min(max(8 * size / (n * bits), low), high)
            if size <= room and (attempt >= ENOUGH or size >= LEAST * room or bits >= BITS_MAX):
                return frames + buffers
            slope, last = _slope(last, (bits, size)), (bits, size)
            bits = _allowed(bits * (AIM * room / size) ** (1 / slope) * BACK_OFF ** max(0, attempt - ENOUGH))
            if attempt >= HALVE_FROM:
                bits = _allowed(bits / 2)
        raise ConfigError(
            f"budget: got {format_size(budget)} for an update whose least is {format_size(size + n_fixed)}, "
            f"{format_size(n_fixed)} of it for buffers; want a higher rate or more transfer_seconds"
        )


def _slope(last: tuple[float, int] | None, now: tuple[float, int]) -> float:
    """Return the growth of log(bytes) with log(bits) between two attempts, within reason; 1 where there is but one."""
    if last is None or abs(math.log(now[0] / last[0])) < 1e-3:
        return 1.0
    low, high = SLOPE_RANGE
    return min(max(math.log(now[1] / last[1]) / math.log(now[0] / last[0]), low), high)


def _allowed(bits: float) -> float:
    return min(max(bits, TABLE_BITS_MIN), BITS_MAX)

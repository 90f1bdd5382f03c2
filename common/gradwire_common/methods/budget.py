"""Updates that fit a budget: the step size whose predicted bits meet it, counted exactly before anything is sent.

What one prediction missed, in headers and in codes, is made up for in the next: the entries of successive updates are
alike. So the first attempt fits as a rule, and the second does where the entries have changed.
"""

import math
from collections.abc import Callable

from gradwire_common.codec.model.rates import TABLE_BITS_MIN
from gradwire_common.errors import ConfigError
from gradwire_common.methods.entropy_options import MAX_BITS
from gradwire_common.units import format_size

AIM = 0.988  # of the budget: midway between LEAST and all of it, drawn to the upper end
LEAST = 0.965  # of the budget; an update that takes less is encoded again with a finer step
ATTEMPTS = 12  # of which one or two are usual
ENOUGH = 3  # attempts after which anything that fits is accepted, and the aim is lowered each time
BACK_OFF = 0.97  # of the bits, in each attempt from then on
SLOPE_RANGE = (0.5, 2.0)  # of log(bytes) with log(bits), as far as two attempts tell it
HALVE_FROM = 6  # attempts; then the bits are halved each time
OVERHEAD_RANGE = (0.5, 4.0)  # bytes made per byte predicted, as far as one update says something about the next


class BudgetSearch:
    """Finds the bits per entry at which an update takes at most so many bytes, and close to it.

    Attributes:
        overhead: bytes that the last update took, per byte predicted. The next update's bytes depend on it, so it
            belongs in checkpoints.
    """

    def __init__(self) -> None:
        self.overhead = 1.0

    def encode(self, encode_at: Callable[[float], list[bytes]], n_entries: int, budget: int) -> list[bytes]:
        """Return the frames of the attempt that fits `budget` bytes.

        Args:
            encode_at: encodes the update at so many bits per entry.
            n_entries: of the update.
            budget: bytes of frames.

        Raises:
            ConfigError: the budget is too small for any update.
        """
        n = max(n_entries, 1)
        bits = _allowed(8 * AIM * budget / n / self.overhead)
        last: tuple[float, int] | None = None
        for attempt in range(ATTEMPTS):
            frames = encode_at(bits)
            size = sum(map(len, frames))
            low, high = OVERHEAD_RANGE
            self.overhead = min(max(8 * size / (n * bits), low), high)
            if size <= budget and (attempt >= ENOUGH or size >= LEAST * budget or bits >= MAX_BITS):
                return frames
            slope, last = _slope(last, (bits, size)), (bits, size)
            bits = _allowed(bits * (AIM * max(budget, 0) / size) ** (1 / slope) * BACK_OFF ** max(0, attempt - ENOUGH))
            if attempt >= HALVE_FROM:
                bits = _allowed(bits / 2)
        raise ConfigError(
            f"budget: {format_size(max(budget, 0))} are left for the parameters of an update, which take at least "
            f"{format_size(size)}; want a higher rate or more transfer_seconds"
        )


def _slope(last: tuple[float, int] | None, now: tuple[float, int]) -> float:
    """Return the growth of log(bytes) with log(bits) between two attempts, within reason; 1 where there is but one."""
    if last is None or abs(math.log(now[0] / last[0])) < 1e-3:
        return 1.0
    low, high = SLOPE_RANGE
    return min(max(math.log(now[1] / last[1]) / math.log(now[0] / last[0]), low), high)


def _allowed(bits: float) -> float:
    return min(max(bits, TABLE_BITS_MIN), MAX_BITS)

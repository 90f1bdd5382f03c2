"""The step-size plan: how each unit of an update is coded, where the step size follows from the fits of all of them."""

from collections.abc import Sequence

from gradwire_common.codec.model.tensor_fit import TensorFit
from gradwire_common.methods.coding import Coding, coding_by, plan_codings, plan_common
from gradwire_common.methods.entropy_options import EntropyOptions

FRAME_BITS = 256  # of an empty frame, about; fewer for a tiny model's entries would delay them and save nothing


class StepPlan:
    """Chooses step sizes, update after update.

    Attributes:
        step: common step size of the last update, where the search for the next one begins; 0 before the first. The
            next update's bytes depend on it, so it belongs in checkpoints.
        bits: bits per entry that are aimed at; in a tiny model at least as many as its frame takes anyway.
    """

    def __init__(self, options: EntropyOptions, n_entries: int):
        self._options = options
        self.step = 0.0
        self.bits = max(options.target_bits, FRAME_BITS / max(n_entries, 1))

    def codings(self, fits: Sequence[TensorFit], bits: float) -> list[Coding]:
        """Return how each unit is coded, by the `fits` of all of them, at `bits` per entry."""
        codings, step = plan_codings(fits, self._options, bits, self.step or None)
        if step:
            self.step = step
        return codings

    def coding(self, fit: TensorFit) -> Coding:
        """Return how one unit is coded by itself, by the common step size that there is already."""
        return coding_by(fit, self._options, self.bits, self.step)

    def plan(self, fits: Sequence[TensorFit]) -> None:
        """Choose the common step size that the entries whose `fits` these are would have needed."""
        if self._options.format.takes_bits and self._options.allocation == "common":
            self.step = plan_common(fits, self._options, self.bits, self.step or None).step

"""How the entropy method codes the entries of each tensor or bundle of an update, by their fits."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gradwire_common.codec.formats import LOSSLESS, Format, Quantizer
from gradwire_common.codec.frames import encode_frame
from gradwire_common.codec.model.gennorm import GenNorm
from gradwire_common.codec.model.rates import Selector, Spending, plan_each, plan_spending
from gradwire_common.codec.model.tensor_fit import TensorFit
from gradwire_common.methods.dead_zone import HALF, DeadZone, narrowed
from gradwire_common.methods.entropy_options import EntropyOptions

F32 = npt.NDArray[np.float32]

EXACT = LOSSLESS.build()


@dataclass(frozen=True, slots=True)
class Coding:
    """How entries are coded.

    Attributes:
        quantizer: what they are rounded to.
        model: their fit, which the codebook is made from; None where it does not describe what is sent.
        selector: says which are sent; None for all.
        raw: whether symbols are stored uncoded.
    """

    quantizer: Quantizer
    model: GenNorm | None = None
    selector: Selector | DeadZone | None = None
    raw: bool = False

    def encode(self, entries: F32, residual: F32 | None) -> bytes:
        """Return the frame of `entries`.

        Args:
            entries: (n,) float32, C-contiguous, finite.
            residual: (n,) float32 or None; receives what is lost, of entries that are not sent all. May be `entries`.
        """
        if self.selector is None:
            return encode_frame(entries, self.quantizer, self.model, residual=residual, raw=self.raw)
        sent = self.selector.select(entries)
        kept = entries - sent
        frame = encode_frame(sent, self.quantizer, self.model, residual=residual)
        if residual is not None:
            residual += kept
        return frame

    def silences(self, largest: float) -> bool:
        """Whether entries of at most the magnitude `largest` are all sent as zeros."""
        below = isinstance(self.selector, DeadZone) and largest < self.selector.border
        return bool(below) or largest <= self.quantizer.dead_zone


def unfitted_coding(form: Format) -> Coding | None:
    """Return the coding of all tensors by a format that needs no fit; None for the others."""
    return None if form.needs_fit else Coding(form.build())


def plan_codings(
    fits: Sequence[TensorFit], options: EntropyOptions, bits: float, guess: float | None = None
) -> tuple[list[Coding], float]:
    """Return how each tensor or bundle is coded, and the step size where all have one; else 0.

    Args:
        fits: one each.
        options: whose format needs fits.
        bits: per entry, where the format takes bits.
        guess: as for `plan_spending`.
    """
    form = options.format
    if not form.takes_bits:
        return [Coding(form.choose(fit, 0.0), fit.model) for fit in fits], 0.0
    if options.allocation == "per-tensor":
        plans = [
            narrowed(plan, [fit], options.dead_zone) for plan, fit in zip(plan_each(fits, bits), fits, strict=True)
        ]
        return [
            _spent(form, fit, plan, _selector(plan), options.dead_zone) for fit, plan in zip(fits, plans, strict=True)
        ], 0.0
    plan = plan_common(fits, options, bits, guess)
    selector = _selector(plan)
    return [_spent(form, fit, plan, selector, options.dead_zone) for fit in fits], plan.step


def plan_common(
    fits: Sequence[TensorFit], options: EntropyOptions, bits: float, guess: float | None = None
) -> Spending:
    """Return the plan of one step size for all tensors, its dead zone counted in. Args as for `plan_codings`."""
    return narrowed(plan_spending(fits, bits, guess), fits, options.dead_zone)


def coding_by(fit: TensorFit, options: EntropyOptions, bits: float, step: float) -> Coding:
    """Return how one tensor or bundle is coded by itself, where the common step size is `step` already."""
    if not options.format.takes_bits or options.allocation == "per-tensor":
        return plan_codings([fit], options, bits)[0][0]
    return _spent(options.format, fit, Spending(max(step, fit.finest_step)), None, options.dead_zone)


def _selector(plan: Spending) -> Selector | None:
    return None if plan.thinning is None else Selector(plan.thinning)


def _spent(form: Format, fit: TensorFit, plan: Spending, selector: Selector | None, dead_zone: float) -> Coding:
    quantizer = form.choose(fit, plan.step)
    if selector is None and dead_zone > HALF:
        return Coding(quantizer, selector=DeadZone(np.float32(dead_zone * plan.step)))
    return Coding(quantizer, fit.model if selector is None else None, selector)

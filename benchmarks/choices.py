"""How long a codebook takes that nobody has asked for yet: choosing its scheme, and building it."""

import time
from statistics import median
from typing import Any

from gradwire_common.codec import codebook
from gradwire_common.codec.codebook import grid_indices, model_codebook
from gradwire_common.codec.formats import Quantizer, Uniform, all_formats, build_quantizer
from gradwire_common.codec.model.gennorm import GenNorm
from gradwire_common.codec.model.rates import ratio_for_bits
from gradwire_common.codec.words import choice, costs
from rates import RATES
from workloads import BETAS

CACHES = (
    codebook.inside_and_outside,
    codebook.magnitude_weights,
    codebook.layout_weights,
    codebook.model_codebook,
    costs.likeliest_first,
    choice.shared_choice,
    choice.chosen,
)


def measure_choices(rounds: int) -> dict[str, Any]:
    """Time every quantiser at every shape and rate, the best of `rounds` each; print and return milliseconds."""
    cases: list[tuple[GenNorm, Quantizer]] = []
    for beta in BETAS:
        model = GenNorm(beta, 1.0)
        cases += [(model, build_quantizer(form.name, model)) for form in all_formats() if not form.takes_bits]
        cases += [(model, Uniform(float(ratio_for_bits(beta, bits)))) for bits in RATES]
    times = [min(choose_and_build(model, quantizer) for _ in range(rounds)) for model, quantizer in cases]
    row = {"median_ms": 1e3 * median(times), "worst_ms": 1e3 * max(times)}
    print(
        f"\na codebook from nothing: median {row['median_ms']:.2f} ms, worst {row['worst_ms']:.2f} ms of {len(times)}"
    )
    return row


def choose_and_build(model: GenNorm, quantizer: Quantizer) -> float:
    """Return the seconds from a fit to tables, with every cache empty."""
    for cached in CACHES:
        cached.cache_clear()
    start = time.perf_counter()
    scheme, _ = choice.choose_scheme(quantizer.format, *grid_indices(model, quantizer.unit))
    model_codebook(quantizer.format, scheme)
    return time.perf_counter() - start

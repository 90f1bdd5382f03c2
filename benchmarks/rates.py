"""Bits above entropy of the uniform quantiser, from a hundredth of a bit to eight."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from gradwire_common.codec.frames import decode_frame, encode_frame
from gradwire_common.codec.gennorm import GenNorm
from gradwire_common.codec.quantizers import Uniform
from gradwire_common.codec.rate_model import ratio_for_bits
from passes import check
from workloads import BETAS, entropy_bits

RATES = (0.01, 0.03, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)  # bits an entry
FRAME_ALLOWANCE = 64  # bytes a frame beside the percentage


def measure_rates(n: int) -> Iterator[dict[str, Any]]:
    """Encode `n` samples at every rate and shape; print and yield what the frames cost."""
    print(
        f"\nuniform, {n} samples: bits asked for, entropy, bits above it, without the {FRAME_ALLOWANCE} bytes a frame"
    )
    for beta in BETAS:
        model = GenNorm(beta, 1.0)
        values = model.sample(np.random.default_rng(2), n).astype(np.float32)
        for asked in RATES:
            quantizer = Uniform(float(ratio_for_bits(beta, asked)) * model.alpha)
            frame = encode_frame(values, quantizer, model)
            symbols = quantizer.quantize(values)
            check(np.array_equal(decode_frame(frame), quantizer.dequantize(symbols)), f"{asked} bits decode")
            entropy = entropy_bits(symbols)
            least = n * entropy / 8
            row = {
                "beta": beta,
                "asked": asked,
                "entropy": entropy,
                "bits": 8 * len(frame) / n,
                "excess_percent": 100 * (len(frame) / least - 1),
                "excess_beside_allowance_percent": 100 * ((len(frame) - FRAME_ALLOWANCE) / least - 1),
            }
            print(
                f"  beta {beta:<4g} {asked:5g} {entropy:8.4f} {row['excess_percent']:7.2f}%"
                f" {row['excess_beside_allowance_percent']:7.2f}%"
            )
            yield row

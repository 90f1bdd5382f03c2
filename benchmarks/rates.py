"""Bits above entropy of the uniform quantiser, from a hundredth of a bit to eight, and the time that they take."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from gradwire_common.codec.formats import Uniform
from gradwire_common.codec.frames import decode_frame, encode_frame
from gradwire_common.codec.model.gennorm import GenNorm
from gradwire_common.codec.model.rates import ratio_for_bits
from passes import check
from stopwatch import take_turns
from workloads import BETAS, entropy_bits

RATES = (0.01, 0.03, 0.1, 0.25, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0)  # bits an entry
FRAME_ALLOWANCE = 64  # bytes a frame beside the percentage


def measure_rates(n: int, rounds: int) -> Iterator[dict[str, Any]]:
    """Encode `n` samples at every rate and shape; print and yield what the frames cost, in bits and in time."""
    print(
        f"\nuniform, {n} samples: bits asked for, entropy, bits above it, without the {FRAME_ALLOWANCE} bytes a frame;"
        "\nencode_frame and decode_frame, ns an entry"
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
            encode = partial(encode_frame, values, quantizer, model)
            decode = partial(decode_frame, frame, out=np.empty_like(values))
            timings = take_turns({"encode": encode, "decode": decode}, rounds)
            row = {
                "beta": beta,
                "asked": asked,
                "entropy": entropy,
                "bits": 8 * len(frame) / n,
                "excess_percent": 100 * (len(frame) / least - 1),
                "excess_beside_allowance_percent": 100 * ((len(frame) - FRAME_ALLOWANCE) / least - 1),
                "encode_ns": 1e9 * timings["encode"].best / n,
                "decode_ns": 1e9 * timings["decode"].best / n,
            }
            print(
                f"  beta {beta:<4g} {asked:5g} {entropy:8.4f} {row['excess_percent']:7.2f}%"
                f" {row['excess_beside_allowance_percent']:7.2f}% {row['encode_ns']:7.2f} {row['decode_ns']:7.2f}"
            )
            yield row

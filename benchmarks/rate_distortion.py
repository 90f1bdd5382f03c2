"""What a frame costs and what it keeps: bits an entry, header and checksum included, against the error that is left.

    python benchmarks/rate_distortion.py

NMSE is the mean squared error over the mean square of the entries. "normal bound" is the rate-distortion function of
normal data at the same bits, 2 ** (-2 bits): no method that first rotates gradients into normal data can pass it.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from gradwire_common.codec.formats import Uniform
from gradwire_common.codec.frames import decode_frame, encode_frame
from gradwire_common.codec.model.gennorm import GenNorm
from gradwire_common.codec.model.rates import ratio_for_bits

BITS = (0.03, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 4.0)
BETAS = (0.5, 1.0, 1.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=1 << 20)
    parser.add_argument("--json", type=Path, help="write the table here too")
    options = parser.parse_args()

    rows = [measure(beta, bits, options.entries) for beta in BETAS for bits in BITS]
    print(f"{'beta':>5} {'bits asked':>11} {'bits in frame':>14} {'NMSE':>8} {'normal bound':>13}")
    for row in rows:
        print(
            f"{row['beta']:5} {row['asked']:11} {row['bits']:14.4f} {row['nmse']:8.4f} {row['normal_bound']:13.4f}",
        )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


def measure(beta: float, bits: float, n: int) -> dict[str, float]:
    """Return what a frame of `n` GenNorm entries takes and loses at the step size that the model says costs `bits`."""
    model = GenNorm(beta, 1.0)
    values = model.sample(np.random.default_rng(0), n)
    frame = encode_frame(values, Uniform(float(ratio_for_bits(beta, bits))), model)
    lost = np.square(values - decode_frame(frame), dtype=np.float64).mean()
    taken = 8 * len(frame) / n
    nmse = float(lost / np.square(values, dtype=np.float64).mean())
    return {"beta": beta, "asked": bits, "bits": taken, "nmse": nmse, "normal_bound": 2 ** (-2 * taken)}


if __name__ == "__main__":
    main()

"""Write the golden frame with means, and what it says. Run it where the format changes, and nowhere else."""

import json
from pathlib import Path

import numpy as np

from gradwire_common.layout.manifest import Layout, TensorSpec
from gradwire_common.methods.method import EncodeReport
from gradwire_common.methods.registry import build_method

HERE = Path(__file__).parent
N = 3000


def main() -> None:
    """Write means.frame and means.json."""
    values = np.random.default_rng(0).laplace(size=N).astype(np.float32)
    layout, method = Layout([TensorSpec("golden", (N,))]), build_method("entropy", {"bits": 0.8, "means": True})
    (frame,) = method.encoder(layout).encode(values, EncodeReport())
    out = np.empty(N, np.float32)
    method.decode(frame, layout.parameters[0], out)
    levels, counts = np.unique(out, return_counts=True)
    told = {"n": N, "levels": levels.tolist(), "counts": counts.tolist(), "first": np.flatnonzero(out)[:20].tolist()}
    (HERE / "means.frame").write_bytes(frame)
    (HERE / "means.json").write_text(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()

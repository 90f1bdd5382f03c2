"""Compiling or loading every kernel before a run waits for it."""

import time
from functools import cache

import numpy as np

from gradwire_common.codec.frames import warm_up
from gradwire_common.manifest import Layout, TensorSpec
from gradwire_common.method import Method
from gradwire_common.update import UpdateEncoder, add_update

ENTRIES = 8192  # of the rehearsal; enough for every path of the coder that depends on size


@cache
def warm_kernels() -> float:
    """Make sure that no step of a run compiles anything; return the seconds it took the first time in this process."""
    began = time.perf_counter()
    warm_up()
    layout = Layout([TensorSpec("rehearsal", (ENTRIES,))])
    values = np.random.default_rng(0).laplace(size=ENTRIES).astype(np.float32)
    frames = b"".join(UpdateEncoder(layout, Method()).encode(values, np.zeros_like(values)))
    add_update(frames, layout.parameters, 1.0, values)
    return time.perf_counter() - began

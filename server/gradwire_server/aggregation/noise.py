"""Gaussian noise in the mean of a round, which hides what any one worker pushed: central differential privacy."""

import secrets
from collections.abc import Mapping
from typing import Any

import numpy as np

from gradwire_common.errors import CheckpointError
from gradwire_common.methods.method import F32

KEY_BITS = 128
BLOCK = 1 << 18  # entries whose noise is drawn at a time


class GaussianNoise:
    """The Gaussian mechanism: N(0, (multiplier * bound / n)^2) is added to the mean of n pushes of norms <= bound.

    The noise of a round follows from a secret key and the round's number, so a run that is resumed has the same bits.
    The key is drawn at the run's beginning and kept in its checkpoints: whoever reads these can subtract the noise. The
    generator (Philox) is none of cryptography's, and floating-point noise has gaps (Mironov, CCS 2012): the epsilon is
    that of ideal noise.

    Args:
        multiplier: standard deviation in the sum, in units of `bound`.
        bound: the most that the norm of a push is.
        key: from 0 to 2**128 - 1; a new one where none is given.
    """

    def __init__(self, multiplier: float, bound: float, key: int | None = None):
        self._deviation = multiplier * bound
        self._key = secrets.randbits(KEY_BITS) if key is None else key

    def add(self, mean: F32, round_: int, n_pushes: int) -> None:
        """Add the noise of a round to the mean of `n_pushes`, (n,) float32, in place."""
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence(self._key, spawn_key=(round_,))))
        deviation = np.float32(self._deviation / n_pushes)
        for start in range(0, mean.size, BLOCK):
            part = mean[start : start + BLOCK]
            part += deviation * rng.standard_normal(part.size, np.float32)

    def state(self) -> dict[str, Any]:
        """Return what the next noise follows from, as JSON has it."""
        return {"key": str(self._key)}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue with the noise of `state`. Raises CheckpointError where there is none."""
        key = state.get("key")
        if not isinstance(key, str) or not key.isdecimal() or int(key) >= 1 << KEY_BITS:
            raise CheckpointError("checkpoint: got no key of the noise, want one of 128 bits")
        self._key = int(key)

"""The residual memory loses nothing."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from gradwire_common.layout.manifest import Layout, TensorSpec
from gradwire_common.methods.method import QUANTIZER_NAMES, Method
from gradwire_common.methods.residual import BLOCK, ResidualMemory
from gradwire_common.methods.update import UpdateEncoder, decode_update

LAYOUT = Layout([TensorSpec("large", (5000,)), TensorSpec("small", (7,)), TensorSpec("other", (30, 3))])
N = LAYOUT.n_parameters


@pytest.mark.parametrize("gamma", [0.0, 0.9, 1.0])
@pytest.mark.parametrize("quantizer", QUANTIZER_NAMES)
def test_error_feedback_loses_nothing(quantizer, gamma):
    rng = np.random.default_rng(3)
    memory = ResidualMemory(np.zeros(N, np.float32), gamma)
    encoder = UpdateEncoder(LAYOUT, Method(quantizer=quantizer, bits=1.5, gamma=gamma))
    before = memory.values.copy()
    for _ in range(3):
        gradient = rng.laplace(size=N).astype(np.float32) * 1e-3
        u = gradient.copy()
        memory.add_to(u)
        assert_array_equal(u, gradient + np.float32(gamma) * before)
        data = b"".join(encoder.encode(u, memory.values))
        decoded = np.empty(N, np.float32)
        decode_update(data, LAYOUT.parameters, decoded)
        assert_array_equal(decoded + memory.values, u)
        before = memory.values.copy()


def test_a_decay_is_applied_to_every_block_of_a_long_vector():
    n = 2 * BLOCK + 5
    values = np.arange(n, dtype=np.float32)
    memory, u = ResidualMemory(values.copy(), 0.5), np.ones(n, np.float32)
    memory.add_to(u)
    assert_array_equal(u, np.float32(1) + np.float32(0.5) * values)


def test_a_push_that_did_not_count_is_kept_whole():
    memory, u = ResidualMemory(np.zeros(4, np.float32), 1.0), np.array([1, -2, 3, 0.5], np.float32)
    memory.keep(u)
    following = np.zeros(4, np.float32)
    memory.add_to(following)
    assert_array_equal(following, u)


def test_a_late_push_is_kept_with_its_weight():
    """Of a push u that came late, late_weight * u is part of the next one, times gamma; none of it at a weight of 0."""
    u = np.array([1, -2, 3, 0.5], np.float32)
    for weight in (0.0, 0.3, 1.0):
        memory, following = ResidualMemory(np.ones(4, np.float32), 0.5), np.full(4, 10, np.float32)
        memory.keep(u, weight)
        memory.add_to(following)
        assert_array_equal(following, np.float32(10) + np.float32(0.5) * (np.float32(weight) * u))

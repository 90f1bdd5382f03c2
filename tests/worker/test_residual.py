"""The residual memory loses nothing."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from gradwire_common.codec.format_names import format_names
from gradwire_common.layout.manifest import Layout, TensorSpec
from gradwire_common.methods.entropy import Entropy
from gradwire_common.methods.method import EncodeReport
from gradwire_common.methods.raw import Raw
from gradwire_common.methods.residual import BLOCK, add_residual
from gradwire_common.methods.update import decode_update

LAYOUT = Layout([TensorSpec("large", (5000,)), TensorSpec("small", (7,)), TensorSpec("other", (30, 3))])
N = LAYOUT.n_parameters


@pytest.mark.parametrize("gamma", [0.0, 0.9, 1.0])
@pytest.mark.parametrize("quantizer", format_names())
def test_error_feedback_loses_nothing(quantizer, gamma):
    rng = np.random.default_rng(3)
    encoder = Entropy(quantizer=quantizer, bits=1.5, gamma=gamma).encoder(LAYOUT, np.zeros(N, np.float32))
    before = encoder.memory.copy()
    for _ in range(3):
        gradient = rng.laplace(size=N).astype(np.float32) * 1e-3
        u = gradient.copy()
        encoder.prepare(u)
        assert_array_equal(u, gradient + np.float32(gamma) * before)
        data = b"".join(encoder.encode(u, EncodeReport()))
        decoded = np.empty(N, np.float32)
        decode_update(data, LAYOUT.parameters, decoded)
        assert_array_equal(decoded + encoder.memory, u)
        before = encoder.memory.copy()


def test_a_decay_is_applied_to_every_block_of_a_long_vector():
    n = 2 * BLOCK + 5
    residual, u = np.arange(n, dtype=np.float32), np.ones(n, np.float32)
    add_residual(u, residual, 0.5)
    assert_array_equal(u, np.float32(1) + np.float32(0.5) * residual)


def test_what_did_not_count_is_part_of_the_next_update_times_gamma():
    kept = np.linspace(-2, 3, N, dtype=np.float32)
    for method, share in ((Raw(), 1.0), (Entropy(), 1.0), (Entropy(gamma=0.5), 0.5)):
        following = np.full(N, 10, np.float32)
        method.encoder(LAYOUT, kept.copy()).prepare(following)
        assert_array_equal(following, np.float32(10) + np.float32(share) * kept)

"""Updates fit their budgets, and use them."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from gradwire_common.errors import ConfigError
from gradwire_common.layout.manifest import Manifest, Role, TensorSpec
from gradwire_common.methods.entropy import Entropy, EntropyEncoder
from gradwire_common.methods.method import EncodeReport
from gradwire_common.methods.update import decode_update, encode_update

LAYOUT = Manifest(
    (
        TensorSpec("conv.weight", (64, 32, 3, 3)),
        TensorSpec("norm.weight", (32,)),
        TensorSpec("head.weight", (10, 4000)),
        TensorSpec("norm.mean", (200,), role=Role.BUFFER),
    )
).layout
N = LAYOUT.n_parameters


def gradient(seed: int, scale: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.laplace(size=LAYOUT.size).astype(np.float32) * np.float32(scale)
    values[LAYOUT.slots["head.weight"]] *= 0.05
    return values


def encoder_of(**options: object) -> EntropyEncoder:
    return Entropy(bits="auto", **options).encoder(LAYOUT, np.zeros(N, np.float32))


def size_of(encoder: EntropyEncoder, u: np.ndarray, budget: int) -> int:
    return sum(map(len, encoder.encode(u, EncodeReport(), budget)))


@pytest.mark.parametrize("allocation", ["common", "per-tensor"])
@pytest.mark.parametrize("bits", [0.2, 0.5, 1, 3, 5.5, 7])
def test_with_a_residual_memory_every_push_uses_96_to_100_percent(bits: float, allocation: str) -> None:
    encoder, used = encoder_of(allocation=allocation), []
    budget = int(bits * N / 8)
    for round_ in range(12):
        u = gradient(round_, scale=0.97**round_)
        encoder.prepare(u)
        used.append(size_of(encoder, u, budget) / budget)
    assert max(used) <= 1
    assert min(used) >= 0.96


def test_the_residual_is_what_the_last_attempt_lost() -> None:
    encoder = encoder_of()
    encoder.load_state({"step": 0.0, "overhead": 0.5})  # half as long as predicted: the first is too long
    u, decoded, report = gradient(0), np.zeros(LAYOUT.size, np.float32), EncodeReport()
    data = b"".join(encode_update(encoder, u, report, LAYOUT.buffers, budget=20_000))
    decode_update(data, LAYOUT.pushed(True), decoded)
    assert 0.96 * 20_000 <= len(data) == report.n_bytes <= 20_000
    assert_array_equal(decoded[:N] + encoder.memory, u[:N])
    assert_array_equal(decoded[N:], u[N : LAYOUT.size])


def test_when_the_budget_changes_the_next_push_follows() -> None:
    encoder = encoder_of()
    for round_, budget in enumerate([40_000, 3_000, 3_000, 25_000, 1_500, 45_000, 35_000]):
        assert 0.96 * budget <= size_of(encoder, gradient(round_), budget) <= budget


def test_a_gradient_of_zeros_takes_what_it_takes() -> None:
    encoder = encoder_of()
    assert size_of(encoder, np.zeros(LAYOUT.size, np.float32), 5_000) < 5_000
    assert 4_800 <= size_of(encoder, gradient(0), 5_000) <= 5_000


def test_a_budget_that_holds_nothing_is_refused_with_the_numbers() -> None:
    with pytest.raises(ConfigError, match=r"budget: 1 B are left for the parameters of an update, which take at least"):
        list(encode_update(encoder_of(), gradient(0), EncodeReport(), LAYOUT.buffers, budget=100))

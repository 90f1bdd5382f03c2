"""Updates fit their budgets, and use them."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from gradwire_common.errors import ConfigError
from gradwire_common.layout.manifest import Manifest, Role, TensorSpec
from gradwire_common.methods.budget import BudgetEncoder
from gradwire_common.methods.method import Method
from gradwire_common.methods.update import EncodeReport, UpdateEncoder, decode_update

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


@pytest.mark.parametrize("allocation", ["common", "per-tensor"])
@pytest.mark.parametrize("bits", [0.2, 0.5, 1, 3, 5.5, 7])
def test_with_a_residual_memory_every_push_uses_96_to_100_percent(bits: float, allocation: str) -> None:
    spender = BudgetEncoder(UpdateEncoder(LAYOUT, Method(allocation=allocation)))
    residual, used = np.zeros(N, np.float32), []
    budget = int(bits * N / 8)
    for round_ in range(12):
        u = gradient(round_, scale=0.97**round_)
        u[:N] += residual
        used.append(sum(map(len, spender.encode(u, residual, budget))) / budget)
    assert max(used) <= 1
    assert min(used) >= 0.96


def test_the_residual_is_what_the_last_attempt_lost() -> None:
    spender, residual = BudgetEncoder(UpdateEncoder(LAYOUT, Method())), np.zeros(N, np.float32)
    spender.overhead = 0.5  # as if updates took half of what is predicted: the first attempt is twice too long
    u, decoded, report = gradient(0), np.zeros(LAYOUT.size, np.float32), EncodeReport()
    frames = spender.encode(u, residual, 20_000, with_buffers=True, report=report)
    data = b"".join(frames)
    decode_update(data, LAYOUT.pushed(True), decoded)
    assert 0.96 * 20_000 <= len(data) == report.n_bytes <= 20_000
    assert_array_equal(decoded[:N] + residual, u[:N])
    assert_array_equal(decoded[N:], u[N : LAYOUT.size])


def test_when_the_budget_changes_the_next_push_follows() -> None:
    spender = BudgetEncoder(UpdateEncoder(LAYOUT, Method()))
    for round_, budget in enumerate([40_000, 3_000, 3_000, 25_000, 1_500, 45_000, 35_000]):
        size = sum(map(len, spender.encode(gradient(round_), np.zeros(N, np.float32), budget)))
        assert 0.96 * budget <= size <= budget


def test_a_gradient_of_zeros_takes_what_it_takes() -> None:
    spender = BudgetEncoder(UpdateEncoder(LAYOUT, Method()))
    assert sum(map(len, spender.encode(np.zeros(LAYOUT.size, np.float32), None, 5_000))) < 5_000
    assert 4_800 <= sum(map(len, spender.encode(gradient(0), None, 5_000))) <= 5_000


def test_a_budget_that_holds_nothing_is_refused_with_the_numbers() -> None:
    spender = BudgetEncoder(UpdateEncoder(LAYOUT, Method()))
    with pytest.raises(ConfigError, match=r"budget: got 100 B for an update whose least is .* of it for buffers"):
        spender.encode(gradient(0), None, 100, with_buffers=True)

"""What is sent of any finite update is nearer to it than nothing is, and costs the bits asked at most."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coding import method_of
from gradwire_common.layout.manifest import Manifest, TensorSpec
from gradwire_common.methods.entropy import Entropy
from gradwire_common.methods.method import Encoder, EncodeReport
from gradwire_common.methods.transforms.registry import build_transform
from gradwire_common.methods.update import decode_update

F32 = np.ndarray

OVERHEAD = 200  # bytes of an update, and of a frame: headers, checksum, an explicit codebook
QUANTIZERS = ("float8-1-5-2", "float8-1-4-3", "float4-1-2-1", "bfloat16", "lossless", "float32")


def zeros(rng: np.random.Generator, n: int) -> F32:
    return np.zeros(n)


def normal(rng: np.random.Generator, n: int) -> F32:
    return rng.standard_normal(n)


def heavy_tail(rng: np.random.Generator, n: int) -> F32:
    return rng.standard_cauchy(n)


def equal(rng: np.random.Generator, n: int) -> F32:
    return np.full(n, 110.0)


def signs(rng: np.random.Generator, n: int) -> F32:
    return rng.choice([-1.0, 1.0], n)


def small_integers(rng: np.random.Generator, n: int) -> F32:
    return rng.integers(-3, 4, n).astype(float)


def sparse(rng: np.random.Generator, n: int) -> F32:
    return rng.standard_normal(n) * (rng.random(n) < 0.03)


def sparse_and_equal(rng: np.random.Generator, n: int) -> F32:
    return 1.0 * (rng.random(n) < 0.05)


def one_entry(rng: np.random.Generator, n: int) -> F32:
    return np.eye(1, n, n // 2)[0]


def one_huge_entry(rng: np.random.Generator, n: int) -> F32:
    return np.where(np.arange(n) == n // 3, 1e9, rng.standard_normal(n))


def one_expert_of_32(rng: np.random.Generator, n: int) -> F32:
    return np.where(np.arange(n) < n / 32, rng.standard_normal(n), 0.0)


def quiet_experts(rng: np.random.Generator, n: int) -> F32:
    return np.where(np.arange(n) < n / 32, 1.0, 1e-6) * rng.standard_normal(n)


def half_dead(rng: np.random.Generator, n: int) -> F32:
    return np.maximum(rng.standard_normal(n), 0)


def some_subnormal(rng: np.random.Generator, n: int) -> F32:
    return np.where(rng.random(n) < 0.5, 1e-41, rng.standard_normal(n))


KINDS = (
    zeros, normal, heavy_tail, equal, signs, small_integers, sparse, sparse_and_equal, one_entry, one_huge_entry,
    one_expert_of_32, quiet_experts, half_dead, some_subnormal,
)  # fmt: skip

tensors_drawn = st.lists(
    st.tuples(st.sampled_from(KINDS), st.integers(1, 3000), st.integers(-30, 25), st.integers(0, 99)),
    min_size=1,
    max_size=4,
)
bits_drawn = st.sampled_from([0.01, 0.03, 0.1, 0.2, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0])


def tensors_of(drawn: list) -> list[F32]:
    return [
        (kind(np.random.default_rng(seed), n) * 10.0**exponent).astype(np.float32) for kind, n, exponent, seed in drawn
    ]


def encoder_of(tensors: list[F32], **options: object) -> Encoder:
    manifest = Manifest(tuple(TensorSpec(f"t{i}", (tensor.size,)) for i, tensor in enumerate(tensors)))
    return method_of(**options).encoder(manifest.layout)


def in_layout(encoder: Encoder, tensors: list[F32]) -> F32:
    named = {f"t{i}": tensor for i, tensor in enumerate(tensors)}
    return np.concatenate([named[spec.name] for spec in encoder.layout.order])


def energy(x: F32) -> float:
    return float(np.square(x, dtype=np.float64).sum())


def is_nearer(decoded: F32, u: F32) -> bool:
    """Whether it is nearer to `u` than zeros are; what is too small for a normal float32 stays in the residual."""
    return energy(u - decoded) < energy(u) or not (np.abs(u) >= 2.0**-126).any()


def sent(encoder: Encoder, u: F32, residual: F32 | None = None) -> tuple[F32, int]:
    encoder.memory = residual
    frames = b"".join(encoder.encode(u, EncodeReport()))
    decoded = np.empty_like(u)
    decode_update(frames, encoder.layout.parameters, decoded)
    return decoded, len(frames)


def most_bytes(encoder: Encoder, bits: float) -> float:
    return 1.3 * bits * encoder.layout.n_parameters / 8 + OVERHEAD * (1 + len(encoder.layout.parameters))


@settings(max_examples=150, deadline=None)
@given(tensors_drawn, bits_drawn, st.sampled_from(["common", "per-tensor"]), st.sampled_from([None, 1e-38, 1.0, 1e38]))
def test_any_update_is_nearer_than_nothing_and_costs_the_bits_at_most(drawn, bits, allocation, guess):
    tensors = tensors_of(drawn)
    encoder = encoder_of(tensors, bits=bits, allocation=allocation)
    encoder.load_state({"step": guess or 0.0, "overhead": 1.0})
    u, residual = in_layout(encoder, tensors), np.empty(sum(map(len, tensors)), np.float32)
    decoded, n_bytes = sent(encoder, u, residual)
    assert is_nearer(decoded, u)
    np.testing.assert_array_equal(residual, u - decoded)
    assert n_bytes <= most_bytes(encoder, bits)


@settings(max_examples=60, deadline=None)
@given(tensors_drawn, st.sampled_from(QUANTIZERS))
def test_any_update_on_a_grid_of_floats_is_nearer_than_nothing(drawn, quantizer):
    tensors = tensors_of(drawn)
    encoder = encoder_of(tensors, quantizer=quantizer)
    u = in_layout(encoder, tensors)
    decoded, _ = sent(encoder, u)
    assert is_nearer(decoded, u)


@settings(max_examples=60, deadline=None)
@given(tensors_drawn, st.sampled_from(["common", "per-tensor"]))
def test_more_bits_leave_less_error(drawn, allocation):
    tensors = tensors_of(drawn)
    errors = []
    for bits in (0.01, 0.5, 8.0):
        encoder = encoder_of(tensors, bits=bits, allocation=allocation)
        u = in_layout(encoder, tensors)
        errors.append(energy(u - sent(encoder, u)[0]))
    fine = 0.01 * energy(u)  # what need not be spent is not, and a step falls between two entries of a small tensor
    assert errors[1] <= errors[0] + fine
    assert errors[2] <= errors[1] + fine


@settings(max_examples=40, deadline=None)
@given(tensors_drawn, st.floats(0.05, 4.0))
def test_a_budget_is_kept_and_brings_an_update_nearer_than_nothing(drawn, bits):
    tensors = tensors_of(drawn)
    encoder = encoder_of(tensors, bits="auto")
    u, residual = in_layout(encoder, tensors), np.empty(sum(map(len, tensors)), np.float32)
    budget = int(bits * u.size / 8) + OVERHEAD * (1 + len(encoder.layout.parameters))
    encoder.memory = residual
    frames = b"".join(encoder.encode(u, EncodeReport(), budget))
    assert len(frames) <= budget
    assert is_nearer(u - residual, u)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(KINDS), st.sampled_from([0.01, 0.2, 1.0, 4.0]), st.sampled_from(["none", "dct"]), st.booleans())
def test_with_a_residual_fifty_rounds_leave_less_behind_than_sending_nothing(kind, bits, transform, new_each_round):
    shape = (16, 8, 3, 3)
    manifest = Manifest((TensorSpec("w", shape),))
    encoder = Entropy(bits=bits, transform=transform).encoder(manifest.layout)
    residual, total, nothing = np.zeros(math.prod(shape), np.float32), 0.0, 0.0
    for round_ in range(50):
        gradient = kind(np.random.default_rng(round_ if new_each_round else 0), residual.size).astype(np.float32)
        u = build_transform(transform).forward(gradient.reshape(shape)).reshape(-1) + residual
        nothing += math.sqrt(energy(gradient))
        decoded, _ = sent(encoder, u, residual)
        total += decoded.astype(np.float64)
        assert np.isfinite(residual).all()
    assert math.sqrt(energy(residual)) < nothing or not nothing


@pytest.mark.parametrize("bits", [0.01, 0.05, 0.2, 0.9])
@pytest.mark.parametrize("n", [1, 2, 10, 300, 4096])
def test_equal_entries_are_sent_a_few_at_a_time_rather_than_all_of_them_twofold(n: int, bits: float):
    encoder = encoder_of([np.zeros(n)], bits=bits)
    residual = np.zeros(n, np.float32)
    for _ in range(20):
        u = residual + np.float32(110)
        decoded, _ = sent(encoder, u, residual)
        assert decoded.any()
        assert energy(residual) < energy(u)
    first = np.full(n, 110, np.float32)
    decoded, _ = sent(encoder_of([first], bits=bits), first)
    assert (np.abs(decoded) <= 165).all()


def test_an_update_recovers_at_once_from_a_step_size_that_fitted_another():
    rng, encoder = np.random.default_rng(0), encoder_of([np.zeros(4000)], bits=2.0)
    for scale in (1.0, 1e-20, 1e20, 0.0, 1e-30, 1.0):
        u = (scale * rng.standard_normal(4000)).astype(np.float32)
        decoded, n_bytes = sent(encoder, u)
        assert energy(u - decoded) <= 0.15 * energy(u)
        assert n_bytes <= most_bytes(encoder, 2.0)

"""What each published method is known for, as a theorem about its frames; and what goes from update to update."""

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from gradwire_common.layout.manifest import Layout, TensorSpec
from gradwire_common.methods.demo import transform
from gradwire_common.methods.method import Encoder, EncodeReport, Method
from gradwire_common.methods.registry import METHODS, build_method
from gradwire_common.methods.update import add_update, check_update, decode_update
from gradwire_worker.checkpoint.state import Pushed, WorkerState

F32 = npt.NDArray[np.float32]
PUBLISHED = [name for name in METHODS if name not in ("entropy", "raw")]
LAYOUT = Layout(
    [
        TensorSpec("w", (128, 96)),
        TensorSpec("conv", (16, 8, 3, 3)),
        TensorSpec("bias", (77,)),
        TensorSpec("nothing", (3, 0)),
        TensorSpec("scale", ()),
    ]
)
N = LAYOUT.n_parameters


def updates(n: int, seed: int = 0) -> list[F32]:
    rng = np.random.default_rng(seed)
    return [rng.laplace(size=N).astype(np.float32) for _ in range(n)]


def frames_of(encoder: Encoder, update: F32) -> bytes:
    u = update.copy()
    encoder.prepare(u)
    return b"".join(encoder.encode(u, EncodeReport()))


def decoded(method: Method, data: bytes) -> F32:
    check_update(data, LAYOUT.parameters, method)
    out = np.full(N, np.nan, np.float32)
    decode_update(data, LAYOUT.parameters, out, method)
    return out


def once(name: str, update: F32, **options: Any) -> F32:
    """What one update of a method without a memory says."""
    method = build_method(name, options)
    return decoded(method, frames_of(method.encoder(LAYOUT), update))


def square(values: F32) -> float:
    return float(np.square(values, dtype=np.float64).sum())


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_is_decoded_and_what_the_memory_holds_are_the_update(name: str) -> None:
    method = build_method(name, {})
    encoder = method.encoder(LAYOUT, np.zeros(N, np.float32))
    total, want = np.zeros(N, np.float32), np.zeros(N, np.float32)
    for update in updates(3):
        u = update.copy()
        encoder.prepare(u)
        data = b"".join(encoder.encode(u, EncodeReport()))
        got = decoded(method, data)
        assert encoder.memory is not None
        assert_allclose(got + encoder.memory, u, rtol=1e-5, atol=1e-5)
        add_update(data, LAYOUT.parameters, 2.5, total, method)
        want += np.float32(2.5) * got
    assert_array_equal(total, want)


@pytest.mark.parametrize("name", PUBLISHED)
def test_an_encoder_that_is_loaded_again_goes_on_with_the_same_bytes(name: str, tmp_path: Any) -> None:
    method, (first, second, third) = build_method(name, {}), updates(3)
    undisturbed = method.encoder(LAYOUT, np.zeros(N, np.float32))
    frames_of(undisturbed, first)
    frames_of(undisturbed, second)
    assert undisturbed.memory is not None
    pushed = Pushed("run", 2, 1, with_buffers=False, family=method.family, loss=0.0)
    nothing = np.empty(0, np.float32)
    WorkerState(pushed, b"", undisturbed.memory, nothing, encoder=undisturbed.state()).save(tmp_path / "state")
    state = WorkerState.load(tmp_path / "state")
    assert state is not None
    again = method.encoder(LAYOUT, state.residual.copy())
    again.load_state(state.encoder)
    assert frames_of(again, third) == frames_of(undisturbed, third)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_broadcast_of_a_method_can_be_added_to_a_replica_and_its_state_is_json(name: str) -> None:
    for bits in (None, 3.0):
        method = build_method(name, {}).broadcast(bits)
        encoder, replica, weights = method.encoder(LAYOUT), np.zeros(N, np.float32), updates(1)[0]
        before = square(weights)
        for _ in range(30):
            frames = encoder.encode(weights - replica, EncodeReport())
            for unit, frame in zip(LAYOUT.parameters, frames, strict=True):
                method.add(frame, 1.0, unit, replica[unit.place])
        assert square(weights - replica) < 0.6 * before
        json.dumps(encoder.state())


@pytest.mark.parametrize("scope", ["tensor", "block"])
def test_top_k_loses_no_more_than_all_but_its_share(scope: str) -> None:
    """|u - C(u)|^2 <= (1 - k / d) |u|^2: Stich et al. 2018, lemma A.1."""
    (u,) = updates(1)
    got = once("topk", u, density=0.1, scope=scope, levels=0)
    assert square(u - got) <= (1 - (got != 0).mean()) * square(u)


def test_scaled_signs_lose_what_the_norms_say() -> None:
    """|u - C(u)|^2 = (1 - |u|_1^2 / (d |u|_2^2)) |u|^2: Karimireddy et al. 2019, lemma 8."""
    (u,) = updates(1)
    got = once("signsgd", u)
    for spec in LAYOUT.order:
        part = LAYOUT.slots[spec.name]
        if spec.size:
            lost = 1 - np.abs(u[part]).sum(dtype=float) ** 2 / (spec.size * square(u[part]))
            assert square(u[part] - got[part]) == pytest.approx(lost * square(u[part]), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("s", [1, 4, 16])
def test_qsgd_is_unbiased_and_its_variance_bounded(s: int) -> None:
    """E Q(v) = v and E |Q(v) - v|^2 <= min(n / s^2, sqrt(n) / s) |v|^2: Alistarh et al. 2017, lemma 3.1."""
    (u,) = updates(1)
    method = build_method("qsgd", {"levels": s, "bucket": 128})
    encoder, draws = method.encoder(LAYOUT), 60
    got = np.stack([decoded(method, frames_of(encoder, u)) for _ in range(draws)]).astype(float)
    variance = np.square(got - u).sum(1).mean()
    assert variance <= 1.02 * min(128 / s**2, 128**0.5 / s) * square(u)
    assert np.square(got.mean(0) - u).sum() < 1.3 * variance / draws


def test_qsgd_takes_no_more_bits_than_elias_s_codes() -> None:
    for s in (1, 4, 16):
        method = build_method("qsgd", {"levels": s})
        u = np.random.default_rng(1).standard_normal(1 << 16).astype(np.float32)
        layout = Layout([TensorSpec("w", (1 << 16,))])
        bits = 8 * sum(map(len, method.encoder(layout).encode(u, EncodeReport())))
        assert bits < 0.8 * method.authors_bits(layout)  # type: ignore[attr-defined]


def test_deep_compression_at_full_density_is_momentum_and_sends_everything_in_the_end() -> None:
    full = build_method("dgc", {"density": 1.0, "momentum": 0.0})
    (u,) = updates(1)
    assert_array_equal(decoded(full, frames_of(full.encoder(LAYOUT, np.zeros(N, np.float32)), u)), u)
    method = build_method("dgc", {"density": 0.02, "momentum": 0.9})
    encoder = method.encoder(LAYOUT, np.zeros(N, np.float32))
    velocity, gathered = np.zeros(N, np.float32), np.zeros(N, np.float32)
    for update in updates(4):  # by the algorithm's own lines, tensor by tensor
        velocity = np.float32(0.9) * velocity + update
        gathered = gathered + velocity
        got = decoded(method, frames_of(encoder, update))
        for spec in LAYOUT.order:
            part = LAYOUT.slots[spec.name]
            if spec.size:
                border = np.sort(np.abs(gathered[part]))[-max(1, round(0.02 * spec.size))]
                mask = np.abs(gathered[part]) >= border
                assert_array_equal(got[part], np.where(mask, gathered[part], 0))
                gathered[part][mask] = velocity[part][mask] = 0


def test_power_iterations_find_a_matrix_of_low_rank_and_project_any_other() -> None:
    rng = np.random.default_rng(0)
    u = updates(1)[0]
    low = (rng.standard_normal((128, 2)) @ rng.standard_normal((2, 96))).astype(np.float32)
    u[LAYOUT.slots["w"]] = low.reshape(-1)
    got = once("powersgd", u, rank=2)
    assert_allclose(got[LAYOUT.slots["w"]], low.reshape(-1), rtol=1e-3, atol=1e-4)
    assert_array_equal(got[LAYOUT.slots["bias"]], u[LAYOUT.slots["bias"]])
    conv = LAYOUT.slots["conv"]  # projection: what is lost is orthogonal to what is sent
    assert square(got[conv]) + square(u[conv] - got[conv]) == pytest.approx(square(u[conv]), rel=1e-4)


def test_a_matrix_of_zeros_does_not_stop_power_iterations() -> None:
    method, (u,) = build_method("powersgd", {}), updates(1)
    encoder = method.encoder(LAYOUT)
    assert not decoded(method, frames_of(encoder, np.zeros(N, np.float32))).any()
    assert square(decoded(method, frames_of(encoder, u))[LAYOUT.slots["w"]]) > 0


def test_the_transform_of_demo_is_orthonormal_and_a_mean_steps_by_signs() -> None:
    method, (u,) = build_method("demo", {}), updates(1)
    coefficients = u.copy()
    transform(coefficients, LAYOUT, forward=True)
    for spec in LAYOUT.order:
        part = LAYOUT.slots[spec.name]
        assert square(coefficients[part]) == pytest.approx(square(u[part]), rel=1e-5)
    back = coefficients.copy()
    transform(back, LAYOUT, forward=False)
    assert_allclose(back, u, rtol=1e-4, atol=1e-5)
    method.invert(coefficients, LAYOUT)
    assert_array_equal(coefficients, np.sign(u))


def test_a_cocktail_looks_at_every_entry_in_its_turn_and_all_workers_at_the_same() -> None:
    method = build_method("cocktail", {"density": 1.0})
    a, b = method.encoder(LAYOUT), method.encoder(LAYOUT)
    first, second = updates(2)
    seen = np.zeros(N, int)
    for _ in range(40):
        got, other = decoded(method, frames_of(a, first)), decoded(method, frames_of(b, second))
        part = (got != 0) | (other != 0)
        seen += part
        assert abs(part.mean() - 0.1) < 0.02
        assert np.abs(got[part] - first[part]).max() <= np.abs(first).max() / 14 * 1.001
    assert (seen > 0).mean() > 0.88  # some are always rounded to zero


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_bins_that_are_decoded_as_their_means_keep_the_mean_and_lose_less_than_they_are_wide(bits: int) -> None:
    (u,) = updates(1)
    got = once("diloco", u, bits=bits)
    for name in ("w", "conv", "bias"):
        part = LAYOUT.slots[name]
        assert got[part].sum(dtype=float) == pytest.approx(u[part].sum(dtype=float), abs=1e-2)
        inner = np.abs(u[part] - u[part].mean()) < 3 * u[part].std() * (
            1 - 4.0 * 2.0**-bits
        )  # not in the outermost bins
        assert np.abs(u[part] - got[part])[inner].max(initial=0) <= 6.1 * u[part].std() / 2**bits
        assert len(np.unique(got[part])) <= 2**bits

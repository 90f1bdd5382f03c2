"""Rules that merge sparse pushes, and pushes of local steps: what they come to, entry by entry and tensor by tensor."""

import numpy as np
import numpy.typing as npt
import pytest
from numpy.testing import assert_allclose

from gradwire_common.errors import ConfigError
from gradwire_common.layout.manifest import Layout, Role, TensorSpec
from gradwire_common.methods.frames import encode_exact
from gradwire_common.methods.registry import build_method
from gradwire_server.aggregation import rows
from gradwire_server.aggregation.push import Push
from gradwire_server.aggregation.registry import make_rule
from gradwire_server.aggregation.rule import Mean
from gradwire_server.aggregation.settings import AggregationSettings

F32 = npt.NDArray[np.float32]
LAYOUT = Layout(
    [
        TensorSpec("large", (80, 60)),
        TensorSpec("small", (7, 5)),
        TensorSpec("none", (0,)),
        TensorSpec("bias", (11,)),
        TensorSpec("mean", (3,), role=Role.BUFFER),
    ]
)
N = LAYOUT.n_parameters


def pushed(entries: F32, samples: int = 1) -> Push:
    units = LAYOUT.pushed(with_buffers=True)
    return Push(memoryview(b"".join(encode_exact(entries, units))), samples, with_buffers=True)


def merged(name: str, updates: list[F32], samples: list[int] | None = None, **options: str) -> Mean:
    rule = make_rule(AggregationSettings(name, options), LAYOUT, build_method("raw", {}))
    for slot, (update, n) in enumerate(zip(updates, samples or [1] * len(updates), strict=True)):
        rule.add(pushed(update, n), slot)
    return rule.finish()


def sparse_updates(n: int, density: float = 0.2) -> list[F32]:
    rng = np.random.default_rng(0)
    return [
        (rng.standard_normal(LAYOUT.size) * (rng.random(LAYOUT.size) < density)).astype(np.float32) for _ in range(n)
    ]


@pytest.fixture(params=[1 << 25, 5000])
def _parts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoded at once, and in parts that cut tensors."""
    monkeypatch.setattr(rows, "ROWS_BYTES", request.param)


@pytest.mark.usefixtures("_parts")
def test_senders_mean_is_the_mean_of_those_that_sent_an_entry() -> None:
    updates, samples = sparse_updates(4), [1, 2, 3, 10]
    table = np.stack(updates).astype(np.float64)
    for weights in ("equal", "samples"):
        w = np.array(samples if weights == "samples" else [1] * 4, float)[:, None]
        sent = (w * (table != 0)).sum(0)
        want = np.divide((w * table).sum(0), sent, out=np.zeros(LAYOUT.size), where=sent > 0)
        got = merged("senders_mean", updates, samples, weights=weights)
        assert got.with_buffers
        assert_allclose(got.entries[:N], want[:N], rtol=1e-6)
        assert_allclose(got.entries[N:], ((w * table).sum(0) / w.sum())[N:], rtol=1e-6, atol=1e-9)


@pytest.mark.usefixtures("_parts")
def test_with_the_median_clip_no_tensor_of_a_push_is_longer_than_the_median_of_them() -> None:
    updates = sparse_updates(3, 1.0)
    updates[1][LAYOUT.slots["small"]] *= 1000
    got = merged("senders_mean", updates, clip="median")
    norms = [np.linalg.norm(update[LAYOUT.slots["small"]].astype(float)) for update in updates]
    scaled = [
        update[LAYOUT.slots["small"]] * min(1, np.median(norms) / norm)
        for update, norm in zip(updates, norms, strict=True)
    ]
    assert_allclose(got.entries[LAYOUT.slots["small"]], np.mean(scaled, axis=0), rtol=1e-5)
    assert got.treated[1].scale < 0.002


@pytest.mark.usefixtures("_parts")
def test_the_radial_mean_is_as_long_as_the_pushes_and_points_where_they_do() -> None:
    updates, samples = sparse_updates(3, 1.0), [1, 1, 6]
    got = merged("radial_mean", updates, samples, weights="samples")
    shares = np.array(samples) / 8
    for name in ("large", "small", "bias"):
        parts = [update[LAYOUT.slots[name]].astype(float) for update in updates]
        lengths = [np.linalg.norm(part) for part in parts]
        direction = sum(s * part / length for s, part, length in zip(shares, parts, lengths, strict=True))
        want = direction / np.linalg.norm(direction) * (shares @ lengths)
        assert_allclose(got.entries[LAYOUT.slots[name]], want, rtol=1e-4, atol=1e-6)
    assert_allclose(got.entries[N:], shares @ np.stack(updates)[:, N:], rtol=1e-5)


@pytest.mark.parametrize("name", ["senders_mean", "radial_mean"])
def test_pushes_of_zeros_and_a_push_alone_come_to_themselves(name: str) -> None:
    zeros = np.zeros(LAYOUT.size, np.float32)
    assert not merged(name, [zeros, zeros]).entries.any()
    (update,) = sparse_updates(1)
    assert_allclose(merged(name, [update]).entries, update[: N + 3], rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("senders_mean", {"weights": "tokens"}, "senders_mean: weights: got 'tokens', want samples or equal"),
        ("senders_mean", {"clip": "mean"}, "senders_mean: clip: got 'mean', want none or median"),
        ("radial_mean", {"weights": 3}, "radial_mean: weights: got 3, want samples or equal"),
        ("radial_mean", {"clip": "median"}, "unknown option 'clip'; want one of weights"),
    ],
)
def test_options_that_cannot_be_are_refused(name: str, options: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        merged(name, [], **options)

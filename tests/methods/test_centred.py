"""Bucket means and a wider dead zone: options of the entropy method that lose less for the same bits."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from gradwire_common.codec.frames import read_header
from gradwire_common.errors import BitstreamError, ConfigError
from gradwire_common.layout.manifest import Layout, TensorSpec
from gradwire_common.methods.centred import BUCKETS, PLACES, TRAILER_BYTES
from gradwire_common.methods.method import EncodeReport, Method
from gradwire_common.methods.registry import build_method
from gradwire_common.methods.update import add_update, check_update, decode_update
from gradwire_common.settings.config import Config
from gradwire_worker.runner import run_worker
from running import running_server

F32 = npt.NDArray[np.float32]
GOLDEN = Path(__file__).parent / "golden"
N = 1 << 18
LAYOUT = Layout([TensorSpec("w", (N,))])
SMALL = Layout([TensorSpec("w", (70, 60)), TensorSpec("b", (9,))])


def gennorm(beta: float, n: int = N, seed: int = 0) -> F32:
    """GenNorm entries of deviation 1."""
    rng = np.random.default_rng(seed)
    values = rng.standard_gamma(1 / beta, n) ** (1 / beta) * rng.choice([-1, 1], n)
    return np.asarray(values / values.std(), np.float32)


def coded(method: Method, u: F32, layout: Layout = LAYOUT) -> tuple[float, F32, F32]:
    """Bits an entry, what is decoded, and what the memory got."""
    memory = np.zeros_like(u)
    data = b"".join(method.encoder(layout, memory).encode(u, EncodeReport()))
    check_update(data, layout.parameters, method)
    out = np.empty_like(u)
    decode_update(data, layout.parameters, out, method)
    return 8 * len(data) / u.size, out, memory


@pytest.mark.parametrize(
    ("beta", "bits", "without", "most"),
    [
        (0.8, 0.1, 0.861, 0.790),
        (1.0, 0.1, 0.900, 0.833),
        (0.8, 0.2, 0.750, 0.668),
        (1.0, 0.5, 0.590, 0.490),
        (1.0, 1.0, 0.318, 0.266),
    ],
)
def test_means_and_a_dead_zone_lose_less_at_the_same_bits(
    beta: float, bits: float, without: float, most: float
) -> None:
    u, got = gennorm(beta), {}
    for name, options in {"plain": {}, "means": {"means": True}, "both": {"means": True, "dead_zone": 0.6}}.items():
        spent, decoded, memory = coded(build_method("entropy", {"bits": bits, **options}), u)
        assert spent == pytest.approx(bits, rel=0.04)
        assert_allclose(decoded + memory, u, atol=1e-5)
        got[name] = float(np.square(memory, dtype=np.float64).mean())
    assert got["plain"] == pytest.approx(without, rel=0.015)
    assert got["means"] < most
    assert got["both"] < 1.003 * got["means"]


def test_a_level_is_the_mean_of_the_entries_that_it_stands_for() -> None:
    u = gennorm(0.7)
    method = build_method("entropy", {"bits": 0.7, "means": True})
    _, decoded, _ = coded(method, u)
    frame = next(method.encoder(LAYOUT).encode(u, EncodeReport()))
    step = float(read_header(frame).quantizer.parameter)
    for bucket in range(1, BUCKETS + 1):
        members = np.rint(np.abs(u) / np.float32(step)) == bucket
        (level,) = np.unique(np.abs(decoded[members]))
        assert level == pytest.approx(np.abs(u[members]).mean(dtype=float), abs=0.51 * step / PLACES + 1e-6)
    beyond = np.rint(np.abs(u) / np.float32(step)) > BUCKETS
    assert beyond.any()
    assert_allclose(np.abs(decoded[beyond]) / step, np.rint(np.abs(u[beyond]) / step), rtol=1e-6)


def test_nothing_below_the_dead_zone_is_sent_and_all_else_is() -> None:
    u = gennorm(1.0)
    method = build_method("entropy", {"bits": 1.0, "dead_zone": 0.8})
    frame = next(method.encoder(LAYOUT).encode(u, EncodeReport()))
    border = 0.8 * float(read_header(frame).quantizer.parameter)
    _, decoded, _ = coded(method, u)
    assert_array_equal(decoded != 0, np.abs(u) >= np.float32(border))


def test_both_are_off_by_default_and_options_that_cannot_be_are_refused() -> None:
    method = build_method("entropy", {})
    assert (method.options["means"], method.options["dead_zone"]) == (False, 0.5)
    assert (method.family, build_method("entropy", {"means": True}).family) == ("entries", "entries with means")
    u = gennorm(1.0, SMALL.n_parameters)
    plain = [
        b"".join(build_method("entropy", o).encoder(SMALL).encode(u, EncodeReport())) for o in ({}, {"dead_zone": 0.5})
    ]
    assert plain[0] == plain[1]
    for name, value in (("means", True), ("dead_zone", 0.7)):
        with pytest.raises(
            ConfigError, match=f"{name}: got .* with quantizer float8-1-5-2, want it with uniform alone"
        ):
            build_method("entropy", {"quantizer": "float8-1-5-2", name: value})
    with pytest.raises(ConfigError, match="dead_zone"):
        build_method("entropy", {"dead_zone": 0.4})


@pytest.mark.parametrize(
    "u", [np.zeros(SMALL.n_parameters), np.full(SMALL.n_parameters, 3.0), np.eye(1, SMALL.n_parameters)[0]]
)
def test_updates_without_any_spread_come_back(u: npt.NDArray[np.float64]) -> None:
    for bits in (0.1, 2.0):
        method = build_method("entropy", {"bits": bits, "means": True, "dead_zone": 0.7})
        _, decoded, memory = coded(method, u.astype(np.float32), SMALL)
        assert_allclose(decoded + memory, u, atol=1e-5)


def test_adding_is_decoding_times_a_weight_and_a_broadcast_keeps_the_means() -> None:
    method = build_method("entropy", {"bits": 0.5, "means": True}).broadcast(0.3)
    assert (method.options["means"], method.options["bits"]) == (True, 0.3)
    u = gennorm(1.0, SMALL.n_parameters)
    data = b"".join(method.encoder(SMALL).encode(u, EncodeReport()))
    total, out = np.zeros_like(u), np.empty_like(u)
    add_update(data, SMALL.parameters, 3.0, total, method)
    decode_update(data, SMALL.parameters, out, method)
    assert_array_equal(total, np.float32(3) * out)


def test_a_golden_frame_with_means_is_read_as_it_was_written() -> None:
    frame, told = (GOLDEN / "means.frame").read_bytes(), json.loads((GOLDEN / "means.json").read_text())
    layout = Layout([TensorSpec("golden", (told["n"],))])
    out = np.empty(told["n"], np.float32)
    decode_update(frame, layout.parameters, out, build_method("entropy", {"means": True}))
    values, counts = np.unique(out, return_counts=True)
    assert_array_equal(values, np.array(told["levels"], np.float32))
    assert counts.tolist() == told["counts"]
    assert np.flatnonzero(out)[:20].tolist() == told["first"]


def test_damaged_means_are_refused() -> None:
    method = build_method("entropy", {"bits": 0.5, "means": True})
    u = gennorm(1.0, SMALL.n_parameters)
    frame = next(method.encoder(SMALL).encode(u, EncodeReport()))
    (unit, *_) = SMALL.parameters
    check_update(frame, [unit], method)
    for place in range(len(frame) - TRAILER_BYTES, len(frame)):
        damaged = bytearray(frame)
        damaged[place] ^= 4
        with pytest.raises(BitstreamError, match="frame of w: the means behind a frame are damaged"):
            check_update(bytes(damaged), [unit], method)
    with pytest.raises(BitstreamError):
        check_update(frame[:-1], [unit], method)
    with pytest.raises(BitstreamError, match="6 bytes follow the last of 1 frames"):
        check_update(frame, [unit], build_method("entropy", {}))

    @given(st.binary(min_size=1, max_size=4), st.integers(0, len(frame) - 1))
    def damage(data: bytes, place: int) -> None:
        got = frame[:place] + data + frame[place + len(data) :]
        if got != frame:
            with pytest.raises(BitstreamError):
                check_update(got, [unit], method)

    damage()


def test_workers_that_encode_during_the_backward_pass_train_with_them(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "runs": tmp_path, "workers": 1, "rounds": 30, "evaluate_every": 30, "threads": 1, "bits": 0.5, "overlap": True,
        "method_options": {"means": True, "dead_zone": 0.6},
    }  # fmt: skip
    try:
        with running_server(Config.load(None, {**settings, "listen": "127.0.0.1:0"})) as server:
            run_worker(Config.load(None, {**settings, "server": server.address, "device": "cpu"}))
            server.join()
    finally:
        torch.use_deterministic_algorithms(False)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    accuracy = next(line for line in lines if line["kind"] == "evaluation")["metrics"]["accuracy"]["mean"]
    assert accuracy > 0.5

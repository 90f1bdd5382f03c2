"""A format that the packages do not have, registered from outside, trains two workers: one is killed and resumed."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from unittest import mock

import numpy as np
import numpy.typing as npt
import pytest

from gradwire_common.codec import format_names
from gradwire_common.codec.formats import BucketLayout, Format, Parameter, Quantizer, format_named, register, registry
from gradwire_common.codec.frames import add_frame, decode_frame, encode_frame, read_header
from gradwire_common.codec.kernels import grids
from gradwire_common.codec.kernels.grids import Grid
from gradwire_common.codec.model.fit import fit_gennorm
from gradwire_common.codec.model.gennorm import GenNorm
from gradwire_common.codec.model.tensor_fit import TensorFit, fit_tensor
from gradwire_common.errors import BitstreamError, ConfigError, UsageError
from gradwire_common.settings.config import Config
from gradwire_worker.remote_optimizer import RemoteOptimizer
from gradwire_worker.session import SessionOptions
from running import running_server
from worker.toys import (
    assert_same_state,
    batches,
    loss_of,
    perceptron,
    run_together,
    server_config,
    state_of,
    take_step,
)

F32 = npt.NDArray[np.float32]
KILLED_AFTER, STEPS = 4, 9
SAMPLES = {name: batches(STEPS, seed=seed) for seed, name in enumerate("ab")}


@dataclass(frozen=True, eq=False)
class TernaryFormat:
    """Three levels, as far from zero as the typical entry of a tensor, which its fit tells."""

    name: ClassVar[str] = "toy"
    number: ClassVar[int] = 77
    parameter: ClassVar[Parameter] = Parameter("toy level", 2.0**-126, 2.0**126)
    buckets: ClassVar[BucketLayout] = BucketLayout(1, (0,), (0,), any_origin=False)
    takes_bits: ClassVar[bool] = False
    needs_fit: ClassVar[bool] = True
    exact: ClassVar[bool] = False
    nominal_bits: ClassVar[float] = 1.6
    raw_dtype: ClassVar[str] = "i1"

    def lower_borders(self, magnitudes: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        return np.array([0.0, 0.5, np.inf])[np.minimum(magnitudes, 2)]

    def build(self, parameter: float = 0.0) -> "Ternary":
        return Ternary(self.parameter.rounded(parameter))

    def choose(self, fit: TensorFit, step: float) -> "Ternary":
        return self.build(self.parameter.nearest(1.5 * fit.mean_square**0.5))


TOY = TernaryFormat()


@pytest.fixture(autouse=True, scope="module")
def registered():
    """The toy among the formats, while this file's tests run."""
    names = mock.patch.object(format_names, "_names", [*format_names.format_names()])
    with names, mock.patch.dict(registry._by_name), mock.patch.dict(registry._by_number):
        register(TOY)
        yield


@dataclass(frozen=True)
class Ternary:
    """-level, 0 and level."""

    level: float
    format: ClassVar[TernaryFormat] = TOY
    magnitudes: ClassVar[F32] = np.empty(0, np.float32)

    @property
    def parameter(self) -> float:
        return self.level

    @property
    def unit(self) -> float:
        return self.level

    @property
    def dead_zone(self) -> float:
        return self.level / 2

    @property
    def largest(self) -> float:
        return self.level

    def quantize(self, x: F32) -> npt.NDArray[np.int8]:
        steps = x * (np.float32(1) / np.float32(self.level))
        return np.rint(np.clip(steps, -1, 1)).astype(np.int8)

    def dequantize(self, symbols: npt.NDArray[np.int8]) -> F32:
        return symbols.astype(np.float32) * np.float32(self.level)

    def check_symbols(self, symbols: npt.NDArray[np.int8]) -> None:
        if symbols.size and (symbols.min() < -1 or symbols.max() > 1):
            raise BitstreamError("frame has a symbol beyond 1")

    def grid(self, raw_bits: int, origin: int, n_coded: int) -> Grid:
        level, none = np.float32(self.level), np.float32(0)
        return Grid(grids.UNIFORM, np.float32(1) / level, level, 1, none, none, 1, 0, raw_bits, origin, 2, n_coded)

    def predict(self, model: GenNorm) -> tuple[None, None]:
        return None, None


def _typed(form: Format, quantizer: Quantizer) -> None:
    """What type checkers hold against the Protocols."""


_typed(TOY, Ternary(1.0))


def entries(n: int) -> F32:
    return np.random.default_rng(n).laplace(size=n).astype(np.float32)


@pytest.mark.parametrize("n", [0, 1, 700, 100_000])
@pytest.mark.parametrize("options", [{}, {"raw": True}, {"explicit_lengths": True}], ids=str)
@pytest.mark.parametrize("level", [0.1, 1.5, 6.0])
def test_frames_hold_the_levels_and_the_residual_the_rest(n, options, level):
    values, quantizer = entries(n), Ternary(float(np.float32(level)))
    residual = np.empty_like(values)
    frame = encode_frame(values, quantizer, residual=residual, **options)
    levels = quantizer.dequantize(quantizer.quantize(values))
    assert read_header(frame).quantizer == quantizer
    np.testing.assert_array_equal(decode_frame(frame), levels)
    np.testing.assert_array_equal(residual, values - levels)
    added = np.ones_like(values)
    add_frame(frame, 0.25, added)
    np.testing.assert_array_equal(added, np.float32(1) + np.float32(0.25) * levels)


def test_symbols_take_their_entropy():
    values = entries(100_000)
    quantizer = TOY.choose(fit_tensor(values), 0.0)
    _, counts = np.unique(quantizer.quantize(values), return_counts=True)
    entropy = -float(counts @ np.log2(counts / values.size))
    assert 8 * len(encode_frame(values, quantizer, fit_gennorm(values))) < 1.01 * entropy + 8 * 64


def test_settings_know_the_name():
    assert Config.load(None, {"quantizer": "toy"}).uplink.format is TOY
    with pytest.raises(ConfigError, match=r"quantizer: got 'toys', want 'uniform', .*'lossless', 'toy' or 'float32'"):
        Config.load(None, {"quantizer": "toys"})


def test_names_and_numbers_are_of_one_format():
    register(TOY)  # once more is no harm
    assert format_named("toy") is TOY
    for name, number in (("toy", 78), ("other", 77), ("uniform", 79), ("other", 256)):
        other = type("Other", (TernaryFormat,), {"name": name, "number": number})()
        with pytest.raises(UsageError, match=f"format {name}"):
            register(other)
        with pytest.raises(UsageError, match="not registered"):
            encode_frame(entries(3), type("Quantizer", (Ternary,), {"format": other})(1.0))


def test_two_workers_train_with_it_and_one_is_killed_and_resumed(tmp_path: Path):
    weights = {}
    for name in ("disturbed", "undisturbed"):
        config = server_config(tmp_path / name, quantizer="toy", workers=2, quorum="all", lr=0.3)
        model = perceptron()
        with running_server(config) as server:

            def one(address: str = server.address, model=model) -> None:
                train(address, "a", model, STEPS)

            def other(address: str = server.address, name: str = name) -> None:
                if name == "undisturbed":
                    train(address, "b", perceptron(), STEPS)
                    return
                assert run_apart(address, tmp_path / "state", KILLED_AFTER) == -signal.SIGKILL
                assert run_apart(address, tmp_path / "state", STEPS) == 0

            run_together(one, other)
        weights[name] = state_of(model)
    assert_same_state(weights["disturbed"], weights["undisturbed"])
    before, after = (sum(loss_of(of, batch).item() for batch in SAMPLES["a"]) for of in (perceptron(), model))
    assert after < 0.9 * before


def train(address: str, worker_id: str, model, steps: int, state: Path | None = None) -> None:
    session = SessionOptions(worker_id=worker_id, slot="ab".index(worker_id))
    with RemoteOptimizer(model, address, state=state, session=session) as optimizer:
        while optimizer.next_round <= steps:
            take_step(model, optimizer, SAMPLES[worker_id][optimizer.next_round - 1], samples=8)
        if steps == KILLED_AFTER:
            os.kill(os.getpid(), signal.SIGKILL)


def run_apart(address: str, state: Path, steps: int) -> int:
    """Train worker b in a process of its own; return how that ended."""
    command = [sys.executable, __file__, address, str(state), str(steps)]
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, timeout=200).returncode


if __name__ == "__main__":
    register(TOY)
    train(sys.argv[1], "b", perceptron(seed=5), int(sys.argv[3]), Path(sys.argv[2]))

"""A method that drops entries, registered from outside: its frames are not of the codec, nor of their units' sizes."""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from numpy.testing import assert_array_equal

from gradwire_common.errors import BitstreamError, ConfigError
from gradwire_common.layout.manifest import Layout, TensorSpec, Unit
from gradwire_common.methods.method import EncodeReport
from gradwire_common.methods.registry import METHODS, MethodFactory, build_method
from gradwire_common.methods.update import add_update, check_update, decode_update
from gradwire_worker.remote_optimizer import RemoteOptimizer
from gradwire_worker.session import SessionOptions
from running import RunningServer, copy_as_killed, running_server
from worker.toys import (
    assert_same_state,
    batches,
    loss_of,
    normalized,
    run_together,
    server_config,
    state_of,
    take_step,
)

F32 = npt.NDArray[np.float32]
HEADER = struct.Struct("<II")  # entries sent; index of the first of them
SETTINGS = {"workers": 2, "method": "turns", "method_options": {"every": 3}, "buffers_every": 4, "checkpoint_every": 2}
BATCHES = dict(zip("ab", batches(2, (1, 8, 8), size=32), strict=True))
ROUNDS = 12


@dataclass(frozen=True)
class Turns:
    """Sends one entry of every `every` in each round, the next ones in the next."""

    every: int
    name = family = "turns"
    linear = True
    exact = stored = auto = False
    wants_all = "method turns"
    header_bytes = HEADER.size

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> "Turns":
        if set(options) != {"every"} or not 1 <= options["every"] <= 100:
            raise ConfigError(f"method turns: got options {dict(options)}, want every, from 1 to 100")
        return cls(options["every"])

    @property
    def options(self) -> dict[str, Any]:
        return {"every": self.every}

    @property
    def nominal_bits(self) -> float:
        return 32.0 / self.every

    def frame_length(self, head: bytes | memoryview, unit: Unit) -> int:
        if len(head) < HEADER.size:
            raise BitstreamError(f"frame of {unit}: got {len(head)} bytes, want a header of {HEADER.size}")
        n, first = HEADER.unpack_from(head)
        if first >= self.every or n != len(range(first, len(unit), self.every)):
            raise BitstreamError(f"frame of {unit}: got {n} entries from entry {first}")
        return HEADER.size + 4 * n

    def largest(self, unit: Unit) -> int:
        return HEADER.size + 4 * (len(unit) // self.every + 1)

    def check(self, frame: bytes | memoryview, unit: Unit) -> float:
        if len(frame) != self.frame_length(frame, unit) or not np.isfinite(self._read(frame)[1]).all():
            raise BitstreamError(f"frame of {unit}: got entries that are not finite, or cut")
        return float(np.abs(self._read(frame)[1]).max(initial=0.0))

    def decode(self, frame: bytes | memoryview, unit: Unit, out: F32) -> None:
        out[:] = 0
        self.add(frame, 1.0, unit, out)

    def add(self, frame: bytes | memoryview, weight: float, unit: Unit, out: F32) -> None:
        first, entries = self._read(frame)
        out[first :: self.every] += np.float32(weight) * entries

    def encoder(self, layout: Layout, memory: F32 | None = None) -> "TurnsEncoder":
        return TurnsEncoder(self.every, layout, memory)

    def invert(self, total: F32, layout: Layout) -> None: ...

    def broadcast(self, bits: float | str | None = None) -> "Turns":
        return self

    def _read(self, frame: bytes | memoryview) -> tuple[int, F32]:
        return HEADER.unpack_from(frame)[1], np.frombuffer(frame, "<f4", offset=HEADER.size)


class TurnsEncoder:
    """Whose turn it is, and what waits for its own."""

    def __init__(self, every: int, layout: Layout, memory: F32 | None):
        self.every, self.layout, self.memory = every, layout, memory
        self.turn = 0

    def prepare(self, values: F32, unit: Unit | None = None) -> None:
        if self.memory is not None:
            values[: self.layout.n_parameters] += self.memory

    def encode(self, values: F32, report: EncodeReport, budget: int = 0) -> Iterator[bytes]:
        first, self.turn = self.turn, (self.turn + 1) % self.every
        for unit in self.layout.parameters:
            entries = values[unit.place][first :: self.every]
            frame = HEADER.pack(entries.size, first) + entries.astype("<f4").tobytes()
            if self.memory is not None:
                self.memory[unit.place] = values[unit.place]
                self.memory[unit.place][first :: self.every] = 0
            report.silent &= not entries.any()
            report.n_bytes += len(frame)
            yield frame

    def state(self) -> dict[str, Any]:
        return {"turn": self.turn}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.turn = int(state["turn"])


@pytest.fixture(autouse=True, scope="module")
def registered() -> None:
    METHODS.register("turns", MethodFactory(Turns.from_options))


def test_what_is_decoded_and_what_the_memory_holds_are_the_update() -> None:
    layout = Layout([TensorSpec("large", (5000,)), TensorSpec("small", (7,)), TensorSpec("other", (30, 3))])
    method = build_method("turns", {"every": 4})
    encoder = method.encoder(layout, np.zeros(layout.n_parameters, np.float32))
    rng, total, want = np.random.default_rng(0), np.zeros(layout.n_parameters, np.float32), 0.0
    for _ in range(5):
        u = rng.standard_normal(layout.n_parameters).astype(np.float32)
        encoder.prepare(u)
        data = b"".join(encoder.encode(u, EncodeReport()))
        assert len(data) < layout.n_parameters * 4 / 3
        check_update(data, layout.parameters, method)
        decoded = np.empty_like(u)
        decode_update(data, layout.parameters, decoded, method)
        assert_array_equal(decoded + encoder.memory, u)
        add_update(data, layout.parameters, 2.0, total, method)
        want = want + np.float32(2) * decoded
    assert_array_equal(total, want)


def train(model: torch.nn.Module, optimizer: RemoteOptimizer, worker: str, rounds: int) -> None:
    while optimizer.next_round <= rounds:
        take_step(model, optimizer, BATCHES[worker], samples=32)


class Workers:
    """Two workers of one run, each with a model of its own, whose state is kept in `folder`."""

    def __init__(self, server: RunningServer, folder: Path):
        self._server, self._folder = server, folder
        self.models, self.optimizers = {}, {}
        for worker in "ab":
            self.start(worker)

    def start(self, worker: str) -> int:
        """Begin, or begin again from what was kept; return the round that was resumed after."""
        model = self.models[worker] = normalized()
        self.optimizers[worker] = RemoteOptimizer(
            model, self._server.address, state=self._folder, session=SessionOptions(worker_id=worker)
        )
        return self.optimizers[worker].resumed

    def train(self, rounds: int) -> None:
        run_together(
            *(lambda w=w: train(self.models[w], self.optimizers[w], w, rounds) for w in self.models)  # type: ignore[misc]
        )

    def leave(self) -> None:
        for optimizer in self.optimizers.values():
            optimizer.leave()


def test_two_workers_train_with_it_and_resume_with_the_same_bits_once_killed(tmp_path: Path) -> None:
    runs, states, copies = tmp_path / "runs", tmp_path / "states", tmp_path / "copies"
    with running_server(server_config(tmp_path / "undisturbed", **SETTINGS)) as server:
        workers = Workers(server, tmp_path / "other")
        workers.train(ROUNDS)
        undisturbed = state_of(workers.models["a"])
        workers.leave()
    before, after = (loss_of(model, BATCHES["a"]).item() for model in (normalized(), workers.models["a"]))
    assert after < 0.8 * before

    with running_server(server_config(runs, **SETTINGS)) as server:
        workers = Workers(server, states)
        workers.train(4)
        workers.optimizers["b"].leave()
        assert workers.start("b") == 4
        workers.train(7)
        copies.mkdir()  # as a kill leaves them
        copy_as_killed(runs, copies / "runs")
        copy_as_killed(states, copies / "states")
        workers.leave()
    with running_server(server_config(copies / "runs", resume=True, **SETTINGS)) as server:
        workers = Workers(server, copies / "states")
        assert {optimizer.resumed for optimizer in workers.optimizers.values()} == {7}
        workers.train(ROUNDS)
        assert_same_state(state_of(workers.models["a"]), undisturbed)
        workers.leave()


def test_frames_of_another_method_are_refused_and_so_are_wrong_options(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"method turns: got options \{'every': 0\}, want every, from 1 to 100"):
        server_config(tmp_path, method="turns", method_options={"every": 0})
    layout = Layout([TensorSpec("w", (50,))])
    frames = b"".join(
        build_method("turns", {"every": 2}).encoder(layout).encode(np.ones(50, np.float32), EncodeReport())
    )
    with pytest.raises(BitstreamError, match="frame of w: got 25 entries from entry 0"):
        check_update(frames, layout.parameters, build_method("turns", {"every": 5}))
    with pytest.raises(BitstreamError, match="frame of w"):
        check_update(frames, layout.parameters, build_method("raw", {}))

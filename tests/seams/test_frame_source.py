"""A source of frames defined outside of the packages trains like those inside: over gRPC, killed and resumed."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from gradwire import RemoteOptimizer, SessionOptions
from gradwire_common.methods.method import EncodeReport
from gradwire_worker.sources.frame_source import F32, Due, FrameSource, Joined, Source
from running import running_server
from worker.toys import assert_same_state, batches, loss_of, perceptron, run_together, server_config, state_of

ROUNDS = 6
EVERY = 2
SETTINGS = {"workers": 2, "rounds": ROUNDS, "quantizer": "uniform", "bits": 2.0}


@dataclass(frozen=True)
class Accumulated(Source):
    """Pushes the mean of the gradients of so many steps, scaled up at first."""

    steps: int = EVERY

    @property
    def shared(self) -> dict[str, str]:
        return {"accumulated": str(self.steps)}

    def open(self, joined: Joined) -> "AccumulatedSource":
        return AccumulatedSource(self.steps, joined)


class AccumulatedSource(FrameSource):
    def __init__(self, steps: int, joined: Joined):
        self.taken = 0
        self._steps, self._flat, self._uplink = steps, joined.flat, joined.uplink
        self._sum = self._flat.compute.new_vector(self._flat.layout.n_parameters)
        self._scale = 2.0

    def begin(self, version: int) -> None:
        self.taken = 0
        self._sum[:] = 0

    def step(self, samples: int, loss: float) -> Due | None:
        self._flat.read_gradients(self._uplink.entries)
        self._sum += self._uplink.u
        self.taken += 1
        return Due(samples * self.taken, loss) if self.taken == self._steps else None

    def gather(self, out: F32) -> None:
        out[: self._sum.size] = self._sum * (self._scale / self._steps)
        self._scale = 1 + self._scale / 2

    def frames(self, budget: int, chunk_bytes: int, report: EncodeReport, *, with_buffers: bool) -> Iterator[bytes]:
        return self._uplink.frames(budget, chunk_bytes, report, with_buffers=with_buffers)

    def state(self) -> tuple[dict[str, object], str]:
        return {}, json.dumps({"scale": {"value": self._scale}})

    def load_state(self, tensors: object, told: str) -> None:
        self._scale = json.loads(told)["scale"]["value"]


def trained(folder: Path, killed: bool) -> list[torch.nn.Module]:
    """Train two workers, one of which is killed and comes back after half of the rounds where that is asked for."""
    models = [perceptron(), perceptron()]
    data = [batches(ROUNDS * EVERY, seed=slot) for slot in (0, 1)]

    def work(slot: int, until: int, kill: bool = False) -> None:
        options = SessionOptions(worker_id=f"w{slot}", slot=slot, patience=60)
        with RemoteOptimizer(
            models[slot], server.address, state=folder, source=Accumulated(), session=options
        ) as optimizer:
            assert optimizer.method.name == "entropy"
            while optimizer.version < until:
                batch = data[slot][optimizer.version * EVERY + optimizer.local_steps_taken]
                optimizer.zero_grad()
                loss_of(models[slot], batch).backward()
                optimizer.step(samples=8)
            if kill:  # the server hears nothing of it, and waits
                optimizer._place.session.client._leave = lambda *_: None

    def killed_halfway() -> None:
        work(1, ROUNDS // 2, kill=True)
        models[1] = perceptron(seed=9)
        work(1, ROUNDS)

    second: Callable[[], None] = killed_halfway if killed else lambda: work(1, ROUNDS)
    with running_server(server_config(folder, **SETTINGS, quorum="all")) as server:
        run_together(lambda: work(0, ROUNDS), second)
    return models


def test_a_source_from_outside_trains_and_resumes_with_the_same_bits(tmp_path: Path) -> None:
    one, two = trained(tmp_path / "a", killed=False)
    assert_same_state(state_of(one), state_of(two))
    batch = batches(1, seed=0)[0]
    assert loss_of(one, batch) < loss_of(perceptron(), batch)
    again, resumed = trained(tmp_path / "b", killed=True)
    assert_same_state(state_of(again), state_of(one))
    assert_same_state(state_of(resumed), state_of(one))

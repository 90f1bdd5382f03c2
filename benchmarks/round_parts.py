"""The parts of a round, each timed alone in one process and one thread: what a round would take one after the other."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from statistics import median
from typing import Any

import numpy as np
import torch

from gradwire_common.layout.manifest import Manifest
from gradwire_common.methods.method import EncodeReport, Method
from gradwire_common.settings.config import ServedRun
from gradwire_common.warming import warm_kernels
from gradwire_server.aggregation.push import Push
from gradwire_server.outcome.outcome import ClosedRound, Version
from gradwire_server.versions.broadcast import Update
from gradwire_server.versions.builder import UpdateDraft
from gradwire_server.versions.training import Training
from gradwire_worker.compute.flat_model import FlatModel, manifest_of
from gradwire_worker.session.heading import Heading, UpdateKind
from gradwire_worker.session.replica import Replica
from gradwire_worker.tasks.synthetic import Synthetic

REPEATS = 5


@dataclass(frozen=True, slots=True)
class Parts:
    """Seconds of a round's work, the link's excepted. All but `check` follow each other.

    Attributes:
        compute: of a worker: forward and backward pass, gradients to one vector, residual added.
        encode: of a worker's push.
        decode: of all workers' pushes: checking and adding them up.
        step: mean, optimizer, check of the weights.
        encode_down: of the change of the replica, which takes it in.
        decode_down: of a worker: applying it, digest, new weights into the model.
        check: of one push, once all of it is there; a part of `decode`.
    """

    compute: float
    encode: float
    decode: float
    step: float
    encode_down: float
    decode_down: float
    check: float

    @property
    def total(self) -> float:
        """Sum of all that follow each other."""
        return sum(getattr(self, field.name) for field in fields(self) if field.name != "check")


def time_parts(method: Method, n_workers: int, parameters: int) -> Parts:
    """Do several rounds in this process; return the median of each part."""
    warm_kernels()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    task = Synthetic(parameters)
    model = task.model()
    manifest = manifest_of(model)
    bench = _Round(task, model, manifest, method, n_workers)
    rounds = [bench.run(version) for version in range(1, REPEATS + 2)][1:]
    return Parts(*(median(getattr(each, field.name) for each in rounds) for field in fields(Parts)))


class _Round:
    def __init__(self, task: Synthetic, model: torch.nn.Module, manifest: Manifest, method: Method, n_workers: int):
        self._task, self._model, self._n_workers = task, model, n_workers
        self._flat = FlatModel(model, manifest)
        layout = manifest.layout
        self._u = np.zeros(layout.n_parameters, np.float32)
        self._encoder = method.encoder(layout, np.zeros(layout.n_parameters, np.float32))
        settings = ServedRun(optimizer_options={}, method=method.name, method_options=method.options)
        self._training = Training(manifest, settings)
        weights = self._flat.read_weights()
        self._training.weights.values[:] = weights
        self._training.weights.replica[:] = weights[: layout.n_parameters]
        self._replica = Replica(layout)
        self._replica.set(weights, 0)
        self._replica.method = method.broadcast()

    def run(self, version: int) -> Parts:
        times: list[float] = []

        def timed(work: Callable[[], object]) -> None:
            began = time.perf_counter()
            work()
            times.append(time.perf_counter() - began)

        frames: list[bytes] = []
        training = self._training
        timed(self._compute)
        timed(lambda: frames.extend(self._encoder.encode(self._u, EncodeReport())))
        data = memoryview(b"".join(frames))

        checks: list[float] = []

        def decode() -> None:
            for slot in range(self._n_workers):
                began = time.perf_counter()
                digest = training.check(data, False)
                checks.append(time.perf_counter() - began)
                training.add(Push(data, 1, False, digest), slot)

        timed(decode)
        update, draft = asyncio.run(_version(training, version))
        times += [draft.step_seconds, draft.encode_seconds]
        joined = b"".join(update.frames)
        kind = UpdateKind.WEIGHTS if training.weights.exact else UpdateKind.CHANGE

        def apply() -> None:
            self._replica.begin(Heading(version, kind, with_buffers=False))
            self._replica.add(0, joined)
            self._replica.finish(len(joined), update.digest)
            self._flat.load(self._replica.values)

        timed(apply)
        return Parts(*times, check=median(checks))

    def _compute(self) -> None:
        self._model.zero_grad()
        self._task.loss(self._model, (torch.tensor(1.0),)).backward()  # type: ignore[no-untyped-call]
        self._flat.read_gradients(self._u)
        self._encoder.prepare(self._u)


async def _version(training: Training, number: int) -> tuple[Version, UpdateDraft]:
    """Make the version of the pushes that have been added, all of it in this thread."""

    async def here(work: Callable[..., Any], *arguments: Any) -> Any:
        return work(*arguments)

    async def opened(_: Update) -> None: ...

    draft = UpdateDraft(number, here, opened)
    return await training.version_of(ClosedRound(number, 0.0), draft), draft

"""Workers on the digits in numpy, some of which lie: what a run comes to under each aggregation.

The model has 2,410 parameters in three layers, so that a round takes milliseconds. Workers are threads of this process,
each with a session and a residual of its own; the server is a process.
"""

import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import numpy.typing as npt
from isal.isal_zlib import crc32
from sklearn.datasets import load_digits

from gradwire.local.monitor import Monitor
from gradwire_common.codec.formats import Float32
from gradwire_common.codec.frames import encode_frame
from gradwire_common.errors import GradwireError, RunEndedError
from gradwire_common.layout.manifest import Manifest, TensorSpec
from gradwire_common.methods.method import EncodeReport
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_worker.session import Session, SessionOptions

F32 = npt.NDArray[np.float32]

HIDDEN, CLASSES, PIXELS = 32, 10, 64
MANIFEST = Manifest(
    (
        TensorSpec("first.weight", (PIXELS, HIDDEN)),
        TensorSpec("first.bias", (HIDDEN,)),
        TensorSpec("second.weight", (HIDDEN, CLASSES)),
        TensorSpec("second.bias", (CLASSES,)),
    )
)
N = MANIFEST.layout.n_parameters
N_TEST = 360
TAIL = 20  # versions whose accuracies are averaged: one alone moves by a point by chance
REFUSALS = 10  # in a row, after which a liar gives up
WORKERS, LIARS = 8, 2
FACTOR = 10  # of what liars push, over what they would push if they were honest

SERVER = {
    "listen": "127.0.0.1:0",
    "workers": WORKERS,
    "rounds": 150,
    "bits": 2.0,
    "lr": 0.2,
    "buffers_every": 0,
    "evaluate_every": 0,
    "checkpoint_every": 0,
    "quorum": WORKERS - LIARS,
    "deadline": 20.0,  # for pushes that never count; liars are quarantined before it passes
}

# what is pushed in place of an honest gradient, (N,), and how many samples are told; None for frames of NaN
Lie = Callable[[F32, np.random.Generator], tuple[F32 | None, int]]
LIES: dict[str, Lie | None] = {
    "nothing": None,
    "sign flipped, times 10": lambda honest, _: (-FACTOR * honest, 1),
    "random, 10 times as long": lambda honest, rng: (random_of(honest, rng), 1),
    "NaN": lambda _honest, _rng: (None, 1),
    "samples 2^32": lambda honest, rng: (random_of(honest, rng), 2**32),
}


@dataclass(frozen=True)
class Data:
    """What workers draw their batches from.

    Attributes:
        batch: images of each gradient.
        own_shards: whether each worker has an eighth of the training images, rather than all of them.
    """

    batch: int = 256
    own_shards: bool = False

    def images(self, slot: int) -> npt.NDArray[np.int64]:
        """Return the places of the training images of a worker."""
        places = np.arange(N_TEST, len(digits()[0]))
        return places[slot::WORKERS] if self.own_shards else places


@dataclass(frozen=True)
class Outcome:
    """What a run came to.

    Attributes:
        accuracy: mean of the last TAIL versions', on the test images.
        named: of each worker by id: its pushes that were clipped, outlying, refused, and the mean factor of clipping.
        version: the last.
    """

    accuracy: float
    named: Mapping[str, pb.WorkerStatus]
    version: int


def random_of(honest: F32, rng: np.random.Generator) -> F32:
    """Return a random direction, FACTOR times as long as an honest gradient."""
    values = rng.standard_normal(len(honest), np.float32)
    return np.float32(FACTOR * np.linalg.norm(honest) / np.linalg.norm(values)) * values


@cache
def digits() -> tuple[F32, npt.NDArray[np.int64]]:
    """Return all images, (1797, 64), and their classes in an order that is always the same; the first are the test."""
    images, classes = load_digits(return_X_y=True)
    order = np.random.default_rng(1797).permutation(len(images))
    return (images[order] / 16).astype(np.float32), classes[order].astype(np.int64)


def initial(seed: int) -> F32:
    """Return initial weights, (N,)."""
    rng = np.random.default_rng(seed)
    parts = [rng.standard_normal(spec.size) / np.sqrt(spec.shape[0]) for spec in MANIFEST.tensors]
    return np.concatenate(
        [part * (len(spec.shape) > 1) for part, spec in zip(parts, MANIFEST.tensors, strict=True)]
    ).astype(np.float32)


def tensors_of(values: F32) -> list[F32]:
    """Return the views of the tensors of a flat vector, (N,)."""
    return [values[MANIFEST.layout.slots[spec.name]].reshape(spec.shape) for spec in MANIFEST.tensors]


def gradient(values: F32, x: F32, y: npt.NDArray[np.int64]) -> F32:
    """Return the gradient of the mean cross-entropy, (N,)."""
    first, first_bias, second, second_bias = tensors_of(values)
    hidden = np.maximum(x @ first + first_bias, 0)
    scores = hidden @ second + second_bias
    likely = np.exp(scores - scores.max(1, keepdims=True))
    likely /= likely.sum(1, keepdims=True)
    likely[np.arange(len(y)), y] -= 1
    likely /= len(y)
    back = (likely @ second.T) * (hidden > 0)
    out = np.empty(N, np.float32)
    for place, part in zip(tensors_of(out), (x.T @ back, back.sum(0), hidden.T @ likely, likely.sum(0)), strict=True):
        place[:] = part
    return out


def accuracy(values: F32) -> float:
    """Return the share of test images that are right."""
    x, y = digits()
    first, first_bias, second, second_bias = tensors_of(values)
    scores = np.maximum(x[:N_TEST] @ first + first_bias, 0) @ second + second_bias
    return float((scores.argmax(1) == y[:N_TEST]).mean())


def nan_frames() -> list[bytes]:
    """Return frames that are whole, and hold a NaN."""
    frames = []
    for unit in MANIFEST.layout.parameters:
        frame = bytearray(encode_frame(np.zeros(len(unit), np.float32), Float32(), raw=True))
        frame[-8:-4] = np.float32(np.nan).tobytes()
        frame[-4:] = crc32(frame[:-4]).to_bytes(4, "little")
        frames.append(bytes(frame))
    return frames


class Worker:
    """One worker of a run.

    Args:
        session: of the run.
        places: of its training images.
        batch: images of each gradient.
        lie: what it pushes in place of a gradient; None for an honest one.
        seed: of its batches and lies.
    """

    def __init__(self, session: Session, places: npt.NDArray[np.int64], batch: int, lie: Lie | None, seed: list[int]):
        self._session = session
        self._places = places
        self._batch = batch
        self._lie = lie
        self._rng = np.random.default_rng(seed)
        self._encoder = session.method.encoder(MANIFEST.layout, None if lie else np.zeros(N, np.float32))

    def train(self, seen: list[F32]) -> None:
        """Push until the run ends, or pushes are refused for good; append the weights of every step to `seen`."""
        refusals = 0
        while not self._session.ended and refusals < REFUSALS:
            with self._session.held() as replica:
                seen.append(replica.values[:N].copy())
            frames, samples = self._update(seen[-1])
            try:
                self._session.push(frames, samples)
                refusals = 0
            except RunEndedError:
                break
            except GradwireError:
                if self._lie is None:
                    raise
                refusals += 1
        self._session.wait_for_the_end()

    def _update(self, weights: F32) -> tuple[list[bytes], int]:
        """Return frames and samples of the next push."""
        x, y = digits()
        batch = self._rng.choice(self._places, self._batch, replace=False)
        update: F32 | None = gradient(weights, x[batch], y[batch])
        samples = 1
        if self._lie is not None:
            assert update is not None
            update, samples = self._lie(update, self._rng)
        if update is None:
            return nan_frames(), samples
        self._encoder.prepare(update)
        return list(self._encoder.encode(update, EncodeReport())), samples


def work(
    address: str, slot: int, seed: int, data: Data, lie: Lie | None, at_end: threading.Barrier, seen: list[F32]
) -> None:
    """Train as the worker of `slot` until the run ends; wait for the others, and leave.

    Appends the weights that it holds to `seen` where its slot is the last.
    """
    options = SessionOptions(worker_id=f"{'liar' if lie else 'honest'}-{slot}", slot=slot)
    with Session.join(address, MANIFEST, lambda: initial(seed), options) as session:
        worker = Worker(session, data.images(slot), data.batch, lie, [seed, slot])
        try:
            worker.train(seen if slot == WORKERS - 1 else [])
        except GradwireError as error:
            print(f"{options.worker_id}: {error}", file=sys.stderr)
        at_end.wait(600)
        at_end.wait(120)


@contextmanager
def server(runs: Path, settings: Mapping[str, Any]) -> Iterator[str]:
    """Serve a run of such settings in a process of its own; yield its address."""
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    command = [sys.executable, "-m", "gradwire", "server", "--runs", str(runs), *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"listening on (\S+)", process.stdout.readline())
            assert found, f"the server did not listen with {settings}"
            yield found[1]
            process.wait(60)
        finally:
            process.kill()


def run(runs: Path, lie: str, seed: int = 0, data: Data | None = None, **settings: Any) -> Outcome:
    """Train, LIARS of the WORKERS lying; return what it came to.

    Args:
        runs: folder of the run.
        lie: one of LIES.
        seed: of weights and batches.
        data: what workers draw from; Data() when None.
        settings: the server's, beside SERVER.
    """
    at_end, seen = threading.Barrier(WORKERS + 1), list[F32]()
    with server(runs, {**SERVER, **settings}) as address:
        threads = [
            threading.Thread(
                target=work,
                args=(address, slot, seed, data or Data(), LIES[lie] if slot < LIARS else None, at_end, seen),
                daemon=True,
            )
            for slot in range(WORKERS)
        ]
        for thread in threads:
            thread.start()
        at_end.wait(600)
        with Monitor(address, 10) as monitor:
            reply = monitor.poll()
        at_end.wait(120)
        for thread in threads:
            thread.join(120)
    named = {worker.worker_id: worker for worker in reply.workers}
    return Outcome(fmean(map(accuracy, seen[-TAIL:])), named, reply.version)

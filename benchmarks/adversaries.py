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
from typing import Any

import numpy as np
import numpy.typing as npt
from isal.isal_zlib import crc32
from sklearn.datasets import load_digits

from gradwire.local.monitor import Monitor
from gradwire_common.codec.formats import Float32
from gradwire_common.codec.frames import encode_frame
from gradwire_common.errors import GradwireError
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
BATCH = 32
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
    "deadline": 1.0,  # for pushes that never count
}

# what is pushed in place of an honest gradient, (N,), and of how many samples; None for frames of NaN
Lie = Callable[[F32, np.random.Generator], tuple[F32 | None, int]]
LIES: dict[str, Lie | None] = {
    "nothing": None,
    "sign flipped, times 10": lambda honest, _: (-FACTOR * honest, BATCH),
    "random, 10 times as long": lambda honest, rng: (random_of(honest, rng), BATCH),
    "NaN": lambda _honest, _rng: (None, BATCH),
    "samples 2^32": lambda honest, rng: (random_of(honest, rng), 2**32),
}


@dataclass(frozen=True)
class Outcome:
    """What a run came to.

    Attributes:
        accuracy: of the last version, on the test images.
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


def work(address: str, slot: int, seed: int, lie: Lie | None, at_end: threading.Barrier, out: dict[int, F32]) -> None:
    """Push the gradients of a shard, or lies, until the run ends; wait for the others, and leave."""
    x, y = digits()
    rng = np.random.default_rng((seed, slot))
    shard = np.arange(N_TEST + slot, len(x), WORKERS)
    options = SessionOptions(worker_id=f"{'liar' if lie else 'honest'}-{slot}", slot=slot)
    with Session.join(address, MANIFEST, lambda: initial(seed), options) as session:
        encoder = session.method.encoder(MANIFEST.layout, None if lie else np.zeros(N, np.float32))
        try:
            while not session.ended:
                batch = rng.choice(shard, BATCH, replace=False)
                with session.held() as replica:
                    update: F32 | None = gradient(replica.values[:N], x[batch], y[batch])
                samples = BATCH
                if lie:
                    assert update is not None
                    update, samples = lie(update, rng)
                if update is None:
                    frames = nan_frames()
                else:
                    encoder.prepare(update)
                    frames = list(encoder.encode(update, EncodeReport()))
                try:
                    session.push(frames, samples)
                except GradwireError:
                    if not lie:
                        raise
                    session.wait_for(session.version + 1)
        except GradwireError:
            if not lie and not session.ended:
                raise
        session.wait_for_the_end()
        out[slot] = session.replica.values[:N].copy()
        at_end.wait(120)
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


def run(runs: Path, lie: str, seed: int = 0, **settings: Any) -> Outcome:
    """Train, LIARS of the WORKERS lying; return what it came to.

    Args:
        runs: folder of the run.
        lie: one of LIES.
        seed: of weights and batches.
        settings: the server's, beside SERVER.
    """
    at_end, out = threading.Barrier(WORKERS + 1), dict[int, F32]()
    with server(runs, {**SERVER, **settings}) as address:
        threads = [
            threading.Thread(
                target=work, args=(address, slot, seed, LIES[lie] if slot < LIARS else None, at_end, out), daemon=True
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
    return Outcome(accuracy(out[WORKERS - 1]), named, reply.version)

"""An honest run of two plain workers, and the weights that it must end with whatever others do beside it."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.testing import assert_array_equal

from gradwire_common.layout.manifest import Manifest
from gradwire_common.settings.config import Config
from running import RunningServer, running_server
from server.plain_worker import MANIFEST, PlainWorker, gradient_of, initial_weights

SAMPLES = 16
LR = np.float32(0.1)


def gradient(worker: str, round_: int, manifest: Manifest = MANIFEST) -> np.ndarray:
    """What an honest worker pushes."""
    return gradient_of(100 * round_ + ord(worker), manifest.layout.n_parameters)


def undisturbed(rounds: int, first: np.ndarray | None = None, manifest: Manifest = MANIFEST) -> np.ndarray:
    """The oracle: SGD at lr 0.1 on the means of two honest workers, in float32, in the order of slots."""
    weights = (initial_weights(manifest.layout.size) if first is None else first).copy()
    n = manifest.layout.n_parameters
    for round_ in range(1, rounds + 1):
        total = np.zeros(n, np.float32)
        for worker in "ab":
            total += np.float32(SAMPLES) * gradient(worker, round_, manifest)
        torch.from_numpy(weights[:n]).add_(torch.from_numpy(total / np.float32(2 * SAMPLES)), alpha=-0.1)
    return weights


class HonestPair:
    """Two workers that take round after round."""

    def __init__(self, address: str, manifest: Manifest = MANIFEST):
        self.manifest = manifest
        self.workers = [PlainWorker(address, name, manifest) for name in "ab"]
        self.version = 0

    def begin(self, first: np.ndarray | None = None) -> "HonestPair":
        """Join, with these initial weights."""
        for worker in self.workers:
            worker.claim = secrets.token_bytes(32)
            worker.begin(first)
        self.version = self.workers[0].version
        return self

    def play(self, rounds: int = 1) -> None:
        """Take so many further rounds."""
        for _ in range(rounds):
            self.version += 1
            for worker in self.workers:
                worker.push(gradient(worker.worker_id, self.version, self.manifest), self.version, SAMPLES)
            for worker in self.workers:
                header = worker.receive()
                assert header.version == self.version, header

    def end(self, server: RunningServer) -> np.ndarray:
        """Leave the run, which must be over and without an error; return its weights."""
        for worker in self.workers:
            worker.leave()
        server.join()
        assert_array_equal(self.workers[0].flat, self.workers[1].flat)
        return self.workers[0].flat

    def close(self) -> None:
        """Close both connections."""
        for worker in self.workers:
            worker.channel.close()


@contextmanager
def honest_pair(address: str, manifest: Manifest = MANIFEST) -> Iterator[HonestPair]:
    """Make two honest workers that have not joined yet."""
    pair = HonestPair(address, manifest)
    try:
        yield pair
    finally:
        pair.close()


@contextmanager
def serving(config: Config) -> Iterator[RunningServer]:
    """Serve `config` while the body runs; once the run has ended, wait for nobody that does not leave."""
    with running_server(config, grace=0.2) as server:
        yield server

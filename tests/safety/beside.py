"""Two honest workers, and others beside them who do what no worker may."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from gradwire_common.v1 import parameter_server_pb2 as pb
from running import RunningServer, running_server
from server.plain_worker import PlainWorker, gradient_of, initial_weights, plain_workers, run_config


@contextmanager
def beside_two(
    folder: Path, others: int = 1, manifest: Any = None, **changes: Any
) -> Iterator[tuple[RunningServer, tuple[PlainWorker, ...], list[PlainWorker]]]:
    """Serve a run without end; yield the server, two honest workers at slots 0 and 1, and others yet to join."""
    config = run_config(folder, **{"rounds": 0, "evaluate_every": 0, **changes})
    options = {} if manifest is None else {"manifest": manifest}
    with running_server(config) as server, plain_workers(server.address, 2 + others, **options) as (a, b, *rest):
        for worker in (a, b):
            worker.begin(initial_weights(worker.layout.size))
        yield server, (a, b), rest


def follow(worker: PlainWorker, version: int) -> None:
    """Take in updates up to `version`."""
    while worker.version < version:
        worker.receive()


def gradient_for(worker: PlainWorker, round_: int) -> np.ndarray:
    return gradient_of(round_, worker.layout.n_parameters)


def make_round(round_: int, *workers: PlainWorker) -> None:
    """Let `workers` push for a round, once they hold the version before it."""
    for worker in workers:
        follow(worker, round_ - 1)
    for worker in workers:
        assert worker.push(gradient_for(worker, round_), round_).verdict == pb.VERDICT_COUNTED


def expected_weights(worker: PlainWorker, rounds: int, *, lr: float = 0.1) -> np.ndarray:
    """Return the weights of a run of `rounds` in which nobody but honest workers pushed."""
    n, weights = worker.layout.n_parameters, initial_weights(worker.layout.size)
    for round_ in range(1, rounds + 1):
        weights[:n] -= np.float32(lr) * gradient_for(worker, round_)
    return weights

"""Runs of plain workers over gRPC, undisturbed and killed in the middle: both must end at the same bits.

A kill is played by a copy of the run's folder, taken while the server runs: nothing that it would still write is there.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.testing import assert_array_equal

from gradwire_common.methods.method import Method
from gradwire_common.settings.config import Config
from gradwire_common.v1 import parameter_server_pb2 as pb
from running import copy_as_killed, running_server
from server.plain_worker import RAW, PlainWorker, initial_weights, plain_workers, run_config

ROUNDS = 5
KILLED_IN = 4  # the round of which one push counts when the server is killed

Gradient = Callable[[int, int], np.ndarray]  # worker, round -> (n_parameters,) float32


def play(runs: Path, gradient: Gradient, workers: int = 2, method: Method = RAW, **settings: object) -> np.ndarray:
    """Return the weights after ROUNDS rounds, (n,) float32 in layout order, which a killed server reaches too."""

    def config(folder: Path, **changes: object) -> Config:
        kept = {"rounds": ROUNDS, "workers": workers, "quorum": "all", "evaluate_every": 0, "checkpoint_every": 2}
        return run_config(folder, **{**kept, **settings, **changes})

    def rounds(them: list[PlainWorker], first: int, last: int) -> None:
        for round_ in range(first, last + 1):
            for index, worker in enumerate(them):
                worker.push(gradient(index, round_), round_, method=method)
            for worker in them:
                worker.receive()

    def end(them: list[PlainWorker]) -> np.ndarray:
        for worker in them:
            worker.leave()
        return them[0].flat

    with running_server(config(runs)) as server, plain_workers(server.address, workers) as them:
        for worker in them:
            worker.begin(initial_weights())
        rounds(them, 1, KILLED_IN - 1)
        them[0].push(gradient(0, KILLED_IN), KILLED_IN, method=method)
        copy_as_killed(runs, runs.with_name("copy"))
        rounds(them, KILLED_IN, ROUNDS)
        undisturbed = end(them)
        server.join()
    with running_server(config(runs.with_name("copy"), resume=True)) as server:
        with plain_workers(server.address, workers) as them:
            for worker in them:
                worker.begin()
                assert worker.version == KILLED_IN - 1
            assert them[0].push(gradient(0, KILLED_IN), KILLED_IN, method=method).verdict == pb.VERDICT_DUPLICATE
            rounds(them, KILLED_IN, ROUNDS)
            assert_array_equal(end(them), undisturbed)
        server.join()
    return undisturbed

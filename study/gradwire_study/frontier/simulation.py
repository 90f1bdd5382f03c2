"""One arm, from its first weights to its last: simulated workers and server in this process, on one core."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from gradwire_common.errors import DataError
from gradwire_common.methods.method import F32
from gradwire_study.frontier.arm import Arm
from gradwire_study.frontier.networks import network_named
from gradwire_study.frontier.rows import Row
from gradwire_study.frontier.server import Server
from gradwire_study.frontier.worker import Worker, shards_of
from gradwire_worker.compute.flat_model import FlatModel, manifest_of
from gradwire_worker.evaluation import evaluate
from gradwire_worker.tasks import Task

POINTS = 8  # evaluations of an arm, the last at its end; BatchNorm statistics are averaged before each
LOSS = "loss"  # the metric that arms are compared by
CPU = torch.device("cpu")


def simulate(arm: Arm, data: Path | None = None) -> Row:
    """Train an arm; return what came of it. A training that fails by its numbers is an outcome too, without a loss.

    Args:
        arm: checked by `Arm.of`.
        data: of the network, where it needs any.

    Raises:
        TaskError: the task's data cannot be used, or not be divided as the arm says.
        ConfigError: the task, the rule or an optimizer does not take what the arm says.
    """
    torch.set_num_threads(1)
    began = time.process_time()
    task = network_named(arm.network).load(data)
    training = _Training(arm, task)
    failure = ""
    try:
        for number in range(arm.exchanges):
            training.exchange(number)
    except DataError as error:
        failure = str(error)
    return training.row(failure, time.process_time() - began)


class _Training:
    """The workers and the server of an arm, and what has been measured so far."""

    def __init__(self, arm: Arm, task: Task):
        self._arm, self._task = arm, task
        self._every = max(1, arm.exchanges // POINTS)
        torch.manual_seed(arm.seed)
        self._model = task.model()
        manifest = manifest_of(self._model)
        self._flat = FlatModel(self._model, manifest)
        self._layout = manifest.layout
        self._server = Server(arm, manifest, self._flat.read_weights())
        self._workers = [
            Worker(arm, task, slot, shard, manifest, FlatModel(task.model(), manifest), arm.uplink)
            for slot, shard in enumerate(shards_of(task, arm))
        ]
        self._bytes_up = self._bytes_down = 0.0
        self._done = 0
        self._curve: list[tuple[int, float]] = []
        self._metrics: dict[str, float] = {}

    def exchange(self, number: int) -> None:
        """Let all workers train and push, and the server answer; evaluate what they hold where that is due."""
        arm = self._arm
        due = (number + 1) % self._every == 0 or number + 1 == arm.exchanges
        with_buffers = due and self._layout.n_buffers > 0
        held = self._server.held()
        pushes = [worker.push(held, number, with_buffers=with_buffers)[0] for worker in self._workers]
        samples = arm.local_steps * self._workers[0].local.batch_size
        self._bytes_down += self._server.exchange(pushes, samples, number, with_buffers=with_buffers)
        self._bytes_up += _mean_length(pushes)
        self._done += 1
        if due:
            self._evaluate(self._server.held(), number + 1)

    def row(self, failure: str, seconds: float) -> Row:
        """Return what has been measured."""
        entries = self._layout.n_parameters * max(self._done, 1)
        return Row(
            arm=self._arm,
            parameters=self._layout.n_parameters,
            bits_up=8 * self._bytes_up / entries,
            bits_down=8 * self._bytes_down / entries,
            loss=None if failure else self._metrics[LOSS],
            metrics={} if failure else self._metrics,
            curve=self._curve,
            failure=failure,
            seconds=round(seconds, 1),
        )

    def _evaluate(self, held: F32, exchanges: int) -> None:
        self._flat.load(held)
        found = evaluate(self._task, self._model, _all(self._task), CPU)
        self._metrics = {name: round(metric.mean, 6) for name, metric in found.items()}
        self._curve.append((exchanges, self._metrics[LOSS]))


def _mean_length(pushes: Sequence[bytes]) -> float:
    return sum(map(len, pushes)) / len(pushes)


def _all(task: Task) -> npt.NDArray[np.int64]:
    return np.arange(task.n_test, dtype=np.int64)

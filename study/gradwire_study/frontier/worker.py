"""A simulated worker: the local steps of a real one, and the frames that it would push."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from gradwire_common.errors import TaskError
from gradwire_common.layout.manifest import Manifest, Role
from gradwire_common.methods.method import F32, MAX_ENTRY, Encoder, EncodeReport, Method
from gradwire_common.methods.update import encode_update
from gradwire_study.frontier.arm import Arm
from gradwire_worker.compute.flat_model import FlatModel
from gradwire_worker.tasks import Task
from gradwire_worker.tasks.shards import dirichlet_shards, iid_shards, round_batch, round_rng
from gradwire_worker.tasks.task import Indices


def shards_of(task: Task, arm: Arm) -> list[Indices]:
    """Return the training samples of each worker, as in a real run. Raises TaskError where they cannot be divided."""
    if arm.split == "iid":
        return iid_shards(task.n_train, arm.workers, arm.seed)
    if arm.split == "contiguous":
        return np.array_split(np.arange(task.n_train, dtype=np.int64), arm.workers)
    if task.labels is None:
        raise TaskError(f"split: got dirichlet for {arm.network}, whose samples have no classes, want contiguous")
    return dirichlet_shards(task.labels, arm.workers, arm.alpha, arm.seed)


@dataclass
class Kept:
    """What a worker keeps from exchange to exchange, unless it is stateless."""

    encoder: Encoder
    optimizer: torch.optim.Optimizer | None = None
    schedule: Any = None


@dataclass
class Worker:
    """Trains its own model on its shard.

    Attributes:
        slot: its place among the workers.
        shard: its training samples.
        manifest: of its model.
    """

    arm: Arm
    task: Task
    slot: int
    shard: Indices
    manifest: Manifest
    flat: FlatModel
    method: Method
    _kept: Kept = field(init=False)

    def __post_init__(self) -> None:
        self.local = self.arm.local_steps_of
        self._kept = self._begin()

    def push(self, held: F32, number: int, *, with_buffers: bool) -> tuple[bytes, float]:
        """Train from the weights `held` on; return the frames of what came of it, and the mean training loss.

        Args:
            held: (layout.size,) float32 in layout order; its buffers are loaded with the first exchange alone.
            number: of the exchange, from 0.
            with_buffers: whether frames of the buffers follow.
        """
        self.flat.load(held, tuple(Role) if number == 0 else (Role.PARAMETER,))
        if self.arm.stateless:
            self._kept = self._begin()
        loss = self._train(number)
        layout = self.manifest.layout
        values = np.empty(layout.n_parameters + layout.n_buffers, np.float32)
        n = layout.n_parameters
        if self.arm.push == "gradients":
            self.flat.read_gradients(values)
        else:
            self.flat.read_parameters(values)
            np.subtract(held[:n], values[:n], out=values[:n])
        if with_buffers:
            self.flat.read_buffers(values)
        encoder = self._kept.encoder
        encoder.prepare(values)
        others = layout.buffers if with_buffers else ()
        frames = encode_update(encoder, values, EncodeReport(MAX_ENTRY), others, stored=self.method.stored)
        return b"".join(frames), loss

    def _train(self, number: int) -> float:
        """Take the local steps of an exchange, or compute one gradient."""
        model, local, steps = self.flat.model, self.local, self.arm.local_steps
        optimizer, schedule = self._kept.optimizer, self._kept.schedule
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        precision = getattr(torch, local.precision)
        model.train()
        total = 0.0
        for place in range(number * steps + 1, (number + 1) * steps + 1):
            indices = round_batch(self.shard, local.batch_size, self.arm.seed, self.slot, place)
            rng = round_rng(self.arm.seed, self.slot, place)
            batch = self.task.train_batch(indices, rng)
            torch.manual_seed(int(rng.integers(2**63)))  # of dropout
            model.zero_grad()
            with torch.autocast("cpu", precision, enabled=precision is not torch.float32):
                loss = self.task.loss(model, batch)
            loss.backward()  # type: ignore[no-untyped-call]
            if local.clip_norm:
                torch.nn.utils.clip_grad_norm_(parameters, local.clip_norm)
            if optimizer is not None:
                optimizer.step()
            if schedule is not None:
                schedule.step()
            total += loss.item()
        return total / steps

    def _begin(self) -> Kept:
        """Return what a worker has that has just come."""
        n = self.manifest.layout.n_parameters
        memory = None if self.arm.stateless else np.zeros(n, np.float32)
        kept = Kept(self.method.encoder(self.manifest.layout, memory))
        if self.arm.push == "steps":
            steps = self.local.steps(self.arm.local_steps)
            parameters = [each for each in self.flat.model.parameters() if each.requires_grad]
            kept.optimizer = steps.build_optimizer([{"params": parameters}])
            kept.schedule = steps.build_schedule(kept.optimizer, self.arm.local_steps * self.arm.exchanges)
        return kept

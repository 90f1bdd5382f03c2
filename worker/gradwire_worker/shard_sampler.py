"""A torch sampler of one worker's shard: which samples are its own, in which order, and where it is after a restart."""

from collections.abc import Iterator, Sequence, Sized
from typing import Protocol

import numpy as np
from torch.utils.data import Sampler

from gradwire_common.errors import UsageError
from gradwire_common.settings.section import MAX_SEED
from gradwire_worker.arguments import whole_number
from gradwire_worker.tasks.shards import epoch_order, iid_shards
from gradwire_worker.tasks.task import Indices


class Placed(Protocol):
    """What the sampler asks of a RemoteOptimizer."""

    slot: int
    slots: int

    @property
    def steps_taken(self) -> int:
        """Steps that a worker which has been there from the run's beginning has taken."""


class ShardSampler(Sampler[int]):
    """Samples of a worker's shard, in an order that is new in each epoch.

        sampler = ShardSampler(dataset, optimizer, batch_size=64)
        loader = DataLoader(dataset, batch_size=64, sampler=sampler, drop_last=True)

    Shards are disjoint, and equal for the same seed, so that every worker finds its own without a word. A worker beyond
    the run's slots shares the shard of another, in an order of its own. The order is a function of seed, slot and epoch
    alone: a worker that is started again begins in the epoch, and at the batch, that the run has got to.

    Attributes:
        indices: the shard, sorted.
        epoch: the epoch that the next iteration goes through, counted from 0.
    """

    def __init__(
        self,
        dataset: Sized,
        optimizer: Placed,
        *,
        batch_size: int,
        seed: int = 0,
        shards: Sequence[Indices] | None = None,
        shuffle: bool = True,
    ):
        """Find the shard of a worker that has joined.

        Args:
            dataset: what is divided; its length alone is looked at.
            optimizer: says which shard of how many is wanted, and how many steps the run has taken.
            batch_size: samples of a step, as the loader has it; tells where in an epoch the run is.
            seed: of shards and orders; the same on all workers.
            shards: indices of each slot's samples, such as `dirichlet_shards(labels, optimizer.slots)`;
                equal parts drawn at random when None.
            shuffle: whether each epoch has an order of its own; the sorted one otherwise.

        Raises:
            UsageError: a number that cannot be, or shards that do not fit the run or the dataset.
            TaskError: there are fewer samples than shards.
        """
        self._optimizer = optimizer
        self._batch = whole_number("batch_size", batch_size, 1, 2**32)
        self._seed = whole_number("seed", seed, 0, MAX_SEED)
        self._shuffle = shuffle
        parts = iid_shards(len(dataset), optimizer.slots, self._seed) if shards is None else shards
        if len(parts) != optimizer.slots:
            raise UsageError(f"shards: got {len(parts)}, want one for each of the run's {optimizer.slots} slots")
        self.indices = np.sort(np.asarray(parts[optimizer.slot % optimizer.slots], np.int64))
        if not len(self.indices) or self.indices[0] < 0 or self.indices[-1] >= len(dataset):
            reach = f"{self.indices[0]} to {self.indices[-1]}" if len(self.indices) else "none"
            raise UsageError(
                f"shards: got indices {reach} for slot {optimizer.slot}, want some from 0 to {len(dataset) - 1}"
            )
        self.epoch, self._place = divmod(optimizer.steps_taken, self._steps_an_epoch)

    def set_epoch(self, epoch: int) -> None:
        """Let the next iteration go through all of `epoch`, as torch's DistributedSampler does."""
        self.epoch, self._place = whole_number("epoch", epoch, 0, MAX_SEED), 0

    def __iter__(self) -> Iterator[int]:
        """Yield the indices of an epoch; of the first one, those from the batch on that the run has got to."""
        order = np.arange(len(self.indices))
        if self._shuffle:
            order = epoch_order(len(self.indices), self._seed, self._optimizer.slot, self.epoch)
        rest = self.indices[order[self._place * min(self._batch, len(order)) :]]
        self.epoch, self._place = self.epoch + 1, 0
        return iter(rest.tolist())

    def __len__(self) -> int:
        """Return how many samples the next iteration has."""
        return len(self.indices) - self._place * min(self._batch, len(self.indices))

    @property
    def _steps_an_epoch(self) -> int:
        return max(1, len(self.indices) // self._batch)

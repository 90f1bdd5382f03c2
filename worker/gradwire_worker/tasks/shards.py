"""Which samples each worker has, and which of them it takes in a round: functions of seed, slot and round alone.

A worker that joins late or again therefore continues where the run is, without any state of its own.
"""

from collections.abc import Sequence

import numpy as np
import torch

from gradwire_common.errors import TaskError, UsageError
from gradwire_worker.tasks.task import Indices

ATTEMPTS = 100  # draws of Dirichlet shares until no shard is empty
_SHARDS, _ORDER, _AUGMENT = range(3)  # keeps the streams of random numbers apart


def iid_shards(n: int, n_shards: int, seed: int = 0) -> list[Indices]:
    """Divide n samples at random into disjoint shards whose sizes differ by at most one.

    Raises:
        TaskError: if there are fewer samples than shards.
    """
    _check_enough(n, n_shards)
    order = np.random.default_rng((seed, _SHARDS)).permutation(n)
    return [np.sort(part).astype(np.int64) for part in np.array_split(order, n_shards)]


def dirichlet_shards(
    labels: Indices | torch.Tensor | Sequence[int], n_shards: int, alpha: float = 0.5, seed: int = 0
) -> list[Indices]:
    """Divide samples into disjoint shards with uneven classes and sizes, as federated clients have them.

    Each class is divided by shares drawn from a Dirichlet distribution with concentration `alpha` (Hsu, Qi and Brown,
    2019, section 3); drawn again while a shard is empty.

    Args:
        labels: (n,) whole numbers, the class of each sample.
        n_shards: such as `optimizer.slots`.
        alpha: above 0; the smaller, the more uneven.
        seed: the same on all workers.

    Returns:
        Sorted int64 indices of each shard, none of them empty.

    Raises:
        TaskError: there are fewer samples than shards, or a shard stays empty.
        UsageError: labels that are no (n,) whole numbers, or a concentration that is not above 0.
    """
    labels = labels.detach().cpu().numpy() if isinstance(labels, torch.Tensor) else np.asarray(labels)
    if labels.ndim != 1 or labels.dtype.kind not in "iub":
        raise UsageError(f"labels: got {labels.dtype} of shape {labels.shape}, want (n,) whole numbers")
    if not 0 < alpha < np.inf:
        raise UsageError(f"alpha: got {alpha!r}, want a number above 0")
    _check_enough(len(labels), n_shards)
    rng = np.random.default_rng((seed, _SHARDS))
    for _ in range(ATTEMPTS):
        parts: list[list[Indices]] = [[] for _ in range(n_shards)]
        for label in np.unique(labels):
            members = rng.permutation(np.flatnonzero(labels == label))
            cuts = np.cumsum(rng.dirichlet(np.full(n_shards, alpha)))[:-1] * len(members)
            for shard, part in zip(parts, np.split(members, np.rint(cuts).astype(np.int64)), strict=True):
                shard.append(part)
        shards = [np.sort(np.concatenate(shard)).astype(np.int64) for shard in parts]
        if all(map(len, shards)):
            return shards
    raise TaskError(
        f"split dirichlet: a shard of {n_shards} stayed empty with concentration {alpha:g} and {len(labels)} samples, "
        "want a larger dirichlet_alpha or fewer workers"
    )


def round_batch(shard: Indices, batch_size: int, seed: int, slot: int, round_: int) -> Indices:
    """Return the samples that a worker takes in `round_`, counted from 1.

    Each epoch is a new order of the shard. The last samples of an epoch that fill no batch are left out; a shard that
    is smaller than a batch is taken whole.
    """
    size = min(batch_size, len(shard))
    epoch, place = divmod(round_ - 1, len(shard) // size)
    order = epoch_order(len(shard), seed, slot, epoch)
    return shard[order[place * size : (place + 1) * size]]


def epoch_order(n: int, seed: int, slot: int, epoch: int) -> Indices:
    """Return the order in which a worker takes the n samples of its shard in an epoch, counted from 0."""
    return np.random.default_rng((seed, _ORDER, slot, epoch)).permutation(n).astype(np.int64, copy=False)


def round_rng(seed: int, slot: int, round_: int) -> np.random.Generator:
    """Return the random numbers of a worker's augmentation, and of its dropout, in `round_`."""
    return np.random.default_rng((seed, _AUGMENT, slot, round_))


def evaluation_part(n: int, slot: int, slots: int) -> Indices:
    """Return the contiguous part of n test samples that a worker evaluates; slots beyond `slots` have none."""
    if slot >= slots:
        return np.empty(0, np.int64)
    return np.array_split(np.arange(n, dtype=np.int64), slots)[slot]


def _check_enough(n: int, n_shards: int) -> None:
    if n < n_shards:
        raise TaskError(f"split: got {n} training samples for {n_shards} workers, want at least one for each")

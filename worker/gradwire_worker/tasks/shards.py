"""Which samples each worker has, and which of them it takes in a round: functions of seed, slot and round alone.

A worker that joins late or again therefore continues where the run is, without any state of its own.
"""

import numpy as np

from gradwire_common.errors import TaskError
from gradwire_worker.tasks.task import Indices

ATTEMPTS = 100  # draws of Dirichlet shares until no shard is empty
_SHARDS, _ORDER, _AUGMENT = range(3)  # keeps the streams of random numbers apart


def iid_shards(n: int, n_shards: int, seed: int) -> list[Indices]:
    """Divide n samples at random into disjoint shards whose sizes differ by at most one.

    Raises:
        TaskError: if there are fewer samples than shards.
    """
    _check_enough(n, n_shards)
    order = np.random.default_rng((seed, _SHARDS)).permutation(n)
    return [np.sort(part).astype(np.int64) for part in np.array_split(order, n_shards)]


def dirichlet_shards(labels: Indices, n_shards: int, alpha: float, seed: int) -> list[Indices]:
    """Divide samples into disjoint shards with uneven classes and sizes.

    Each class is divided by shares drawn from a Dirichlet distribution with concentration `alpha` (Hsu, Qi and Brown,
    2019, section 3); drawn again while a shard is empty.

    Raises:
        TaskError: if some shard stays empty.
    """
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
    order = np.random.default_rng((seed, _ORDER, slot, epoch)).permutation(len(shard))
    return shard[order[place * size : (place + 1) * size]]


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

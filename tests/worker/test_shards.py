"""Shards are disjoint and whole, and a round's batch is a function of seed, slot and round."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from gradwire_common.errors import TaskError
from gradwire_worker.tasks.shards import dirichlet_shards, evaluation_part, iid_shards, round_batch, round_rng

LABELS = np.arange(1000) % 10


@pytest.mark.parametrize("n_shards", [1, 2, 3, 7])
@pytest.mark.parametrize("split", ["iid", "dirichlet"])
def test_shards_are_disjoint_and_hold_every_sample(split, n_shards):
    shards = iid_shards(1000, n_shards, 5) if split == "iid" else dirichlet_shards(LABELS, n_shards, 0.5, 5)
    assert_array_equal(np.sort(np.concatenate(shards)), np.arange(1000))
    assert all(map(len, shards))


def test_iid_shards_differ_in_size_by_one_at_most():
    sizes = [len(shard) for shard in iid_shards(1000, 7, 0)]
    assert max(sizes) - min(sizes) == 1


def test_shards_are_the_same_for_the_same_seed_and_others_for_another():
    for split in (lambda seed: iid_shards(1000, 3, seed), lambda seed: dirichlet_shards(LABELS, 3, 0.5, seed)):
        first, again, other = split(1), split(1), split(2)
        for a, b in zip(first, again, strict=True):
            assert_array_equal(a, b)
        assert any(len(a) != len(c) or (a != c).any() for a, c in zip(first, other, strict=True))


def test_a_smaller_concentration_makes_classes_more_uneven():
    def unevenness(alpha: float) -> float:
        shards = dirichlet_shards(LABELS, 4, alpha, 0)
        counts = np.array([np.bincount(LABELS[shard], minlength=10) for shard in shards])
        return float(counts.std())

    assert unevenness(100.0) < unevenness(1.0) < unevenness(0.1)


def test_more_workers_than_samples_are_refused():
    with pytest.raises(TaskError, match="got 3 training samples for 4 workers"):
        iid_shards(3, 4, 0)


def test_a_shard_that_stays_empty_is_refused():
    with pytest.raises(TaskError, match=r"a shard of 10 stayed empty with concentration 0\.001"):
        dirichlet_shards(np.zeros(10, np.int64), 10, 0.001, 0)


def test_an_epoch_takes_every_sample_once():
    shard = np.arange(100, 164)
    batches = [round_batch(shard, 16, seed=0, slot=1, round_=round_) for round_ in range(1, 9)]
    for epoch in (batches[:4], batches[4:]):
        assert_array_equal(np.sort(np.concatenate(epoch)), shard)
    assert (np.concatenate(batches[:4]) != np.concatenate(batches[4:])).any()


def test_the_rest_of_an_epoch_that_fills_no_batch_is_left_out():
    shard = np.arange(10)
    assert [len(round_batch(shard, 4, 0, 0, round_)) for round_ in range(1, 6)] == [4] * 5


def test_a_shard_smaller_than_a_batch_is_taken_whole():
    shard = np.array([4, 8, 15])
    assert_array_equal(np.sort(round_batch(shard, 64, 0, 0, 7)), shard)


def test_a_batch_depends_on_nothing_but_seed_slot_and_round():
    shard = np.arange(1000)
    args = [(0, 0, 1), (1, 0, 1), (0, 1, 1), (0, 0, 2)]
    assert_array_equal(round_batch(shard, 8, *args[0]), round_batch(shard, 8, *args[0]))
    assert len({tuple(round_batch(shard, 8, *arg)) for arg in args}) == len(args)
    assert len({round_rng(*arg).random() for arg in args}) == len(args)


@pytest.mark.parametrize("slots", [1, 2, 3, 7])
def test_the_parts_of_the_test_samples_are_contiguous_and_whole(slots):
    parts = [evaluation_part(100, slot, slots) for slot in range(slots)]
    assert_array_equal(np.concatenate(parts), np.arange(100))


def test_a_worker_beyond_the_slots_evaluates_nothing():
    assert len(evaluation_part(100, 2, 2)) == 0

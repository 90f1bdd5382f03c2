"""A worker finds its own samples without a word to others, in a new order each epoch, also after a restart."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from torch.utils.data import DataLoader, TensorDataset

from gradwire import RemoteOptimizer, SessionOptions, ShardSampler, dirichlet_shards
from gradwire_common.errors import UsageError
from running import running_server
from worker.toys import loss_of, perceptron, run_together, server_config


@dataclass
class Place:
    """What the sampler looks at of a RemoteOptimizer."""

    slot: int = 0
    slots: int = 4
    steps_taken: int = 0


def loaded(sampler: ShardSampler, batch_size: int = 8) -> list[list[int]]:
    loader = DataLoader(range(100), batch_size=batch_size, sampler=sampler, drop_last=True)
    return [batch.tolist() for batch in loader]


def test_shards_are_disjoint_and_orders_new_in_each_epoch():
    samplers = [ShardSampler(range(100), Place(slot), batch_size=8) for slot in range(4)]
    epochs = [[list(sampler), list(sampler)] for sampler in samplers]
    assert_array_equal(np.sort(np.concatenate([first for first, _ in epochs])), np.arange(100))
    for first, second in epochs:
        assert sorted(first) == sorted(second)
        assert first != second


def test_a_worker_that_starts_again_takes_the_batches_that_it_would_have_taken():
    sampler = ShardSampler(range(100), Place(), batch_size=8)  # 25 samples, 3 steps an epoch
    steps = [*loaded(sampler), *loaded(sampler), *loaded(sampler)]
    for taken in range(9):
        again = ShardSampler(range(100), Place(steps_taken=taken), batch_size=8)
        length = len(again)
        first = loaded(again)
        assert length // 8 == len(first)
        assert [*first, *loaded(again)][: 9 - taken] == steps[taken:][: 3 - taken % 3 + 3]


def test_a_shard_smaller_than_a_batch_is_an_epoch_in_one_step():
    sampler = ShardSampler(range(10), Place(slot=1, steps_taken=5), batch_size=64)
    assert sampler.epoch == 5
    assert len(sampler) == len(list(sampler)) == 3


def test_epochs_can_be_set_as_with_torch_s_own_sampler():
    sampler = ShardSampler(range(100), Place(steps_taken=7), batch_size=8)
    sampler.set_epoch(2)
    third = list(sampler)
    sampler.set_epoch(2)
    assert list(sampler) == third
    assert len(third) == 25


def test_a_worker_beyond_the_slots_shares_a_shard_in_an_order_of_its_own():
    first, beyond = (list(ShardSampler(range(100), Place(slot), batch_size=8)) for slot in (1, 5))
    assert sorted(first) == sorted(beyond)
    assert first != beyond


def test_dirichlet_shards_of_labels_as_people_have_them():
    labels = np.arange(100) % 10
    expected = dirichlet_shards(labels, 4)
    for given in (labels.tolist(), torch.from_numpy(labels), labels.astype(np.uint8)):
        for got, want in zip(dirichlet_shards(given, 4), expected, strict=True):
            assert_array_equal(got, want)
    sampler = ShardSampler(range(100), Place(2), batch_size=8, shards=expected, shuffle=False)
    assert list(sampler) == expected[2].tolist()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ShardSampler(range(9), Place(), batch_size=0), "batch_size: got 0"),
        (
            lambda: ShardSampler(range(9), Place(), batch_size=2, shards=[[1]]),
            "got 1, want one for each of the run's 4",
        ),
        (lambda: ShardSampler(range(9), Place(), batch_size=2, shards=[[9]] * 4), "indices 9 to 9 for slot 0"),
        (lambda: ShardSampler(range(9), Place(), batch_size=2, shards=[[]] * 4), "indices none for slot 0"),
        (lambda: dirichlet_shards(np.eye(3), 2), r"labels: got float64 of shape \(3, 3\)"),
        (lambda: dirichlet_shards([0, 1, 0, 1], 2, alpha=0.0), "alpha: got 0.0"),
    ],
)
def test_what_cannot_be_is_named(make, message):
    with pytest.raises(UsageError, match=message):
        make()


def test_one_slot_serves_two_models_at_two_servers_whatever_order_workers_join_in(tmp_path):
    """A generator and its discriminator: each model has a server, and a worker the same shard for both."""
    data = TensorDataset(torch.randn(32, 80), torch.arange(32) % 4)
    seen: dict[int, set[int]] = {}
    slots = []
    config = {"workers": 2, "rounds": 2}
    with (
        running_server(server_config(tmp_path / "g", **config)) as first,
        running_server(server_config(tmp_path / "d", **config)) as second,
    ):

        def work(number: int) -> None:
            generator, discriminator = perceptron(), perceptron(1)
            g = RemoteOptimizer(generator, first.address, session=SessionOptions(worker_id=f"g{number}"))
            d = RemoteOptimizer(discriminator, second.address, session=SessionOptions(slot=g.slot))
            sampler = ShardSampler(data, d, batch_size=8)
            seen[number] = set(sampler.indices.tolist())
            slots.append((g.slot, d.slot))
            with g, d:
                for batch in DataLoader(data, batch_size=8, sampler=sampler, drop_last=True):
                    for model, optimizer in ((discriminator, d), (generator, g)):
                        optimizer.zero_grad()
                        loss_of(model, batch).backward()
                        optimizer.step(samples=8)
            assert (g.version, d.version) == (2, 2)

        run_together(lambda: work(0), lambda: work(1))
    assert sorted(slots) == [(0, 0), (1, 1)]
    assert seen[0] | seen[1] == set(range(32))

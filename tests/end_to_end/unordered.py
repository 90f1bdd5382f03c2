"""Runs of the asynchronous mode that are disturbed at random, held against what it promises.

They do not repeat themselves to the bit. But every version is made of one push, which is no more than `staleness`
versions behind; no push makes two versions; every push that reached the journal makes one, whatever is killed, and
receipts told of no others.
"""

import itertools
import random
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from end_to_end.world import Outcome, World
from gradwire_common.settings.config import Config
from gradwire_common.warming import warm_kernels
from gradwire_server.rounds.schedule_settings import ScheduleSettings
from gradwire_server.store.journal import Kind, Reader
from gradwire_worker.remote_optimizer import RemoteOptimizer
from gradwire_worker.runner import shard_of, shared_settings, train
from gradwire_worker.session.options import SessionOptions
from gradwire_worker.tasks import load_task
from running import eventually

VERSIONS_PER_DISTURBANCE = 12
LONGEST = 8  # times as many versions a run has where the witness is slow to begin
LEFT_ALONE = 30  # last versions: they pass quickly
WITNESS = "witness"  # a worker that is never killed itself
JOIN_SECONDS = 120.0

Known = tuple[str, int, int]  # worker, round, digest: what a push is known by


class Witness(threading.Thread):
    """A worker in this process that notes its receipts.

    Attributes:
        counted: the rounds of its pushes that counted, as it was told.
        error: what it failed with.
    """

    def __init__(self, config: Config, server: str):
        super().__init__(name=WITNESS, daemon=True)
        self.counted: list[int] = []
        self.error: BaseException | None = None
        slot = config.workers - 1  # the others' slots are the first
        self._config = config.replaced(server=server, worker_id=WITNESS, slot=slot)

    def run(self) -> None:
        """Train until the run ends."""
        try:
            self._train()
        except BaseException as error:
            self.error = error

    def _train(self) -> None:
        config, counted = self._config, self.counted

        class Noting(RemoteOptimizer):
            def step(self, *given: Any, **told: Any) -> Any:
                before = self.last_step
                returned = super().step(*given, **told)
                if self.last_step is not None and self.last_step is not before and self.last_step.counted:
                    counted.append(self.last_step.round)
                return returned

        task = load_task(config)
        model = task.model()
        session = SessionOptions(worker_id=WITNESS, slot=config.slot, settings=shared_settings(config))
        with Noting(model, config.server, session=session) as optimizer:
            shard = shard_of(task, config, optimizer.slot, optimizer.slots)
            train(task, model, optimizer, shard, config, torch.device("cpu"))


def disturbed(folder: Path, kinds: Sequence[str], per_run: int, workers: int, seed: int) -> Iterator[Outcome]:
    """Yield runs until all of `kinds` have been done, each of which kept the promises."""
    warm_kernels()  # the witness needs them
    left, rng, longer = list(kinds), random.Random(seed), 1
    for number in itertools.count():
        if not left:
            return
        rounds = longer * (VERSIONS_PER_DISTURBANCE * len(left[:per_run]) + LEFT_ALONE)
        got = _disturbed(folder / f"unordered-{number}", left[:per_run], workers, rounds, rng)
        if not got.disturbances:  # it was over before the witness had begun
            longer *= 2
            assert longer <= LONGEST, f"the witness has no push counted in a run of {rounds} versions"
        del left[: got.disturbances.total()]
        yield got


def _disturbed(folder: Path, kinds: Sequence[str], workers: int, rounds: int, rng: random.Random) -> Outcome:
    changes = {
        "mode": "asynchronous",
        "quorum": 1,
        "rounds": rounds,
        "workers": workers + 1,  # the run begins with the witness
        "lr": 0.02,
        "checkpoints": 1000,  # so that no journal is removed
    }
    with World(folder, rng, workers, LEFT_ALONE, **changes) as world:
        witness = Witness(world.config, world.link.address)
        witness.start()
        eventually(lambda: witness.counted or witness.error or world.server.exitcode is not None, JOIN_SECONDS)
        if witness.error is not None:
            raise witness.error
        got = world.run(kinds)
        witness.join(JOIN_SECONDS)
        assert not witness.is_alive(), "the witness did not end"
        if witness.error is not None:
            raise witness.error
        assert witness.counted or not got.disturbances
        assert_promises_kept(folder / "run", world.config, witness.counted)
    assert got.rounds == list(range(1, world.config.rounds + 1))
    assert got.contributors == {1}
    return got


def assert_promises_kept(run: Path, config: Config, receipts: Sequence[int]) -> None:
    """Compare the journals with each other, and with what the witness was told."""
    made, journaled = read_journals(run / "state")
    assert sorted(made) == list(range(1, config.rounds + 1))
    staleness = ScheduleSettings.of(config).staleness
    behind = {version: version - round_ for version, (_, round_, _) in made.items()}
    assert 0 <= min(behind.values()) <= max(behind.values()) <= staleness
    times = Counter((worker, round_) for worker, round_, _ in made.values())
    assert max(times.values()) == 1, f"made two versions: {times.most_common(1)}"
    assert set(made.values()) == journaled
    seen = {round_ for worker, round_, _ in made.values() if worker == WITNESS}
    assert set(receipts) <= seen, f"lost although there was a receipt: {sorted(set(receipts) - seen)}"


def read_journals(folder: Path) -> tuple[dict[int, Known], set[Known]]:
    """Return the push that made each version, and all pushes that were kept."""
    made: dict[int, Known] = {}
    kept: set[Known] = set()
    for path in sorted(folder.glob("journal-*")):
        for record in Reader(path, int(path.name.removeprefix("journal-"))):
            meta = record.meta
            if record.kind is Kind.PUSH:
                kept.add((meta["worker"], meta["round"], meta["digest"]))
                continue
            ((_, worker, digest, round_),) = meta["pushes"]
            known = worker, round_, digest
            assert made.setdefault(meta["round"], known) == known, f"version {meta['round']} was made twice"
    return made, kept

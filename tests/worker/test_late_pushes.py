"""Of a push that comes after its round has closed, the next one carries `late_weight` times, no more and no less."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from numpy.testing import assert_array_equal

from gradwire_common.errors import RunEndedError
from gradwire_common.methods.residual import add_residual
from gradwire_server.rounds.schedule import Verdict
from gradwire_server.rounds.schedule_settings import ScheduleSettings
from gradwire_server.rounds.synchronous import Rounds
from gradwire_worker.compute.flat_model import manifest_of
from gradwire_worker.remote_optimizer import RemoteOptimizer
from gradwire_worker.session import SessionOptions
from gradwire_worker.sources.during_backward import DuringBackward
from gradwire_worker.sources.frame_source import Source
from gradwire_worker.sources.in_step import InStep
from running import eventually, running_server
from server.plain_worker import plain_workers, run_config

LATE_WEIGHT = 0.5
FIRST = np.arange(12, dtype=np.float32).reshape(3, 4)  # small integers: sums and halves of them are exact
SECOND = np.array([[4, -8, 0, 1], [2, 2, -6, 3], [0, 0, 5, -1]], np.float32)


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("source", [InStep(), InStep(delay=1), DuringBackward(), DuringBackward(delay=1)], ids=str)
def test_a_late_push_changes_the_next_version_by_its_weight(tmp_path: Path, weight: float, source: Source) -> None:
    """The quorum is one and the deadline soon over: round 1 closes with the plain worker, round 2 with the other."""
    model = torch.nn.Linear(4, 3, bias=False)
    torch.nn.init.zeros_(model.weight)
    config = run_config(tmp_path, lr=0.125, quorum=1, deadline="0.05", late_weight=weight, evaluate_every=0)
    with (
        running_server(config) as server,
        RemoteOptimizer(model, server.address, source=source, session=SessionOptions(patience=60)) as optimizer,
        plain_workers(server.address, 1, manifest=manifest_of(model)) as (plain,),
    ):
        plain.join(settings={})
        plain.watch()
        plain.receive()
        plain.push(np.ones(12, np.float32), 1)
        assert plain.receive().version == 1  # without the other, which holds version 0 still
        for gradient in (FIRST, SECOND):
            optimizer.zero_grad()
            (model.weight * torch.from_numpy(gradient)).sum().backward()
            if isinstance(source, DuringBackward):  # what is encoded early has been, before the step looks
                for begun in optimizer._place.source._pass.begun.values():
                    begun.result()
            optimizer.step(samples=1)
        assert plain.receive().version == 2
    carried = SECOND + np.float32(weight) * FIRST
    assert_array_equal(plain.flat, np.float32(-0.125) * (1 + carried.ravel()))


@pytest.mark.parametrize("delay", [0, 1])
@pytest.mark.parametrize("noticed", ["before the step", "by the push"])
def test_a_step_that_meets_the_end_of_the_run_loads_its_last_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, noticed: str, delay: int
) -> None:
    """The quorum is one and the deadline soon over: the plain worker alone makes both versions of the run."""
    model = torch.nn.Linear(4, 3, bias=False)
    config = run_config(tmp_path, rounds=2, quorum=1, deadline="0.05", evaluate_every=0)
    reached = False
    with (
        running_server(config) as server,
        RemoteOptimizer(model, server.address, source=InStep(delay=delay)) as optimizer,
        plain_workers(server.address, 1, manifest=manifest_of(model)) as (plain,),
    ):
        plain.join(settings={})
        plain.watch()
        plain.receive()

        def end_the_run() -> None:
            for round_ in (1, 2):
                plain.push(np.ones(12, np.float32), round_)
                assert plain.receive().version == round_
            eventually(lambda: optimizer.ended)

        gather = optimizer._place.source.gather
        if noticed == "by the push":
            monkeypatch.setattr(optimizer._place.source, "gather", lambda out: (end_the_run(), gather(out))[1])
        else:
            end_the_run()
        model.weight.grad = torch.ones(3, 4)
        optimizer.step(samples=1)
        if not optimizer.ended or optimizer.version < 2:  # with a delay the receipt is waited for by the next step
            monkeypatch.undo()
            optimizer.step(samples=1)
        reached = True
        with pytest.raises(RunEndedError):
            optimizer.step(samples=1)
    assert reached, "a step ended the block before the last version was there"
    assert (optimizer.version, optimizer.ended) == (2, True)
    assert_array_equal(model.weight.detach().numpy().ravel(), plain.flat)


class LatePushes(RuleBasedStateMachine):
    """Three workers push when they like, and rounds close at their deadline with those that have.

    The books know what of every gradient a worker still carries, and what the server has applied of it.
    """

    workers = st.integers(0, 2)

    @initialize()
    def begin(self) -> None:
        self.rounds = Rounds(ScheduleSettings(3))
        self.rounds.begin()
        for slot in range(3):
            self.rounds.admit(slot)
        self.memories = [np.zeros(1, np.float32) for _ in range(3)]
        self.under_way: dict[int, tuple[int, np.ndarray]] = {}  # slot -> round, u
        self.applied = np.zeros(3, np.float32)
        self.carried = [0.0] * 3
        self.counted = [0.0] * 3

    @rule(slot=workers, gradient=st.integers(-7, 7))
    def start(self, slot: int, gradient: int) -> None:
        if slot in self.under_way or slot in self.rounds.contributors:
            return
        u = np.array([gradient], np.float32)
        add_residual(u, self.memories[slot], 1.0)
        self.carried[slot] += gradient
        self.under_way[slot] = self.rounds.open_round, u

    @rule(slot=workers)
    def arrive(self, slot: int) -> None:
        if slot not in self.under_way:
            return
        round_, u = self.under_way.pop(slot)
        if self.rounds.count(slot, f"worker {slot}", round_) is Verdict.COUNTED:
            assert round_ == self.rounds.open_round
            self.applied[slot] += u[0]
            self.memories[slot][:] = 0
            self.counted[slot] += self.carried[slot]
            self.carried[slot] = 0.0
        else:
            assert round_ < self.rounds.open_round
            self.memories[slot][:] = np.float32(LATE_WEIGHT) * u
            self.carried[slot] *= LATE_WEIGHT

    @rule()
    def pass_deadline(self) -> None:
        self.rounds.pass_deadline()

    @precondition(lambda self: self.rounds.may_close)
    @rule()
    def close(self) -> None:
        self.rounds.pop_ready()
        self.rounds.close()
        self.rounds.commit()

    @invariant()
    def what_was_applied_is_what_the_books_say(self) -> None:
        assert self.applied.tolist() == self.counted
        for slot in range(3):
            if slot not in self.under_way:
                assert self.memories[slot][0] == self.carried[slot]


TestLatePushes = LatePushes.TestCase
TestLatePushes.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)

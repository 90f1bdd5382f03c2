"""Pushes never take more memory than is allowed, and none waits indefinitely."""

import asyncio
import math
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from numpy.testing import assert_array_equal

from gradwire_common.errors import ConfigError, RunEndedError, UsageError
from gradwire_common.layout.manifest import Manifest, TensorSpec
from gradwire_common.methods.entropy import Entropy
from gradwire_common.methods.method import Method
from gradwire_common.methods.raw import Raw
from gradwire_common.settings.config import Config
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_server.limits.memory import Lease, Memory, usual_push
from gradwire_server.limits.shares import memory_for_updates
from gradwire_server.rounds.schedule import Verdict
from gradwire_server.rounds.schedule_settings import ScheduleSettings
from gradwire_server.rounds.synchronous import Rounds
from running import running_server
from server.plain_worker import gradient_of, plain_workers, refused, run_config

LARGE = Manifest((TensorSpec("dense.weight", (256, 1024)),))  # 1 MiB of float32


class Pushing(RuleBasedStateMachine):
    """Five slots push, a push taking 10 bytes and the memory having room for 25; they stop in the middle and come back.

    The lowest slots are needed first; one that breaks off is needed again.
    """

    slots = st.integers(0, 4)

    @initialize()
    def begin(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.rounds = Rounds(ScheduleSettings(5))
        self.rounds.begin()
        for slot in range(5):
            self.rounds.admit(slot)
        self.memory = Memory(25, 10, lambda: self.rounds.first_awaited)
        self.coming: dict[int, asyncio.Task[Lease]] = {}
        self.staged: dict[int, Lease] = {}

    def teardown(self) -> None:
        for task in self.coming.values():
            task.cancel()
        self.turn()
        self.loop.close()

    def turn(self) -> None:
        for _ in range(5):
            self.loop.run_until_complete(asyncio.sleep(0))

    @rule(slot=slots)
    def start(self, slot: int) -> None:
        if slot not in self.coming and slot in self.rounds.missing:
            self.coming[slot] = self.loop.create_task(self.memory.admit(slot))
            self.turn()

    @rule(slot=slots)
    def break_off(self, slot: int) -> None:
        if slot in self.coming:
            task = self.coming.pop(slot)
            if task.done():
                task.result().release()
            task.cancel()
            self.turn()

    @rule(slot=slots, n=st.integers(5, 10))
    def complete(self, slot: int, n: int) -> None:
        if slot in self.coming and self.coming[slot].done():
            self.finish(slot, n)

    def finish(self, slot: int, n: int) -> None:
        lease = self.coming.pop(slot).result()
        lease.finish(n)
        assert self.rounds.count(slot, f"worker {slot}", self.rounds.open_round) is Verdict.COUNTED
        self.staged[slot] = lease.hand_over()
        lease.release()
        self.memory.look()
        self.turn()

    @rule()
    def add(self) -> None:
        for slot in self.rounds.pop_ready():
            self.staged.pop(slot).release()
        self.turn()

    @precondition(lambda self: self.rounds.may_close and not self.staged)
    @rule()
    def close(self) -> None:
        self.rounds.close()
        self.rounds.commit()
        self.memory.look()
        self.turn()

    @rule()
    def everybody_gets_in_in_the_end(self) -> None:
        for slot in self.rounds.missing - self.coming.keys():
            self.start(slot)
        for _ in range(5):
            inside = [slot for slot, task in self.coming.items() if task.done()]
            for slot in inside:
                self.finish(slot, 10)
            self.add()
        assert not self.coming
        assert self.memory.used == 0

    @invariant()
    def the_bound_holds(self) -> None:
        assert 0 <= self.memory.used <= self.memory.capacity
        assert self.memory.peak <= self.memory.capacity
        held = sum(lease.n_bytes for lease in self.staged.values())
        held += sum(task.result().n_bytes for task in self.coming.values() if task.done())
        assert self.memory.used == held


TestPushing = Pushing.TestCase
TestPushing.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


def test_a_push_that_takes_more_than_was_thought_is_held_and_the_next_ones_expected_as_large() -> None:
    async def story() -> None:
        memory = Memory(100, 10)
        first = await memory.admit(0)
        await first.grow(40)
        memory.expect(40)  # it counts
        second = await memory.admit(1)
        assert (memory.used, second.n_bytes) == (80, 40)
        with pytest.raises(UsageError, match="push is at least 101 B; at most 100 B fits in memory"):
            await first.grow(101)
        second.finish(15)
        assert memory.used == 55
        first.release()
        first.release()
        assert memory.used == 15

    asyncio.run(story())


def test_nobody_waits_once_the_run_is_over() -> None:
    async def story() -> None:
        memory = Memory(10, 10, lambda: math.inf)
        await memory.admit(0)
        waiting = asyncio.create_task(memory.admit(1))
        await asyncio.sleep(0)
        assert memory.waiting == 1
        memory.open()
        await waiting
        assert memory.waiting == 0

    asyncio.run(story())


@pytest.mark.parametrize(
    "method", [Raw(), Entropy(quantizer="float8-1-5-2"), Entropy(quantizer="float4-1-2-1"), Entropy(bits=2.0)]
)
def test_what_a_push_takes_as_a_rule_is_no_less_than_one_takes(tmp_path: Path, method: Method) -> None:
    with plain_workers("127.0.0.1:1", 1, manifest=LARGE) as (a,):
        a.session = ""
        taken = sum(len(m.chunk.data) for m in a.gradient_messages(gradient_of(0, 1 << 18), 1, method=method))
    assert taken <= usual_push(LARGE.layout, method) <= 2 * taken


def test_a_model_whose_pushes_do_not_fit_is_refused_at_join_with_the_numbers(tmp_path: Path) -> None:
    with (
        running_server(run_config(tmp_path, memory="1 MiB")) as server,
        plain_workers(server.address, 1, manifest=LARGE) as (a,),
        refused(ConfigError, r"memory: got 768.00 KiB for pushes that take about 1.10 MiB each"),
    ):
        a.join()


def test_pushes_wait_for_room_and_the_one_that_is_needed_next_gets_in(tmp_path: Path) -> None:
    """There is room for two pushes. Slots 1 to 3 come first and stand still in the middle; slot 0 passes them."""
    config = run_config(tmp_path, workers=4, rounds=1, memory="4 MiB")
    with running_server(config) as server, plain_workers(server.address, 4, manifest=LARGE) as workers:
        for worker in workers:
            worker.begin(np.zeros(1 << 18, np.float32))
            worker.chunk_bytes = 64 << 10
        go_on = threading.Event()
        started = [threading.Event() for _ in workers]

        def halting(slot: int) -> Iterator[pb.PushMessage]:
            messages = list(workers[slot].gradient_messages(gradient_of(slot, 1 << 18), 1))
            yield messages[0]
            started[slot].set()  # the server may not read any further
            yield messages[1]
            go_on.wait()
            yield from messages[2:]

        later = [workers[slot].stub.Push.future(halting(slot), timeout=60) for slot in (1, 2, 3)]
        for slot in (1, 2, 3):
            assert started[slot].wait(20)
        assert workers[0].push(gradient_of(0, 1 << 18), 1).verdict == pb.VERDICT_COUNTED
        go_on.set()
        assert [call.result().verdict for call in later] == [pb.VERDICT_COUNTED] * 3
        workers[0].receive()
        total = np.zeros(1 << 18, np.float32)
        for slot in range(4):
            total += gradient_of(slot, 1 << 18)
        assert_array_equal(workers[0].flat, -np.float32(0.1) * (total / np.float32(4)))


def test_a_push_that_waits_for_room_is_told_that_the_run_ended(tmp_path: Path) -> None:
    config = run_config(tmp_path, workers=2, rounds=3, memory="2 MiB")
    with running_server(config, drain=2.0) as server, plain_workers(server.address, 2, manifest=LARGE) as (a, b):
        for worker in (a, b):
            worker.begin(np.zeros(1 << 18, np.float32))
        waiting = b.stub.Push.future(b.gradient_messages(gradient_of(0, 1 << 18), 1), timeout=60)
        assert a.status().phase == "collecting"
        server.stop()
        with refused(RunEndedError, "the run ended at version 0"):
            waiting.result()


@pytest.mark.parametrize(("rows", "n_bytes"), [(1000, 8 << 20), (10_000, 40_000_004)])
def test_updates_are_kept_while_a_snapshot_travels(rows: int, n_bytes: int) -> None:
    layout = Manifest((TensorSpec("dense.weight", (rows, 1000)), TensorSpec("dense.bias", ()))).layout
    assert memory_for_updates(Config(), layout) == n_bytes
    assert memory_for_updates(Config(memory="64 MiB"), layout) == 8 << 20

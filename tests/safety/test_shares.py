"""The asynchronous mode: no worker makes more than its share of the versions while others push."""

import heapq
import threading
import time
from pathlib import Path

import pytest

from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_server.rounds.asynchronous import Arrivals
from gradwire_server.rounds.schedule import Verdict
from gradwire_server.rounds.schedule_settings import ScheduleSettings
from gradwire_server.rounds.turns import Turns
from running import running_server
from safety.beside import follow, gradient_for
from server.plain_worker import PlainWorker, initial_weights, plain_workers, run_config

EACH = 4.0


def played(steps: dict[str, float], seconds: float, each: float = EACH) -> dict[str, int]:
    """Return the versions of each worker in `seconds`, where one step of it takes so long, and no time passes else.

    A worker that has to wait for its turn tries again when another pushed.
    """
    world = Arrivals(ScheduleSettings(len(steps), staleness=2 * len(steps), fair_share=each))
    world.begin()
    slots = {worker: slot for slot, worker in enumerate(steps)}
    for slot in slots.values():
        world.admit(slot)
    versions = dict.fromkeys(steps, 0)
    coming = [(step, worker, 0) for worker, step in steps.items()]
    heapq.heapify(coming)
    held: list[tuple[str, int]] = []
    while coming and coming[0][0] <= seconds:
        now, worker, base = heapq.heappop(coming)
        ready = [(worker, base)]
        while ready:
            worker, base = ready.pop()
            if world.is_ahead(slots[worker], worker):
                held.append((worker, base))
                continue
            verdict = world.count(slots[worker], worker, base + 1)
            if verdict is Verdict.COUNTED:
                versions[worker] += 1
                world.pop_ready()
                world.close()
                world.commit()
            else:
                world.came_late(slots[worker], worker)
            heapq.heappush(coming, (now + steps[worker], worker, world.version or 0))
            ready, held = held + ready, []
            if len(ready) > 1 and all(world.is_ahead(slots[name], name) for name, _ in ready):
                held, ready = ready, []
    return versions


def share(versions: dict[str, int], worker: str) -> float:
    return versions[worker] / sum(versions.values())


@pytest.mark.parametrize("step", [0.01, 0.001])
@pytest.mark.parametrize("n_honest", [1, 2, 7])
def test_one_that_pushes_without_pause_makes_its_share_and_no_more(step: float, n_honest: int) -> None:
    honest = {f"honest {i}": 0.1 + 0.003 * i for i in range(n_honest)}
    versions = played({**honest, "greedy": step}, 60.0)
    assert share(versions, "greedy") <= EACH / (EACH + n_honest) + 0.05
    undisturbed = played(honest, 60.0)
    for worker in honest:
        assert versions[worker] >= 0.8 * undisturbed[worker]


@pytest.mark.parametrize("times", [1.0, 2.0, 3.5])
def test_honest_workers_of_unequal_speed_are_slowed_by_nothing(times: float) -> None:
    steps = {"fast": 0.1 / times, "slow": 0.1, "slow too": 0.11}
    held, free = played(steps, 60.0), played(steps, 60.0, each=0.0)
    for worker in steps:
        assert held[worker] >= 0.97 * free[worker]


def test_a_worker_waits_for_no_one_who_is_gone_or_has_never_pushed() -> None:
    turns = Turns(EACH)
    turns.pushed("other", 1, counts=True)
    for n in range(1000):
        assert not turns.is_ahead("fast", 0, {0}), n
        turns.pushed("fast", 0, counts=True)
    assert turns.is_ahead("fast", 0, {0, 1})
    turns.give_up_on_others("fast")
    assert not turns.is_ahead("fast", 0, {0, 1})
    turns.pushed("other", 1, counts=False)
    for _ in range(4):
        assert not turns.is_ahead("fast", 0, {0, 1})
        turns.pushed("fast", 0, counts=True)
    assert turns.is_ahead("fast", 0, {0, 1})


def test_a_greedy_worker_of_a_real_run_leaves_the_others_their_versions(tmp_path: Path) -> None:
    """Two workers push some 50 times a second each, the third as fast as it can."""
    config = run_config(tmp_path, mode="asynchronous", rounds=0, workers=3, evaluate_every=0, staleness=6)
    with running_server(config) as server, plain_workers(server.address, 3) as (a, b, greedy):
        for worker in (a, b, greedy):
            worker.begin(initial_weights())
        over = threading.Event()
        counted = dict.fromkeys("abc", 0)

        def work(worker: PlainWorker, pause: float) -> None:
            gradient = gradient_for(worker, 1)
            while not over.wait(pause):
                receipt = worker.push(gradient, worker.version + 1)
                counted[worker.worker_id] += receipt.verdict == pb.VERDICT_COUNTED
                follow(worker, receipt.version)

        threads = [threading.Thread(target=work, args=args) for args in ((a, 0.05), (b, 0.05), (greedy, 0.0))]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        over.wait(4.0)
        seconds = time.monotonic() - began
        over.set()
        for worker, thread in zip((a, b), threads, strict=False):
            thread.join(30)
            worker.leave()  # so that who waits for its turn gets it
        threads[-1].join(30)
    assert counted["c"] / sum(counted.values()) < 0.8, (counted, seconds)


def test_who_is_ahead_waits_only_so_long_for_those_who_fell_silent(tmp_path: Path) -> None:
    config = run_config(
        tmp_path, mode="asynchronous", rounds=0, workers=2, evaluate_every=0, staleness=4, silent_after="300 ms"
    )
    with running_server(config) as server, plain_workers(server.address, 2) as (a, b):
        for worker in (a, b):
            worker.begin(initial_weights())
        b.push(gradient_for(b, 1), 1)
        for _ in range(30):
            follow(a, max(a.version, 1))
            receipt = a.push(gradient_for(a, 1), a.version + 1)
            follow(a, receipt.version)
        assert a.version > 20

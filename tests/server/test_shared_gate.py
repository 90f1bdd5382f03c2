"""One rate for all: never more than it in all, shared out fairly, lent where a worker does not use its share."""

import asyncio
import heapq
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradwire_server.limits.fair_queue import QUANTUM, FairQueue, Request
from gradwire_server.limits.pacing import Gate, SharedGate

RATE, BURST, CHUNK = 1_000_000, 200_000, 50_000
STATED = 1_005_025  # of which the gates keep a two-hundredth back


class FakeTime:
    """A clock that moves when everybody sleeps."""

    def __init__(self) -> None:
        self.now = 0
        self._sleepers: list[tuple[int, int, asyncio.Event]] = []

    def clock(self) -> int:
        return self.now

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.Event()
        heapq.heappush(self._sleepers, (self.now + round(seconds * 1e9), id(woken), woken))
        await woken.wait()

    async def run(self, seconds: float) -> None:
        """Let time pass, waking each sleeper at its time, once all others are asleep again."""
        end = self.now + round(seconds * 1e9)
        while True:
            for _ in range(20):
                await asyncio.sleep(0)
            if not self._sleepers or self._sleepers[0][0] > end:
                break
            self.now, _, woken = heapq.heappop(self._sleepers)
            woken.set()
        self.now = end


def passed(*chunks: int, rates: Sequence[int] = (), seconds: float = 20.0) -> list[int]:
    """Return the bytes that greedy workers with such chunks, and rates of their own, pass at one shared rate."""

    async def main() -> list[int]:
        time = FakeTime()
        shared = SharedGate(STATED, BURST, time.clock, time.sleep)
        own = rates or [0] * len(chunks)
        gates = [Gate(rate, BURST, time.clock, time.sleep, shared) for rate in own]

        async def send(gate: Gate, chunk: int) -> None:
            while True:
                await gate.take(chunk)

        tasks = [asyncio.create_task(send(gate, chunk)) for gate, chunk in zip(gates, chunks, strict=True)]
        await time.run(seconds)
        counts = [gate.n_bytes for gate in gates]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return counts

    return asyncio.run(main())


@pytest.mark.parametrize("n", [1, 2, 16])
def test_greedy_workers_share_all_of_the_rate_in_equal_parts(n: int) -> None:
    counts = passed(*[CHUNK] * n)
    assert sum(counts) == pytest.approx(20 * RATE + BURST, abs=(n + 1) * CHUNK)
    assert max(counts) - min(counts) <= BURST + QUANTUM + CHUNK


def test_what_a_worker_does_not_use_is_lent_to_the_others() -> None:
    slow, *greedy = passed(CHUNK, CHUNK, CHUNK, rates=[STATED // 10, 0, 0])
    assert slow == pytest.approx(20 * RATE // 10 + BURST, abs=2 * CHUNK)
    for count in greedy:
        assert count == pytest.approx(20 * RATE * 0.45, abs=BURST + 2 * CHUNK)


def test_a_wait_that_is_cancelled_gives_its_tokens_and_its_turn_back() -> None:
    async def main() -> tuple[int, int]:
        time = FakeTime()
        shared = SharedGate(STATED, BURST, time.clock, time.sleep)
        gates = [Gate(0, BURST, time.clock, time.sleep, shared) for _ in range(3)]
        await gates[0].take(BURST)
        tasks = [asyncio.create_task(gate.take(100_000)) for gate in gates]
        await time.run(0.05)
        tasks[0].cancel()  # served next, its tokens are taken
        tasks[1].cancel()  # waits for its turn
        await time.run(0.25)
        assert tasks[2].done()
        return sum(gate.n_bytes for gate in gates), shared.tokens

    n_bytes, tokens = asyncio.run(main())
    assert n_bytes == BURST + 100_000
    assert tokens == pytest.approx(0.3 * RATE - 100_000, abs=1)


def test_a_rate_that_is_lifted_lets_all_pass() -> None:
    async def main() -> int:
        time = FakeTime()
        shared = SharedGate(1000, BURST, time.clock, time.sleep)
        gate = Gate(0, BURST, time.clock, time.sleep, shared)
        shared.set_rate(0, 0)
        for _ in range(10):
            await gate.take(BURST)
        return time.now

    assert asyncio.run(main()) == 0


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, QUANTUM), st.booleans()), max_size=60))
def test_every_request_is_served_once_in_the_order_of_its_flow(steps: list[tuple[int, int, bool]]) -> None:
    queue, waiting, served = FairQueue(), [], []
    for flow, n, serve in steps:
        request = Request(flow, n)
        queue.put(request)
        waiting.append(request)
        if serve:
            served.append(queue.take())
            waiting.remove(served[-1])
        elif n % 3 == 0:
            assert queue.remove(waiting.pop())
            assert not queue.remove(request)
    while queue:
        served.append(queue.take())
        waiting.remove(served[-1])
    assert not waiting


def test_two_flows_that_wait_pass_the_same_bytes_to_within_a_turn() -> None:
    queue, passed_bytes = FairQueue(), {"small": 0, "large": 0}
    for _ in range(2000):
        queue.put(Request("small", 1_000))
    for _ in range(40):
        queue.put(Request("large", 50_000))
    for _ in range(900):
        request = queue.take()
        passed_bytes[request.flow] += request.n
        assert abs(passed_bytes["small"] - passed_bytes["large"]) <= QUANTUM + 50_000

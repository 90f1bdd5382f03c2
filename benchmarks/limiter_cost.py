"""What limiting costs the server's processor."""

import asyncio
import time

from gradwire_common.transport.channel import wire_bytes
from gradwire_common.transport.token_bucket import SECOND, TokenBucket
from gradwire_server.limits.limits import Limits
from gradwire_server.limits.pacing import Gate, SharedGate

MESSAGES = 200_000


def seconds_per_take() -> float:
    """Return the processor's seconds in one take() of a bucket that is busy, the best of five passes.

    The thread's own time is what counts, so that other load on the machine is no part of it.
    """
    best = float("inf")
    for _ in range(5):
        bucket = TokenBucket(12_500_000, 256 << 10)
        began = time.thread_time()
        for now in range(0, MESSAGES * SECOND // 1000, SECOND // 1000):
            bucket.take(16_384, now)
        best = min(best, (time.thread_time() - began) / MESSAGES)
    return best


def limiter_share(rate: int, n_workers: int, seconds: float) -> tuple[float, float]:
    """Return the share of a core that gates take while workers' chunks pass at `rate` together, and the rate reached.

    All of its thread's time is counted: buckets, turns, timers and the event loop that runs them; nothing else happens.
    """
    limits = Limits(shared_up=rate, rate_up=2 * rate // n_workers)
    message = wire_bytes(limits.chunk_bytes + 64)

    async def main() -> tuple[float, float]:
        shared = SharedGate(limits.shared_up, limits.burst_shared)
        gates = [Gate(limits.rate_up, limits.burst, shared=shared) for _ in range(n_workers)]

        async def pass_chunks(gate: Gate) -> None:
            while True:
                await gate.take(message)
                gate.settle(message, message - 40)

        tasks = [asyncio.create_task(pass_chunks(gate)) for gate in gates]
        await asyncio.sleep(1.0)  # until the bursts are used up
        before, used, began = sum(gate.n_bytes for gate in gates), time.thread_time(), time.perf_counter()
        await asyncio.sleep(seconds)
        used, passed = time.thread_time() - used, time.perf_counter() - began
        moved = sum(gate.n_bytes for gate in gates) - before
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return used / passed, moved / passed

    return asyncio.run(main())

"""Times of things that take turns, so that what disturbs one disturbs all."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of several runs of one thing."""

    best: float
    median: float


def take_turns(
    runs: Mapping[str, Callable[[], object]], rounds: int, clock: Clock = time.thread_time
) -> dict[str, Timing]:
    """Run everything twice a round and time the second, so that what ran before has left no trace in the caches.

    Args:
        runs: What to time, by name.
        rounds: How often, >= 1.
        clock: Seconds of this thread's processor time, unless told otherwise.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            run()
            start = clock()
            run()
            seconds[name].append(clock() - start)
    return {name: Timing(min(times), median(times)) for name, times in seconds.items()}

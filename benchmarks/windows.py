"""What a connection's reads at the socket say: the worst window, the long-run rate, fairness."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gradwire.links.forwarder import Passage

F64 = npt.NDArray[np.float64]


def worst_lead(passage: Passage, rate: float, burst: int) -> float:
    """Return the most bytes beyond rate * window + burst over every window of the passage, the shortest included."""
    times, sizes = np.array(passage.times), np.array(passage.sizes, np.float64)
    if not len(times):
        return 0.0
    after = np.cumsum(sizes) - rate * times
    before = after - sizes
    return float((after - np.minimum.accumulate(before)).max() - burst)


def long_run_rate(passage: Passage, begin: float, end: float) -> float:
    """Return bytes per second between two times: the slope of the line through all reads (least squares)."""
    times = np.array(passage.times)
    kept = (times >= begin) & (times <= end)
    slope: float = np.polyfit(times[kept] - begin, np.cumsum(passage.sizes)[kept], 1)[0]
    return slope


def together(passages: Sequence[Passage]) -> Passage:
    """Return the reads of several passages as those of one."""
    reads = sorted(
        (time, size) for passage in passages for time, size in zip(passage.times, passage.sizes, strict=True)
    )
    return Passage([time for time, _ in reads], [size for _, size in reads])


def jain(amounts: Sequence[float]) -> float:
    """Return Jain's index of fairness: 1 where all are equal, 1 / n where one has all (Jain, Chiu, Hawe 1984)."""
    values = np.array(amounts, np.float64)
    return float(values.sum() ** 2 / (len(values) * (values**2).sum()))

"""A line of the server's log every so often: how far the run has come, what it costs and how long it will take."""

import logging
import math
from collections.abc import Callable, Sequence

from gradwire_common.foreign_text import printable
from gradwire_common.metrics import is_fraction
from gradwire_common.units import format_seconds
from gradwire_common.v1 import parameter_server_pb2 as pb

LOG_EVERY = 10.0  # seconds between lines
MAX_METRICS_TOLD = 4  # in a line

log = logging.getLogger("gradwire.server")


class ProgressLog:
    """Tells of committed rounds, at most every LOG_EVERY seconds, and of the last one.

    Args:
        rounds: that the run will have; 0 for no end.
        clock: monotonic, in seconds.
    """

    def __init__(self, rounds: int, clock: Callable[[], float]):
        self._rounds = rounds
        self._clock = clock
        self._told = clock()

    def committed(self, record: pb.RoundRecord, evaluations: Sequence[pb.Evaluation]) -> None:
        """Tell of a round, where it is time."""
        now = self._clock()
        if now - self._told >= LOG_EVERY or record.round == self._rounds:
            self._told = now
            log.info("%s", progress_text(record, self._rounds, evaluations[-1:]))


def progress_text(record: pb.RoundRecord, rounds: int, evaluations: Sequence[pb.Evaluation]) -> str:
    """Return a line about the newest round and the newest evaluation, if there is one."""
    parts = [f"round {record.round}" + (f" of {rounds}" if rounds else "")]
    if not math.isnan(record.loss):
        parts.append(f"train loss {record.loss:.4f}")
    for evaluation in evaluations:
        for metric in evaluation.metrics[:MAX_METRICS_TOLD]:
            mean = metric.sum / metric.count
            value = f"{mean:.2%}" if is_fraction(metric.name) else f"{mean:#.4g}"
            parts.append(f"test {printable(metric.name)} {value} (round {evaluation.version})")
    parts.append(f"{record.contributors} workers, {record.seconds:.2f} s a round")
    if rounds > record.round:
        parts.append(f"{format_seconds((rounds - record.round) * record.seconds)} left")
    return ", ".join(parts)

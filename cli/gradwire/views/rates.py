"""How fast a worker's bytes move, beside what its token bucket lets pass."""

from collections.abc import Sequence

from gradwire_common.units import format_rate
from gradwire_common.v1 import parameter_server_pb2 as pb


def rate_of(records: Sequence[pb.RoundRecord], direction: str) -> float | None:
    """Return the mean bytes per second of one worker, "up" or "down", over some rounds; None where no time passed."""
    seconds = sum(record.seconds for record in records)
    n_bytes = sum(getattr(record, f"bytes_{direction}") / max(1, record.contributors) for record in records)
    return n_bytes / seconds if seconds > 0 else None


def rate_text(records: Sequence[pb.RoundRecord], direction: str, limit: int) -> str:
    """Return "1.2 Mbit/s a worker, 60 % of 2 Mbit/s"; without the limit, in bytes per second, where it is 0."""
    rate = rate_of(records, direction)
    if rate is None:
        return ""
    share = f", {rate / limit:.0%} of {format_rate(limit)}" if limit else ""
    return f"{format_rate(rate)} a worker{share}"


def least_limit(workers: Sequence[pb.WorkerStatus], direction: str) -> int:
    """Return the lowest limit of the workers that are alive, in bytes per second; 0 where none has any."""
    limits = [getattr(worker, f"rate_{direction}") for worker in workers if worker.alive]
    return min((limit for limit in limits if limit), default=0)

"""Every worker's gates, those of all together, and the limits that stand behind them."""

from collections.abc import Collection
from dataclasses import asdict, dataclass, replace

from gradwire_common.errors import UsageError
from gradwire_common.transport.chunks import MAX_CHUNK, WHOLE_BYTES
from gradwire_common.transport.transfer import frames_budget
from gradwire_common.units import Rate, Size
from gradwire_server.limits.limits import RATES, Limits, least_rate
from gradwire_server.limits.pacing import Gate, SharedGate
from gradwire_server.supervision import Supervisor


@dataclass(slots=True)
class Gates:
    """The two directions of a worker's traffic, and how long its messages are now; they outlive its sessions."""

    up: Gate
    down: Gate
    chunk_bytes: int
    whole_bytes: int


class Limiter:
    """Holds workers to their limits, which may change while the run continues.

    Attributes:
        limits: of every worker that has none of its own, and of all together.

    Args:
        limits: at first.
        most_chunk: most bytes of data in a chunk, whatever the limits.
        tasks: hears of it where the sharing fails.
    """

    def __init__(self, limits: Limits, most_chunk: int = MAX_CHUNK, tasks: Supervisor | None = None):
        self.limits = limits
        self._most_chunk = most_chunk
        self._own: dict[str, Limits] = {}
        self._gates: dict[str, Gates] = {}
        self._longest: dict[str, int] = {}  # worker -> the longest chunk that it was ever told
        self._up = SharedGate(limits.shared_up, limits.burst_shared, tasks=tasks)
        self._down = SharedGate(limits.shared_down, limits.burst_shared, tasks=tasks)

    def gates_of(self, worker_id: str) -> Gates:
        """Return the gates that a worker's bytes pass."""
        if worker_id not in self._gates:
            allowed = self.limits_of(worker_id)
            self._gates[worker_id] = Gates(
                Gate(allowed.rate_up, allowed.burst, shared=self._up),
                Gate(allowed.rate_down, allowed.burst, shared=self._down),
                min(allowed.chunk_bytes, self._most_chunk),
                _whole_bytes(allowed),
            )
        return self._gates[worker_id]

    def forget(self, worker_id: str) -> None:
        """Keep nothing of a worker that is no member any more."""
        for kept in (self._own, self._gates, self._longest):
            kept.pop(worker_id, None)

    def limits_of(self, worker_id: str) -> Limits:
        """Return what a worker is allowed."""
        return self._own.get(worker_id, self.limits)

    def tell_chunk(self, worker_id: str) -> int:
        """Return the most bytes of data in a worker's chunks from now on, which it is about to be told."""
        size = self.gates_of(worker_id).chunk_bytes
        self._longest[worker_id] = max(size, self._longest.get(worker_id, 0))
        return size

    def longest_chunk(self, worker_id: str) -> int:
        """Return the most bytes of data in any chunk of a worker: what it has not heard of yet it cannot keep."""
        return self._longest.get(worker_id, 0)

    def least_share_up(self, n_workers: int) -> int:
        """Return the bytes per second left to the slowest worker when `n_workers` all send; 0 for no limit at all."""
        return least_rate(limits.share_up(n_workers) for limits in (self.limits, *self._own.values()))

    def least_share_down(self, n_workers: int) -> int:
        """Return the bytes per second left to the slowest worker when all of `n_workers` are sent; 0 for no limit."""
        return least_rate(limits.share_down(n_workers) for limits in (self.limits, *self._own.values()))

    def update_budget(self, worker_ids: Collection[str], n_workers: int, seconds: float) -> int:
        """Return the bytes of frames that reach the slowest of some workers in `seconds`; 0 where none is limited.

        Args:
            worker_ids: who is to keep up.
            n_workers: how many share the limit of all.
            seconds: that the transfer may take.
        """
        everyone = [self.limits_of(worker_id) for worker_id in worker_ids] or [self.limits]
        limited = [(limits.share_down(n_workers), limits.chunk_bytes) for limits in everyone]
        budgets = [frames_budget(int(share * seconds), chunk_bytes) for share, chunk_bytes in limited if share]
        return max(1, min(budgets)) if budgets else 0

    def change(self, worker_id: str, changes: dict[str, int]) -> Limits:
        """Change the limits of one worker, or with an empty id those of all; return those that hold now.

        Args:
            worker_id: of a worker that has joined.
            changes: new values of fields of `Limits`.

        Raises:
            UsageError: the shared ones are to change for one worker alone.
            ConfigError: a burst that holds no two chunks; nothing has changed then.
        """
        if worker_id and (shared := [name for name in changes if "shared" in name]):
            raise UsageError(f"{shared[0]}: got it for worker {worker_id} alone, want it for all workers")
        after = replace(self.limits_of(worker_id), **changes)
        if worker_id:
            self._own[worker_id] = after
            self._apply(worker_id)
            return after
        self._own = {name: replace(own, **changes) for name, own in self._own.items()}
        self.limits = after
        self._up.set_rate(after.shared_up, after.burst_shared)
        self._down.set_rate(after.shared_down, after.burst_shared)
        for name in self._gates:
            self._apply(name)
        return after

    def _apply(self, worker_id: str) -> None:
        if worker_id in self._gates:
            allowed, gates = self.limits_of(worker_id), self._gates[worker_id]
            gates.up.set_rate(allowed.rate_up, allowed.burst)
            gates.down.set_rate(allowed.rate_down, allowed.burst)
            gates.chunk_bytes = min(allowed.chunk_bytes, self._most_chunk)
            gates.whole_bytes = _whole_bytes(allowed)


def _whole_bytes(limits: Limits) -> int:
    """Return the most bytes of frames in a message of their own: none where they have to pass bit by bit."""
    return 0 if limits.limited else WHOLE_BYTES


def described(limits: Limits) -> str:
    """Write limits for the log."""
    return ", ".join(
        f"{name} {Rate(value) if name in RATES else Size(value)}" for name, value in asdict(limits).items()
    )

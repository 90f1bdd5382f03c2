"""Shares of the asynchronous mode: no worker makes many more versions than the others do, while those push."""

from dataclasses import dataclass

MAX_WORKERS = 4096  # whose shares are known; those that pushed last
TURNS_AHEAD = 2.0  # how much of its share a worker may save up


@dataclass
class _Share:
    slot: int
    credit: float  # versions that the worker may make now
    pushes: int = 0  # of its own
    seen: int = 0  # pushes of others that its credit follows from
    idle: bool = False  # others wait for it no longer


class Turns:
    """Counts what each worker may push: `each` versions for every push of the others, on their average.

    So a worker that is `each` times as fast as the others is slowed by nothing. Pushes that are too late to count are
    pushes of the others too: a fast worker slows down until theirs count.

    Args:
        each: versions; 0 for any number.
    """

    def __init__(self, each: float):
        self._each = each
        self._of: dict[str, _Share] = {}  # the worker that pushed last comes last
        self._pushes = 0  # of all

    def pushed(self, worker: str, slot: int, *, counts: bool) -> None:
        """Note a push of `worker` at `slot`."""
        if not self._each:
            return
        share = self._share_of(worker, slot)
        self._of[worker] = self._of.pop(worker)
        share.slot, share.idle = slot, False
        share.pushes += 1
        self._pushes += 1
        if counts:
            share.credit = max(0.0, share.credit - 1.0)
        if len(self._of) > MAX_WORKERS:
            del self._of[next(iter(self._of))]

    def is_ahead(self, worker: str, slot: int, alive: set[int]) -> bool:
        """Whether `worker` at `slot` has made its share, as long as others at `alive` slots make none."""
        if not self._each:
            return False
        share = self._share_of(worker, slot)
        if share.credit >= 1.0:
            return False
        others = sum(not each.idle and each.slot in alive for name, each in self._of.items() if name != worker)
        if not others:
            return False
        pushes = self._pushes - share.pushes - share.seen
        share.seen += pushes
        share.credit = min(self._most, share.credit + self._each * pushes / others)
        return share.credit < 1.0

    def give_up_on_others(self, worker: str) -> None:
        """Let `worker` wait for none of the others until they push."""
        for name, share in self._of.items():
            share.idle = share.idle or name != worker

    @property
    def _most(self) -> float:
        return max(1.0, TURNS_AHEAD * self._each)

    def _share_of(self, worker: str, slot: int) -> _Share:
        if worker not in self._of:
            self._of[worker] = _Share(slot, self._most, seen=self._pushes, idle=True)
        return self._of[worker]

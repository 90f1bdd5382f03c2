"""What the log of a worker tells of its training: how far the run has come, how long it will take, what it came to."""

import logging
import math
import time
from collections.abc import Callable

from gradwire_common.foreign_text import printable
from gradwire_common.metrics import Metric, is_fraction
from gradwire_worker.progress import time_left, where_it_lies
from gradwire_worker.remote_optimizer import RemoteOptimizer

LOG_EVERY = 10.0  # seconds between lines

log = logging.getLogger("gradwire")


class RunLog:
    """Tells the log of an optimizer's steps, at most every LOG_EVERY seconds, and of the end.

    Attributes:
        metrics: of the newest evaluation of this worker's part of the test samples.

    Args:
        optimizer: that steps; None where another process of the node tells.
        clock: monotonic, in seconds.
    """

    def __init__(self, optimizer: RemoteOptimizer | None, clock: Callable[[], float] = time.monotonic):
        self.metrics: dict[str, Metric] = {}
        self._optimizer = optimizer
        self._clock = clock
        self._first, self._began = 0 if optimizer is None else optimizer.version, clock()
        self._told = self._began

    def stepped(self) -> None:
        """Tell of the newest step, where it is time."""
        now, optimizer = self._clock(), self._optimizer
        if optimizer is None or now - self._told < LOG_EVERY:
            return
        self._told = now
        left = time_left(optimizer.version, optimizer.rounds, optimizer.version - self._first, now - self._began)
        log.info("%s", "; ".join([str(optimizer.last_step), *left]))

    def ended(self) -> None:
        """Tell what the run came to at this worker; once it is over, where it lies and how to load it too."""
        optimizer = self._optimizer
        if optimizer is None:
            return
        state = "ended" if optimizer.ended else "is"
        parts = [f"the run {state} at version {optimizer.version}" + f" of {optimizer.rounds}" * bool(optimizer.rounds)]
        if optimizer.last_step is not None and math.isfinite(optimizer.last_step.loss):
            parts.append(f"train loss {optimizer.last_step.loss:.4f}")
        for name, metric in self.metrics.items():
            value = f"{metric.mean:.2%}" if is_fraction(name) else f"{metric.mean:#.4g}"
            parts.append(f"test {printable(name)} {value} on this worker's part")
        log.info("%s", ", ".join(parts))
        if optimizer.ended:
            log.info("%s", where_it_lies(optimizer.run))

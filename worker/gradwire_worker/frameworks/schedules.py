"""Schedules of torch's that a framework's checkpoint has brought back, while the run went on."""

import logging
import warnings
from typing import Any

from gradwire_worker.remote_optimizer import RemoteOptimizer

log = logging.getLogger("gradwire")


def catch_up(schedule: Any, optimizer: RemoteOptimizer) -> None:
    """Bring a schedule of the server's steps to the run's version, where it is behind.

    One that is ahead stays there: it is that of a new run which continues an older one.

    Args:
        schedule: of torch.optim.lr_scheduler, or a framework's wrapper of one; stepped once a round. One that wants a
            loss for each step stays as it is.
        optimizer: what it changes the options of.
    """
    schedule = getattr(schedule, "scheduler", schedule)
    rates = getattr(schedule, "_last_lr", None)
    behind = optimizer.version - getattr(schedule, "last_epoch", optimizer.version)
    if optimizer.local is not None or rates is None or hasattr(schedule, "patience"):
        return
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate  # of the step that the schedule is at: the next one may be made from it
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it steps before this optimizer ever did
        for _ in range(behind):
            schedule.step()
    if behind > 0:
        log.info("the schedule is brought %d rounds on, to the run's version %d", behind, optimizer.version)

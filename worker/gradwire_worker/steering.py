"""The options of the parameter groups: what the server steps with, and what a loop changes of them."""

import logging
import math
from collections.abc import Sequence
from typing import Any

from gradwire_common.errors import UsageError
from gradwire_common.step_options import RATE, Flat, Groups, changed, flatten, from_messages, unflatten
from gradwire_common.v1 import parameter_server_pb2 as pb

log = logging.getLogger("gradwire")


class Steering:
    """Keeps the options of the parameter groups and those of the run together.

    As long as a loop leaves them alone, the groups follow what the server has. Once it has changed one, by a schedule
    of torch's or by hand, this worker steers: its options go with every push, and stay as the loop leaves them.

    Args:
        groups: the optimizer's parameter groups; filled in.
        reply: what the server told when this worker joined.
        options: of the parameter groups that are not as the run began, at the version held.
        compared: whether the run steps with one worker's options at a time, for all to see.
    """

    def __init__(self, groups: Sequence[dict[str, Any]], reply: pb.JoinReply, options: Groups, *, compared: bool):
        self._groups = groups
        self._initial = from_messages(reply.groups)
        self._fixed_rate, self._fixed_options = reply.fixed_rate, reply.fixed_options
        self._compared = compared
        self._steers = self._told_fixed = self._told_other = False
        self._run = changed(self._initial, options)
        self.defaults = unflatten(next(filter(None, self._initial), {}))
        for group, first, now in zip(groups, self._initial, self._run, strict=True):
            if reply.version and RATE in first:
                group.setdefault(
                    "initial_lr", first[RATE]
                )  # a schedule that begins in mid-run is a part of the whole one
            self._write(group, now)

    def begin_again(self) -> None:
        """Let the groups have the options that the run began with, for a schedule that is to start there."""
        for group, first in zip(self._groups, self._initial, strict=True):
            group.pop("initial_lr", None)
            self._write(group, first)

    def options(self) -> Groups:
        """Return what the next push is to carry: () while this worker leaves its options to the server.

        Raises:
            UsageError: an option is no finite number.
        """
        now = [self._read(index, known) for index, known in enumerate(self._run)]
        for group, own, run in zip(self._groups, now, self._run, strict=True):
            for name in sorted(own):
                if own[name] == run[name]:
                    continue
                if self._is_fixed(name):
                    self._tell_fixed(name, own[name], run[name])
                    self._write(group, run, name)
                    own[name] = run[name]
                else:
                    self._steers = True
        if not self._steers:
            return ()
        return tuple(
            {name: value for name, value in own.items() if name == RATE or value != first[name]}
            for own, first in zip(now, self._initial, strict=True)
        )

    def loaded(self, options: Groups, pushed: Groups) -> None:
        """Take what the server has now, after a push that carried the options `pushed`."""
        self._run = changed(self._initial, options)
        for index, (group, run) in enumerate(zip(self._groups, self._run, strict=True)):
            for name in run:
                if not self._steers or self._is_fixed(name):
                    self._write(group, run, name)
                elif pushed and self._compared and run[name] != changed(self._initial, pushed)[index][name]:
                    self._tell_other(index, name, changed(self._initial, pushed)[index][name], run[name])

    def _is_fixed(self, name: str) -> bool:
        return self._fixed_rate if name == RATE else self._fixed_options

    def _read(self, index: int, known: Flat) -> Flat:
        group, own = self._groups[index], Flat()
        for name in {each.partition(".")[0] for each in known}:
            value = group[name].item() if hasattr(group[name], "item") else group[name]
            own |= flatten({name: value})
        for name in known:
            if not math.isfinite(own.get(name, math.nan)):
                raise UsageError(f"param_groups[{index}][{name!r}]: got {own.get(name)}, want a finite number")
        return {name: own[name] for name in known}

    @staticmethod
    def _write(group: dict[str, Any], run: Flat, changed_name: str = "") -> None:
        """Set the options of a group to the run's: all, or the one of this name."""
        base = changed_name.partition(".")[0]
        for name, value in unflatten(run).items():
            if not base or name == base:
                before = group.get(name)
                group[name] = bool(value) if isinstance(before, bool) else value

    def _tell_fixed(self, name: str, own: float, run: float) -> None:
        if not self._told_fixed:
            log.warning("%s: got %g from this worker's loop; the server's own setting wins: %g", name, own, run)
        self._told_fixed = True

    def _tell_other(self, index: int, name: str, own: float, run: float) -> None:
        if not self._told_other:
            log.warning(
                "param_groups[%d][%r]: this worker has %g, the run stepped with %g of a worker in a lower slot; "
                "schedules must be alike on all workers",
                index,
                name,
                own,
                run,
            )
        self._told_other = True

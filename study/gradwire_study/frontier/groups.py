"""Rows that differ by their seed alone, together: means and standard errors."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean, stdev

from gradwire_study.frontier.arm import Arm
from gradwire_study.frontier.rows import Row

Setting = tuple[str, str, int, int, str, bool, int]  # what arms of one table have in common


def setting_of(arm: Arm) -> Setting:
    """Return the network and how it is trained, but for the method."""
    return arm.network, arm.push, arm.workers, arm.local_steps, arm.split, arm.stateless, arm.exchanges


def setting_title(setting: Setting) -> str:
    """Return a setting in words."""
    network, push, workers, steps, split, stateless, exchanges = setting
    pushed = "gradients" if push == "gradients" else f"{steps} local steps"
    kept = ", stateless" if stateless else ""
    return f"{network}, {workers} workers{kept}, {split} shards, {exchanges} exchanges of {pushed}"


@dataclass(frozen=True, slots=True)
class Group:
    """An arm over its seeds.

    Attributes:
        rows: those whose training did not fail, at least one unless all failed.
        failed: how many did.
    """

    arm: Arm
    rows: tuple[Row, ...]
    failed: int

    @property
    def bits(self) -> tuple[float, float]:
        """Bits up and down an entry and exchange."""
        return fmean(row.bits_up for row in self.rows), fmean(row.bits_down for row in self.rows)

    @property
    def loss(self) -> float:
        """The mean loss."""
        return fmean(_losses(self.rows))

    @property
    def difference(self) -> tuple[float, float] | None:
        """Loss minus that of float32 exchanges, paired by seed: mean and standard error, NaN for one seed."""
        pairs = [(row.loss, row.reference_loss) for row in self.rows]
        found = [loss - reference for loss, reference in pairs if loss is not None and reference is not None]
        if not found:
            return None
        return fmean(found), stdev(found) / math.sqrt(len(found)) if len(found) > 1 else math.nan


def grouped(rows: Iterable[Row]) -> dict[Setting, list[Group]]:
    """Return the groups of each setting, those with the fewest bits first."""
    together: dict[Setting, dict[str, list[Row]]] = {}
    for row in rows:
        key = row.arm.model_copy(update={"seed": 0}).key
        together.setdefault(setting_of(row.arm), {}).setdefault(key, []).append(row)
    return {setting: sorted(map(_group, groups.values()), key=_order) for setting, groups in together.items()}


def _group(rows: list[Row]) -> Group:
    good = tuple(row for row in rows if row.loss is not None)
    return Group(rows[0].arm, good, len(rows) - len(good))


def _order(group: Group) -> float:
    return sum(group.bits) if group.rows else math.inf


def _losses(rows: Iterable[Row]) -> list[float]:
    return [row.loss for row in rows if row.loss is not None]

"""The study as tables in Markdown, one a setting."""

import math
from collections.abc import Iterable, Iterator
from statistics import fmean

from gradwire_study.frontier.groups import Group, grouped, setting_title
from gradwire_study.frontier.rows import Row

LINKS = (20, 100)  # Mbit/s, the same both ways
_COLUMNS = (
    "arm",
    "seeds",
    "bits up / down an exchange",
    "a local step",
    "times fewer than float32 every step",
    *(f"s at {rate} Mbit/s" for rate in LINKS),
    "loss",
    "over float32 exchanges",
)


def tables(rows: Iterable[Row]) -> str:
    """Return a table of every setting; seconds are of all exchanges over a worker's own link, up and then down."""
    return "\n".join(
        line for setting, groups in grouped(rows).items() for line in _table(setting_title(setting), groups)
    )


def _table(title: str, groups: Iterable[Group]) -> Iterator[str]:
    yield f"### {title}\n"
    yield _line(_COLUMNS)
    yield _line(["---"] * len(_COLUMNS))
    for group in groups:
        yield _line(_cells(group))
    yield ""


def _cells(group: Group) -> list[str]:
    arm = group.arm
    name = f"**{arm.name}**" if arm.recipe else arm.name
    seeds = f"{len(group.rows)}" + (f", {group.failed} failed" if group.failed else "")
    if not group.rows:
        return [name, seeds, *[""] * (len(_COLUMNS) - 2)]
    up, down = group.bits
    fewer = [fmean(row.reduction[way] for row in group.rows) for way in (0, 1)]
    entries = group.rows[0].parameters * arm.exchanges
    seconds = [f"{entries * (up + down) / (1e6 * rate):.3g}" for rate in LINKS]
    steps = arm.local_steps
    return [
        name,
        seeds,
        f"{up:.3g} / {down:.3g}",
        f"{up / steps:.2g} / {down / steps:.2g}",
        f"{fewer[0]:,.0f} / {fewer[1]:,.0f}",
        *seconds,
        f"{group.loss:.3f}",
        _difference(group),
    ]


def _difference(group: Group) -> str:
    found = group.difference
    if found is None:
        return ""
    mean, error = found
    return f"{mean:+.3f}" + ("" if math.isnan(error) else f" ± {error:.3f}")


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"

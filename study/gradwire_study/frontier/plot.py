"""The study as a picture: loss against bits, a panel a setting, every arm named."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from gradwire_study.frontier.arm import RAW
from gradwire_study.frontier.groups import Group, grouped, setting_title
from gradwire_study.frontier.rows import Row

PANEL_WIDTH, PANEL_HEIGHT = 8.0, 4.8  # inches
COLUMNS = 2
DOTS_PER_INCH = 130
OURS = "entropy"


def plot(rows: Iterable[Row], path: Path) -> None:
    """Write a PNG. Raises OSError where it cannot be written."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    settings = list(grouped(rows).items())
    columns = min(COLUMNS, len(settings))
    lines = -(-len(settings) // columns)
    size = (PANEL_WIDTH * columns, PANEL_HEIGHT * lines)
    figure, axes = plt.subplots(lines, columns, figsize=size, squeeze=False, layout="constrained")
    for axis in axes.flat[len(settings) :]:
        axis.remove()
    for axis, (setting, groups) in zip(axes.flat, settings, strict=False):
        _panel(axis, setting_title(setting), [group for group in groups if group.rows])
    figure.savefig(path, dpi=DOTS_PER_INCH)
    plt.close(figure)


def _panel(axis: Any, title: str, groups: Sequence[Group]) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axis.set_title(title, fontsize=10)
    axis.set_xscale("log", base=2)
    axis.set_xlabel("bits an entry and exchange, up + down")
    axis.set_ylabel("test loss")
    axis.xaxis.set_major_formatter(FuncFormatter(lambda bits, _: f"{bits:g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.grid(alpha=0.3)
    for group in groups:
        if group.arm.method == RAW:
            axis.axhline(group.loss, color="0.4", linestyle="--", linewidth=1)
        colour = "tab:red" if group.arm.recipe else "tab:blue" if group.arm.method == OURS else "0.35"
        losses = [row.loss for row in group.rows]
        axis.plot([sum(group.bits)] * len(losses), losses, "_", color=colour, alpha=0.5)
        axis.plot(sum(group.bits), group.loss, "*" if group.arm.recipe else "o", color=colour)
    _name_points(axis, groups)


def _name_points(axis: Any, groups: Sequence[Group]) -> None:
    """Write every arm's name beside its point, one below the other where points are close."""
    if not groups:
        return
    least, most = min(group.loss for group in groups), max(group.loss for group in groups)
    apart = max(most - least, 1e-9) / 22
    axis.margins(x=0.25)
    taken: list[float] = []
    for group in sorted(groups, key=lambda each: each.loss):
        place = max([group.loss, *(other + apart for other in taken if other + apart > group.loss)], default=group.loss)
        taken.append(place)
        axis.annotate(
            group.arm.name,
            (sum(group.bits), group.loss),
            (sum(group.bits) * 1.12, place),
            fontsize=7,
            verticalalignment="center",
            arrowprops={"arrowstyle": "-", "color": "0.7", "linewidth": 0.5, "shrinkA": 0, "shrinkB": 2},
        )

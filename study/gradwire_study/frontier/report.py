"""What the study leaves beside its rows: the tables and the picture."""

from collections.abc import Sequence
from pathlib import Path

from gradwire_study.frontier.plot import plot
from gradwire_study.frontier.rows import Row
from gradwire_study.frontier.table import tables

PICTURE, TABLES = "frontier.png", "frontier_table.md"


def write_report(rows: Sequence[Row], folder: Path) -> str:
    """Write tables and picture to `folder`; return the tables and where all is. Raises OSError."""
    if not rows:
        return "no arm has been run yet"
    text = tables(rows)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / TABLES).write_text(text)
    plot(rows, folder / PICTURE)
    return f"{text}\n{folder / TABLES}: these tables; {folder / PICTURE}: the picture"

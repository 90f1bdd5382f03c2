"""`gradwire study frontier`: loss against bytes, of many methods, on simulated workers."""

import os
from pathlib import Path
from typing import Annotated

import typer

from gradwire_common.errors import UsageError


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(frontier)


def frontier(
    study: Annotated[str, typer.Argument(metavar="[STUDY]", help="short, screening, full, or a TOML file")] = "short",
    full: Annotated[bool, typer.Option("--full", help="the study called full, which takes six to ten hours")] = False,
    data: Annotated[Path | None, typer.Option(metavar="PATH", help="CIFAR-10, for arms that train on it")] = None,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="folder of frontier.json, frontier.png and frontier_table.md")
    ] = Path("runs/studies"),
    cores: Annotated[int | None, typer.Option(metavar="INT", help="arms at once; all cores when not given")] = None,
    finished: Annotated[
        bool, typer.Option("--finished", help="train nothing: table and plot of the arms that have been run")
    ] = False,
) -> None:
    """Set methods side by side: the loss that each reaches, and the bits it takes. Resumes where it was stopped."""
    from gradwire_study.frontier.report import write_report
    from gradwire_study.frontier.rows import Row, Rows
    from gradwire_study.frontier.running import run_arms, runnable
    from gradwire_study.frontier.study import FULL, load_study

    if cores is not None and cores < 1:
        raise UsageError(f"cores: got {cores}, want at least 1")
    arms, rows = load_study(FULL if full else study), Rows(out / "frontier.json")
    there = runnable(arms, data)
    if len(there) < len(arms):
        print(f"{len(arms) - len(there)} of {len(arms)} arms are left out: they need CIFAR-10; name it with --data")
    waiting = sum(arm not in rows for arm in there)
    print(f"{len(there)} arms, {waiting} of them without a row in {out / 'frontier.json'}", flush=True)
    done = 0

    def report(row: Row) -> None:
        nonlocal done
        done += 1
        print(f"{done} of {waiting}: {row}", flush=True)

    if not finished:
        run_arms(there, rows, data, cores or len(os.sched_getaffinity(0)), report)
    print(write_report(rows.of(there), out))

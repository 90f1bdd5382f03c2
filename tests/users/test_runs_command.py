"""`gradwire runs` lists what is in the folder of runs, and sets runs side by side."""

import json
from io import StringIO

import pytest
from rich.console import Console

from cli.recorded import evaluation, record
from gradwire.commands.runs import find_runs, list_of
from gradwire.views.report import comparison_table
from gradwire_server.store.record_lines import written


def a_run(runs, name, rounds, total, accuracy=0.9):
    folder = runs / name
    folder.mkdir(parents=True)
    lines = [written(record(n)) for n in range(1, rounds + 1)] + [written(evaluation(rounds, accuracy))]
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "config.toml").write_text(f"[run]\nrounds = {total}\n")
    return folder


@pytest.fixture
def runs(tmp_path):
    folder = tmp_path / "runs"
    a_run(folder, "wide-resnet-on-four-machines", 20, 20)
    a_run(folder, "short", 5, 20, accuracy=0.5)
    a_run(folder, "short/baseline", 5, 0)
    (folder / "no-run").mkdir()
    return folder


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_the_list_and_the_comparison_fit_the_terminal(runs, columns):
    console = Console(file=StringIO(), width=columns)
    found = find_runs(runs)
    console.print(list_of(found, console))
    console.print(comparison_table([run.history for run in found]))
    console.print(comparison_table([run.history for run in found[:2]]))
    got = console.file.getvalue()
    assert max(map(len, got.splitlines())) <= columns
    for part in ("wide-resnet-on-four-machines", "20/20", "5/20", "short/baseline", "90.00% (higher is better)"):
        assert part in got


def test_runs_are_known_by_how_they_ended(runs):
    assert {run.name: run.state for run in find_runs(runs)} == {
        "wide-resnet-on-four-machines": "ended",
        "short": "stopped",
        "short/baseline": "ended",
    }


def test_runs_are_listed_and_compared_as_json(run, runs):
    listed = json.loads(run("runs", "--format", "json").out)
    assert set(listed) == {"short", "short/baseline", "wide-resnet-on-four-machines"}
    assert listed["short"]["metrics"]["accuracy"]["last"] == 0.5
    two = run("runs", "short", "wide-resnet-on-four-machines")
    assert two.code == 0
    assert "-40.00 points" in two.out


def test_a_folder_without_runs_and_a_run_that_is_not_there_say_so(run):
    assert run("runs").out == "there are no runs in runs; gradwire train makes one\n"
    ended = run("runs", "nosuch")
    assert (ended.code, ended.error) == (2, "error: runs/nosuch: is no run; `gradwire runs` lists those there are")


@pytest.mark.parametrize("config", ["", "[run", "[run]\nrounds = 'many'\n", "run = 3\n"])
def test_settings_that_cannot_be_read_leave_the_total_unknown(runs, config):
    (runs / "short" / "config.toml").write_text(config)
    assert {run.history.total for run in find_runs(runs) if run.name == "short"} == {0}

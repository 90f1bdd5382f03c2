import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from cli.recorded import history
from gradwire.views.curves_plot import draw_curves
from gradwire.views.history import History
from gradwire.views.report import figures, summary_table, write_json
from gradwire_common.errors import UsageError

PNG = b"\x89PNG"


@pytest.fixture
def run():
    return history("2 bits", rounds=200)


@pytest.fixture
def baseline():
    return history("float32", rounds=200, bits=32.0)


def rows(table):
    console = Console(file=StringIO(), width=120)
    console.print(table)
    lines = [line.strip("│ ").split("│") for line in console.file.getvalue().splitlines() if line.startswith("│")]
    return {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in lines}


def test_the_table_sets_the_run_beside_its_baseline(run, baseline):
    got = rows(summary_table(run, baseline))
    assert got["test accuracy, last"] == ["97.97%", "97.97%", "+0.00 points"]
    assert got["test accuracy, mean of last 5"] == ["97.93%", "97.93%", "+0.00 points"]
    assert got["test accuracy, highest"] == ["97.97%", "97.97%", "+0.00 points"]
    assert got["test loss, lowest"] == ["0.1000", "0.1000", "+0.000"]
    assert got["bytes up"] == ["3.91 MiB", "61.13 MiB", "15.6x less"]
    assert got["bits per entry, up"] == ["2.050", "32.050", "15.6x less"]
    assert got["seconds"] == ["10.0", "10.0", "1.00x"]


def test_without_a_baseline_the_table_has_one_column(run):
    assert rows(summary_table(run))["bytes up"] == ["3.91 MiB"]


def test_what_is_not_known_is_a_dash(baseline):
    got = rows(summary_table(History("2 bits"), baseline))
    assert got["test accuracy, last"] == ["-", "97.97%", "-"]
    assert got["bytes up"] == ["0 B", "61.13 MiB", "-"]


def test_json_has_the_figures_of_both_runs(run, baseline, tmp_path):
    file = tmp_path / "deep" / "figures.json"
    write_json(file, figures(run, baseline))
    got = json.loads(file.read_text())
    assert got["metrics"]["accuracy"]["last"] == pytest.approx(0.9797, abs=1e-4)
    assert got["metrics"]["loss"] == {
        "last": 0.1,
        "mean_of_last_5": 0.1,
        "best": 0.1,
        "best_version": 10,
        "lower_is_better": True,
    }
    assert got["baseline_bytes_up"] / got["bytes_up"] == pytest.approx(15.63, abs=0.01)
    assert {"bits_up", "bytes_down", "bits_down", "seconds", "baseline_metrics", "baseline_seconds"} <= got.keys()


def test_json_without_a_baseline_has_the_same_keys(run, baseline):
    alone = figures(run)
    assert alone.keys() == figures(run, baseline).keys()
    assert alone["baseline_metrics"] is None


def test_json_to_a_place_that_cannot_be_written_is_refused(run):
    with pytest.raises(UsageError, match="want a file that can be written"):
        write_json(Path("/proc/none/figures.json"), figures(run))


@pytest.mark.parametrize("rounds", [0, 5, 10, 200])
def test_curves_are_drawn_of_however_little_there_is(tmp_path, baseline, rounds):
    file = tmp_path / "curves.png"
    draw_curves(file, [history(rounds=rounds), baseline])
    draw_curves(file, [history(rounds=rounds)])
    assert file.read_bytes().startswith(PNG)

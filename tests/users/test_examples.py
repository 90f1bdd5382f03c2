"""Examples run as they stand: those here; own_loop and own_task beside the commands, the frameworks' with theirs."""

import json
import re
import runpy
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from gradwire_common.settings.config import Config
from running import RunningServer, running_server

EXAMPLES = Path(__file__).parents[2] / "examples"
ROUNDS = 12
Run = Callable[..., str]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[str], RunningServer]]:
    """Servers for one worker each, by the name of their run."""
    with ExitStack() as stack:

        def start(name: str) -> RunningServer:
            config = {"runs": tmp_path, "name": name, "listen": "127.0.0.1:0", "workers": 1, "rounds": ROUNDS}
            return stack.enter_context(running_server(Config.load(None, {**config, "evaluate_every": 4})))

        yield start


@pytest.fixture
def run(monkeypatch: Any, capsys: Any) -> Run:
    """Run an example as a program, in this process; return what it printed."""

    def as_program(name: str, *arguments: object) -> str:
        path = str(EXAMPLES / name)
        monkeypatch.setattr("sys.argv", [path, *map(str, arguments)])
        runpy.run_path(path, run_name="__main__")
        return str(capsys.readouterr().out)

    return as_program


def lines_of(folder: Path, kind: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def test_the_gpt_reports_its_perplexity_by_name(serve: Any, run: Run, tmp_path: Path) -> None:
    server = serve("gpt")
    small = ("--width", 32, "--depth", 1, "--context", 32, "--batch", 16)
    printed = run("gpt.py", server.address, *small)
    server.join()
    perplexities = [float(each) for each in re.findall(r"perplexity ([\d.]+) a byte", printed)]
    assert len(perplexities) == ROUNDS // 4
    assert 256 > perplexities[0] > perplexities[-1]
    rates = [line["learning_rate"] for line in lines_of(tmp_path / "gpt", "round")]
    assert rates[0] == max(rates) == 2e-3  # a tenth of twelve rounds is one: no warm-up
    assert rates[1:] == sorted(rates[1:], reverse=True)
    evaluations = lines_of(tmp_path / "gpt", "evaluation")
    assert [line["version"] for line in evaluations] == [4, 8, 12]
    assert "accuracy" not in (tmp_path / "gpt" / "metrics.jsonl").read_text()


def test_the_gan_trains_two_models_at_two_servers(serve: Any, run: Run, tmp_path: Path) -> None:
    servers = [serve("generator"), serve("discriminator")]
    printed = run("gan.py", *(server.address for server in servers))
    for server in servers:
        server.join()
    assert re.search(rf"version {ROUNDS}: [\d.]+% near a cloud, \d of 8 clouds met", printed)
    for name in ("generator", "discriminator"):
        assert {line["learning_rate"] for line in lines_of(tmp_path / name, "round")} == {1e-3}


def test_the_regression_has_errors_and_no_accuracy(serve: Any, run: Run, tmp_path: Path) -> None:
    server = serve("regression")
    printed = run("regression.py", server.address)
    server.join()
    errors = [float(each) for each in re.findall(r"mse ([\d.]+)", printed)]
    assert errors[0] > errors[-1]
    assert "accuracy" not in (tmp_path / "regression" / "metrics.jsonl").read_text()


def test_the_notebook_runs_from_the_first_cell_to_the_last(tmp_path: Path) -> None:
    if find_spec("nbclient") is None:
        pytest.skip("nbclient is not installed: pip install 'gradwire[frameworks]'")
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(EXAMPLES / "notebook.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)  # outputs are each reader's own
    NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(tmp_path)}}).execute()
    last, right = [cell.outputs[-1]["data"]["text/plain"] for cell in notebook.cells if cell.get("outputs")][:-3:-1]
    assert last == "True"
    assert float(re.search(r"([\d.]+)% of the test images are right", right)[1]) > 70

"""Server and workers started one by one, by the commands of the README and the examples."""

import shutil
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


def test_status_shows_the_run_and_its_workers(run, start, server):
    address = server("--workers", 2, "--name", "shown")
    worker = start("worker", "--server", address, "--worker-id", "first")
    worker.wait_for("joined run")
    shown = run("status", address)
    assert shown.code == 0
    assert "shown" in shown.out
    assert "1 alive, 2 expected" in shown.out
    assert "first" in shown.out
    assert run("status", address, "--worker", "first").code == 0
    absent = run("status", address, "--worker", "second")
    assert (absent.code, absent.error) == (1, "error: worker 'second' is not alive, want one of first")


def test_a_loop_of_ones_own_trains_with_others(start, server):
    address = server("--workers", 2, "--rounds", 40)
    workers = [start(address, program=(str(EXAMPLES / "own_loop.py"),)) for _ in range(2)]
    for worker in workers:
        right = worker.wait_for(r"version 40: ([\d.]+)% of the test images are right")
        assert float(right) > 80
        assert worker.wait() == 0


def test_a_task_of_ones_own_is_trained(run, tmp_path):
    shutil.copy(EXAMPLES / "own_task.py", tmp_path)
    ended = run("train", "--task", "own_task:build", "--rounds", 10, "--workers", 2)
    assert ended.code == 0, ended.err
    assert "test accuracy, last" in ended.out


def test_the_demos_settings_are_good(tmp_path, run):
    """Misspelt settings are found by loading the file; --gamma then fails before anything is trained."""
    ended = run("train", "--config", EXAMPLES / "demo.toml", "--gamma", 2)
    assert ended.error == "error: gamma: got '2', want less than or equal to 1"

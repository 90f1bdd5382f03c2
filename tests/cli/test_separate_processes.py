"""Server and workers started one by one, by the commands of the README, the compose file and the examples."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

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


def test_the_commands_of_the_compose_file_work_as_processes(start, tmp_path):
    text = (ROOT / "docker-compose.yml").read_text()
    settings = dict(re.findall(r"^  (GRADWIRE_\w+): \$\{\w+:-(.*)\}$", text, re.MULTILINE)) | {"HOSTNAME": "box"}
    served = re.search(r'command: \["(server)", "--listen", "0\.0\.0\.0:50051", "--insecure"\]', text)[1]
    worked = re.search(r"entrypoint: \[\"sh\", \"-c\", '(.*)'\]", text)[1].replace("$$", "$")
    checked = re.search(r"CMD-SHELL\", '(.*)'\]", text)[1].replace("$$", "$")

    address = start(served, "--listen", "127.0.0.1:0", **settings).wait_for(r"^listening on (\S+)")
    shell = ("-c", "import os, sys; os.execvp('sh', ['sh', '-c', sys.argv[1]])")
    worker = start(worked.replace("server:50051", address), program=shell, **settings)
    worker.wait_for("joined run")
    assert start("status", address).wait() == 0
    assert start(checked.replace("server:50051", address), program=shell, **settings).wait() == 0
    worker.process.terminate()  # as `docker compose stop` does
    assert worker.wait() == 130
    assert start(checked.replace("server:50051", address), program=shell, **settings).wait() == 1


@pytest.mark.skipif(not shutil.which("docker-compose"), reason="docker-compose is not installed")
def test_the_compose_file_is_valid():
    done = subprocess.run(["docker-compose", "config", "--quiet"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

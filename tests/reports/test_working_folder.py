"""A working folder may hold files of any name: no process of gradwire takes them for Python's or a library's."""

import sys
from pathlib import Path

import pytest

from gradwire.local.cluster import environment_of
from gradwire_common.errors import TaskError
from gradwire_common.settings.config import Config
from gradwire_worker.tasks import load_task

GRADWIRE = (str(Path(sys.executable).with_name("gradwire")),)
NAMES = ["statistics", "queue", "types", "profile", "random", "typing", "re", "torch", "grpc", "sklearn", "gradwire"]
FOLDERS = ["numpy", "scipy", "gradwire_common", "asyncio"]
OWN = """
from gradwire_worker.tasks.digits import digits
import own_names

def build(config):
    return digits(config)
"""


@pytest.fixture
def crowded(tmp_path, monkeypatch):
    """A folder of a task, its helper, and files that end whatever imports them."""
    for name in NAMES:
        (tmp_path / f"{name}.py").write_text("raise SystemExit('my own file')")
    for name in FOLDERS:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('my own folder')")
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "own_names.py").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def test_train_runs_a_task_of_a_folder_with_files_named_as_the_librarys(crowded, start):
    training = start("train", "--rounds", 2, "--workers", 1, "--task", "own:build", program=GRADWIRE)
    assert training.wait() == 0, training.said
    assert "my own" not in training.said
    assert "test accuracy" in training.said


def test_a_server_and_a_worker_of_the_folder_do_too(crowded, start):
    server = start("server", "--listen", "127.0.0.1:0", "--rounds", 2, "--workers", 1, program=GRADWIRE)
    address = server.wait_for(r"^listening on (\S+)")
    worker = start("worker", "--server", address, "--task", "own:build", program=GRADWIRE)
    assert worker.wait() == 0, worker.said
    assert server.wait() == 0, server.said
    assert "my own" not in worker.said + server.said


def test_the_folder_comes_last_on_the_path_and_for_tasks_of_ones_own_alone(crowded):
    load_task(Config.load(None, {"task": "digits"}))
    assert str(crowded) not in sys.path
    load_task(Config.load(None, {"task": "own:build"}))
    assert sys.path[-1] == str(crowded)


@pytest.mark.parametrize("name", ["statistics", "queue", "random"])
def test_a_task_named_as_a_module_of_the_library_is_told_which_file_was_found(crowded, name):
    with pytest.raises(
        TaskError, match=rf"module {name} \(.*{name}\.py\) has no function 'build_my_task', want one of"
    ):
        load_task(Config.load(None, {"task": f"{name}:build_my_task"}))


@pytest.mark.parametrize("text", ["raise SystemExit('no')", "raise ValueError('no')", "import nosuch", "1 +"])
def test_a_task_whose_import_fails_in_any_way_is_answered_in_one_line(crowded, text):
    (crowded / "broken_task.py").write_text(text)
    sys.modules.pop("broken_task", None)
    with pytest.raises(TaskError, match=r"^task broken_task:build: ") as caught:
        load_task(Config.load(None, {"task": "broken_task:build"}))
    assert "\n" not in str(caught.value)


def test_an_empty_part_of_the_path_does_not_bring_the_folder_back(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", f":/somewhere{2 * ':'}/else:")
    assert environment_of(Config())["PYTHONPATH"] == "/somewhere:/else"

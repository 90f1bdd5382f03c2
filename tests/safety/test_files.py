"""What gradwire writes is its owner's alone, and goes through no link that somebody else has put there."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gradwire_common.errors import GradwireError
from gradwire_common.private_files import make_folder
from gradwire_worker.checkpoint.state import Pushed, WorkerState
from running import running_server
from server.plain_worker import initial_weights, plain_workers, run_config
from server.test_resume import config, play

VECTOR = np.zeros(5, np.float32)
WORKER_STATE = WorkerState(Pushed("run", 1, 1, False, "codec", 0.5), b"frames", VECTOR, VECTOR[:0])


# ------------------------------------------------------------------------------------------ who may read


@contextmanager
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    try:
        yield
    finally:
        os.umask(before)


def others_may(folder: Path) -> dict[str, str]:
    """Return the files and folders that others than their owner may do anything with, and their modes."""
    modes = {path: path.lstat().st_mode for path in [folder, *folder.rglob("*")]}
    return {str(path): stat.filemode(mode) for path, mode in modes.items() if stat.S_IMODE(mode) & 0o077}


def test_all_that_a_server_leaves_is_its_owners_alone(tmp_path: Path) -> None:
    with (
        open_umask(),
        running_server(config(tmp_path / "a" / "runs", evaluate_every=1)) as server,
        plain_workers(server.address, 2) as workers,
    ):
        for worker in workers:
            worker.begin(initial_weights())
        play(workers, 1, 3)
    assert {each.name for each in (tmp_path / "a" / "runs" / "run").iterdir()} >= {
        "config.toml",
        "metrics.jsonl",
        "weights.safetensors",
        "state",
    }
    assert others_may(tmp_path / "a") == {}


def test_all_that_train_leaves_is_its_owners_alone(run: Any, tmp_path: Path) -> None:
    with open_umask():
        done = run("train", "--task", "synthetic", "--parameters", 1000, "--workers", 1, "--rounds", 2)
    assert done.code == 0, done.error
    assert (tmp_path / "runs" / "run" / "curves.png").exists()
    assert (tmp_path / "runs" / "run" / "server.log").exists()
    assert others_may(tmp_path / "runs") == {}


def test_a_workers_state_is_its_owners_alone_also_in_place_of_one_that_was_not(tmp_path: Path) -> None:
    with open_umask():
        file = tmp_path / "new" / "state" / "a.worker"
        WORKER_STATE.save(file)
        file.chmod(0o644)
        WORKER_STATE.save(file)
    assert others_may(tmp_path / "new") == {}


def test_a_folder_that_is_there_keeps_its_mode_and_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o755)
    make_folder(tmp_path / "shared")
    assert stat.S_IMODE((tmp_path / "shared").stat().st_mode) == 0o755
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError, match=r"exists|Not a directory"):
            make_folder(folder)


# ------------------------------------------------------------------------------------------------- links


@pytest.mark.parametrize("name", ["config.toml", "config.toml.partial", "weights.safetensors.partial"])
def test_a_link_in_the_folder_of_a_run_is_replaced_and_its_target_stays(tmp_path: Path, name: str) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").touch()
    (tmp_path / "run" / "config.toml").touch()
    (tmp_path / "run" / name).unlink(missing_ok=True)
    (tmp_path / "run" / name).symlink_to(tmp_path / "mine")
    with (
        running_server(run_config(tmp_path, resume=True, rounds=1)) as server,
        plain_workers(server.address, 1) as (worker,),
    ):
        worker.begin(initial_weights())
    assert (tmp_path / "mine").read_text() == "mine"
    assert not (tmp_path / "run" / "config.toml").is_symlink()
    assert (tmp_path / "run" / "weights.safetensors").exists()


def test_metrics_are_not_appended_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.jsonl").symlink_to(tmp_path / "mine")
    with pytest.raises(GradwireError, match="symbolic link"), running_server(run_config(tmp_path, resume=True)):
        pass
    assert (tmp_path / "mine").read_text() == ""


def test_a_journal_and_a_checkpoint_are_not_written_through_links(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    state = tmp_path / "run" / "state"
    state.mkdir(parents=True)
    for name in ("journal-0000000000", "checkpoint-0000000000.safetensors.partial"):
        (state / name).symlink_to(tmp_path / "mine")
    with (
        running_server(run_config(tmp_path)) as server,
        plain_workers(server.address, 1) as (worker,),
    ):
        worker.begin(initial_weights())
    assert (tmp_path / "mine").read_text() == "mine"

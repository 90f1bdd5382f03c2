"""The folder of a run is one process's at a time, nothing in it is lost, and no contents of it end in a traceback."""

import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from gradwire_common.errors import ConfigError, UsageError
from gradwire_common.settings.config import Config
from gradwire_server.store import state_files
from gradwire_server.store.run_folder import run_folder
from running import running_server
from server.plain_worker import initial_weights, plain_workers, run_config
from server.test_resume import config, resumed, weights


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


# --------------------------------------------------------------------------------------- one at a time


def test_a_second_server_is_refused_by_the_process_that_holds_the_folder_and_touches_nothing(start, run, tmp_path):
    serve = ("server", "--listen", "127.0.0.1:0", "--rounds", 0)
    first = start(*serve)
    first.wait_for(r"^listening on")
    before = contents(tmp_path / "runs")
    for command in (serve, (*serve, "--resume"), ("train", "--rounds", 1, "--workers", 1)):
        second = run(*command)
        assert second.code == 2
        refused = f"error: runs/run: another process (pid {first.process.pid}) is writing to it; want another --name"
        assert second.error.startswith(refused)
    assert contents(tmp_path / "runs") == before
    first.process.send_signal(signal.SIGKILL)
    first.process.wait()
    start(*serve, "--resume").wait_for(r"^listening on")


def test_a_run_that_train_serves_keeps_others_out_too(start, run):
    training = start("train", "--rounds", 0, "--workers", 1, "--task", "synthetic", "--parameters", 1000)
    training.wait_for(r"round \d+")
    second = run("server", "--listen", "127.0.0.1:0")
    assert second.code == 2
    assert f"(pid {training.process.pid}) is writing to it" in second.error


@pytest.mark.parametrize("held", [b"", b"not a number\n", b"\x00" * 40, b"9" * 300])
def test_a_lock_that_does_not_say_whose_it_is_is_a_lock_still(tmp_path, held):
    with run_folder(tmp_path / "run"):
        (tmp_path / "run" / ".lock").write_bytes(held)
        with (
            pytest.raises(UsageError, match="another process is writing to it; want another --name"),
            run_folder(tmp_path / "run"),
        ):
            pass


def test_a_lock_that_is_a_link_is_not_followed(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="want a folder that can be written and locked"), run_folder(tmp_path / "run"):
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_a_lock_of_another_folder_is_no_lock(tmp_path):
    with (
        run_folder(tmp_path / "other") as other,
        run_folder(tmp_path / "run") as held,
        pytest.raises(UsageError, match="got a lock of another folder"),
        run_folder(held.path, lock=other.lock),
    ):
        pass


# ------------------------------------------------------------------------------------- nothing is lost


def test_no_start_of_twelve_overwrites_what_an_earlier_one_left(tmp_path):
    path = tmp_path / "run"
    for number in range(12):
        with run_folder(path, resume=number % 3 == 2):
            (path / "metrics.jsonl").write_text(f"{number}\n")
            (path / "weights.safetensors").write_text(f"{number}\n")
    kept = [path.with_name(f"run.{number}") for number in range(1, 12)]
    assert [(each / "metrics.jsonl").read_text() for each in [*kept, path]] == [f"{number}\n" for number in range(12)]


@pytest.mark.parametrize(
    ("taken", "name"),
    [
        (lambda place: place("run.1").mkdir(), "run.2"),
        (lambda place: place("run.1").write_text(""), "run.2"),
        (lambda place: place("run.7").symlink_to("nowhere"), "run.8"),
        (lambda place: place("run.old").mkdir(), "run.1"),
    ],
)
def test_an_earlier_run_goes_to_a_name_that_nothing_has(tmp_path, taken: Callable[..., object], name):
    path = tmp_path / "run"
    path.mkdir()
    (path / "config.toml").write_text("")
    taken(path.with_name)
    with run_folder(path) as held:
        assert held.set_aside == path.with_name(name)


def test_a_server_that_begins_again_sets_the_whole_earlier_run_aside_and_it_can_be_resumed_there(played):
    runs, copy, receipt = played
    before = contents(copy / "run")
    with (
        running_server(config(copy, resume=False, optimizer="SGD")) as server,
        plain_workers(server.address, 1) as (a,),
    ):
        a.begin(initial_weights())
    after = contents(copy / "run.1")
    assert {name: after[name] for name in before if name != ".lock"} == {
        name: text for name, text in before.items() if name != ".lock"
    }
    shutil.rmtree(copy / "run")
    (copy / "run.1").rename(copy / "run")
    resumed(copy, receipt)
    assert weights(copy) == weights(runs)


def test_resuming_where_no_state_was_kept_sets_the_earlier_results_aside(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.jsonl").write_text("an earlier run's\n")
    with running_server(run_config(tmp_path, resume=True, checkpoint_every=2)):
        pass
    assert (tmp_path / "run.1" / "metrics.jsonl").read_text() == "an earlier run's\n"


def test_a_resume_that_is_refused_leaves_every_file_as_it_was(played):
    _, copy, _ = played
    with running_server(config(copy, resume=True)):
        pass
    before = contents(copy / "run")
    with pytest.raises(ConfigError, match="settings differ"), running_server(config(copy, resume=True, workers=3)):
        pass
    changed = {name for name, text in contents(copy / "run").items() if before.get(name) != text}
    assert changed <= {".lock"}


def test_settings_are_not_written_through_a_link(tmp_path):
    (tmp_path / "mine.toml").write_text("mine")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.toml").symlink_to(tmp_path / "mine.toml")
    with running_server(run_config(tmp_path, resume=True, checkpoint_every=2)):
        pass
    assert (tmp_path / "mine.toml").read_text() == "mine"
    assert "rounds = " in (tmp_path / "run" / "config.toml").read_text()


# --------------------------------------------------------------------------- a state that is elsewhere


def test_a_linked_state_is_followed_and_files_that_are_not_gradwires_stay(tmp_path):
    fast = tmp_path / "fast"
    fast.mkdir()
    for name in ("important.txt", "notes.partial", "journal-1", "checkpoint-0000000001.json.bak"):
        (fast / name).write_text(name)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "state").symlink_to(fast)
    for _ in range(3):
        with running_server(config(tmp_path, rounds=1)) as server, plain_workers(server.address, 2) as workers:
            for worker in workers:
                worker.begin(initial_weights())
    for name in ("important.txt", "notes.partial", "journal-1", "checkpoint-0000000001.json.bak"):
        assert (fast / name).read_text() == name
    assert state_files.checkpoint_versions(tmp_path / "run.1" / "state") == [0]
    assert (tmp_path / "run.1" / "state").is_symlink()
    assert state_files.checkpoint_versions(tmp_path / "run.2" / "state") == [0]


def test_a_run_is_resumed_through_a_linked_state(played):
    runs, copy, receipt = played
    (copy / "run" / "state").rename(copy / "elsewhere")
    (copy / "run" / "state").symlink_to(copy / "elsewhere")
    resumed(copy, receipt)
    assert weights(copy) == weights(runs)


def test_a_state_that_two_runs_have_links_to_is_one_servers_at_a_time(tmp_path):
    (tmp_path / "fast").mkdir()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "state").symlink_to(tmp_path / "fast")
    with (
        run_folder(tmp_path / "a"),
        pytest.raises(UsageError, match="b/state: another process is writing to it"),
        run_folder(tmp_path / "b"),
    ):
        pass


@pytest.mark.parametrize("make", [lambda state: state.symlink_to("nowhere"), lambda state: state.write_text("")])
def test_a_state_that_is_no_folder_is_refused(tmp_path, make):
    (tmp_path / "run").mkdir()
    make(tmp_path / "run" / "state")
    with pytest.raises(UsageError, match="state: is no folder and no link to one"), run_folder(tmp_path / "run"):
        pass


# ----------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize("name", [".", "..", "", "a/b", "../a", "a b", "a\n", "é", "a" * 65, "[/red]", "a\x1b"])
def test_a_name_that_is_no_name_of_a_folder_is_refused(name):
    for setting in ("name", "worker_id"):
        with pytest.raises(
            ConfigError, match=rf"^{setting}: got .*, want 1 to 64 of the characters A-Z a-z 0-9 \. _ -"
        ):
            Config.load(None, {setting: name})


@pytest.mark.parametrize("name", ["run", "...", ".hidden", "a.b-c_d", "9" * 64, "-x"])
def test_other_names_are_taken(name):
    assert Config.load(None, {"name": name}).name == name

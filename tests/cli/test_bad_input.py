"""What goes wrong is answered with one line that names what, got and want; without hanging, without a traceback."""

import socket
from pathlib import Path

import pytest

TASKS = Path(__file__).parent / "bad_tasks.py"


@pytest.fixture
def bad_tasks(tmp_path):
    (tmp_path / "bad_tasks.py").write_text(TASKS.read_text())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--bits", "30"], "bits: got '30', want a number from 0.01 to 8, or auto"),
        (["train", "--bits", "many"], "bits: got 'many', want a number from 0.01 to 8, or auto"),
        (["train", "--quantizer", "float7"], "quantizer: got 'float7', want 'uniform', 'float8-1-5-2'"),
        (["server", "--rate-up", "fast"], "rate_up: got 'fast', want a rate such as '20 Mbit/s'"),
        (["server", "--optimizer-options", "{"], "optimizer_options: got '{', want a JSON object"),
        (["worker", "--overlap", "--local-steps", "4"], "overlap: got it together with local_steps 4, want one of"),
        (["train", "--overlap", "--bits", "auto"], "overlap: got bits auto, which wants all gradients at once; want"),
        (["train", "--delay", "1", "--mode", "asynchronous"], "delay: got 1 in a run of the asynchronous mode, want 0"),
        (["train", "--delay", "2"], "delay: got '2', want less than or equal to 1"),
        (["train", "--nosuch"], "No such option: --nosuch"),
        (["tarin"], "No such command 'tarin'"),
        (["train", "--config", "nosuch.toml"], "nosuch.toml: No such file or directory; want a readable TOML file"),
        (["train", "--compare", "--quantizer", "float32"], "compare: got quantizer float32, the baseline itself"),
        (["inspect", "nosuch.safetensors"], "nosuch.safetensors: No such file or directory"),
    ],
)
def test_a_wrong_value_is_answered_with_name_got_and_want(run, arguments, message):
    ended = run(*arguments)
    assert ended.code == 2
    assert ended.error.startswith(f"error: {message}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bits = = 2", "bad TOML: Invalid value (at line 1, column 8)"),
        ("bitz = 2", "unknown setting 'bitz'; did you mean 'bits'?"),
    ],
)
def test_a_bad_file_is_answered_with_its_name(run, tmp_path, text, message):
    (tmp_path / "run.toml").write_text(text)
    ended = run("train", "--config", "run.toml")
    assert ended.code == 2
    assert ended.error.startswith(f"error: run.toml: {message}")


def test_a_wrong_variable_is_answered_as_a_flag_is(run):
    ended = run("train", GRADWIRE_ROUNDS="ten")
    assert (ended.code, ended.error) == (2, "error: rounds: got 'ten', want a valid integer")


def test_an_unknown_task_ends_the_run(run, tmp_path):
    ended = run("train", "--task", "nosuch", "--workers", 1)
    assert ended.code == 2
    assert "error: task: got 'nosuch', want digits, cifar10, text, synthetic or MODULE:FUNCTION" in ended.error


def test_a_server_that_cannot_be_reached_is_waited_for_no_longer_than_patience(run):
    ended = run("worker", "--server", "127.0.0.1:1", "--patience", 1)
    assert ended.code == 1
    assert "error: server 127.0.0.1:1 cannot be reached" in ended.error


def test_status_fails_where_no_server_answers(run):
    ended = run("status", "127.0.0.1:1")
    assert ended.code == 1
    assert "error: server 127.0.0.1:1 cannot be reached" in ended.error


def test_a_port_that_is_taken_is_named(run):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        ended = run("server", "--listen", address)
    assert ended.code == 2
    assert ended.error.startswith(
        f"error: listen: cannot listen on {address}: Address already in use; want a free port"
    )


def test_a_nan_gradient_is_named_by_its_parameter(run, bad_tasks):
    ended = run("train", "--task", "bad_tasks:not_a_number", "--workers", 1, "--rounds", 3)
    assert ended.code == 1
    assert "worker-0: " in ended.error
    assert "weight: got nan at entry " in ended.error
    assert "want finite numbers" in ended.error


def test_a_corrupted_frame_counts_in_no_round(run, bad_tasks, tmp_path):
    ended = run("train", "--task", "bad_tasks:corrupted", "--workers", 1, "--rounds", 3)
    assert ended.code == 1
    assert "worker-0: " in ended.error
    assert "checksum" in ended.error
    assert (tmp_path / "runs" / "run" / "metrics.jsonl").read_text() == ""


def test_a_worker_with_another_model_is_refused_by_what_differs(run, start, server, bad_tasks):
    address = server("--workers", 2, "--rounds", 2)
    first = start("worker", "--server", address, "--task", "bad_tasks:narrow")
    first.wait_for("joined run")
    ended = run("worker", "--server", address, "--task", "bad_tasks:narrow", WIDTH="7")
    assert ended.code == 2
    assert "got 0.weight [7, 30] float32 (parameter), want 0.weight [5, 30] float32 (parameter)" in ended.error
    ended = run("worker", "--server", address, "--task", "bad_tasks:narrow", "--seed", 3)
    assert ended.code == 2
    assert "seed" in ended.error

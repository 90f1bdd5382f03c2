"""What cannot be is refused before an earlier run is moved out of its place."""

import socket

import pytest

from gradwire.local.checking import check_run
from gradwire_common.errors import UsageError
from gradwire_common.settings.config import Config

IMPOSSIBLE = [
    ({"task": "nosuch"}, "task: got 'nosuch', want digits"),
    ({"task": "nosuch:build"}, "task nosuch:build: No module named 'nosuch'"),
    ({"task": "cifar10"}, "cifar10: got no data, want --data"),
    ({"task": "cifar10", "data": "nosuch"}, "cifar10: nosuch has no data_batch"),
    ({"model": "nosuch"}, "model: got 'nosuch', want auto"),
    ({"device": "cpux"}, "device: got 'cpux', want auto, cpu, cuda or cuda:N"),
    ({"device": "cuda:4000"}, "device: got 'cuda:4000', want auto"),
    ({"device": "cuda:99"}, "device: got 'cuda:99', want one of the"),
    ({"device": "meta"}, "device: got 'meta', want auto"),
    ({"optimizer": "Sdg"}, "optimizer: got 'Sdg', want one of"),
    ({"optimizer_options": {"momentun": 0.9}}, "unknown option 'momentun'"),
    ({"schedule": "Cosine"}, "schedule: got 'Cosine', want one of"),
    ({"local_steps": 2, "local_optimizer": "Adamm"}, "local_optimizer: got 'Adamm', want one of"),
    ({"local_steps": 2, "local_schedule": "Steps"}, "local_schedule: got 'Steps', want one of"),
    ({"split": "dirichlet", "workers": 4000}, "split: got .* training samples for 4000 workers"),
    ({"mode": "asynchronous", "quorum": "all"}, "quorum: got 'all' in the asynchronous mode"),
    ({"bits_down": "auto"}, "bits_down: got 'auto' without a rate_down"),
]


@pytest.mark.parametrize(("settings", "message"), IMPOSSIBLE, ids=lambda each: str(each)[:40])
def test_a_run_that_cannot_be_is_refused_without_a_server(settings, message):
    with pytest.raises(UsageError, match=message):
        check_run(Config.load(None, {"listen": "127.0.0.1:0", **settings}))


def test_a_port_that_is_taken_is_refused():
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(UsageError, match=r"cannot listen on .*: Address already in use"),
    ):
        check_run(Config.load(None, {"listen": f"127.0.0.1:{taken.getsockname()[1]}"}))


def test_a_run_that_can_be_is_not_refused():
    check_run(Config.load(None, {"listen": "127.0.0.1:0", "local_steps": 2, "split": "dirichlet"}))


def test_an_earlier_run_keeps_its_place_where_the_new_one_cannot_be(run, tmp_path):
    earlier = tmp_path / "runs" / "run"
    earlier.mkdir(parents=True)
    (earlier / "metrics.jsonl").write_text("")
    for arguments, message in (
        (("--task", "digit"), "error: task: got 'digit', want digits, cifar10, text, synthetic or MODULE:FUNCTION"),
        (("--json", "runs"), "error: runs: Is a directory; want a file that can be written"),
        (("--link", "20 apples"), "error: "),
    ):
        ended = run("train", *arguments)
        assert ended.code == 2
        assert ended.error.startswith(message)
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["run"]
    assert [path.name for path in earlier.iterdir()] == ["metrics.jsonl"]

"""What peers, files and users wrote is shown as text: it makes no marks, no control sequences, lines or paths."""

import io
import logging
from contextlib import nullcontext

import grpc
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from gradwire.commands.inspect import inspect_file
from gradwire.commands.status import show_status
from gradwire.local.monitor import Monitor
from gradwire.views.console import open_console
from gradwire_common import logs
from gradwire_common.errors import ConfigError, GradwireError, WorkerIdError
from gradwire_common.foreign_text import printable
from gradwire_common.layout.manifest import Manifest, TensorSpec
from gradwire_common.settings.config import Config
from gradwire_common.settings.names import check_name, name_of
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_worker.remote_optimizer import RemoteOptimizer
from gradwire_worker.session import SessionOptions
from gradwire_worker.session.replica import Replica
from gradwire_worker.session.updates import Updates
from running import running_server
from server.plain_worker import PlainWorker, plain_workers, run_config

HOSTILE = [
    "[/lab]",
    "[red]x[/red]",
    "../../outside",
    "/etc/passwd",
    "a\x1b]52;c;ZWNobyBoaQ==\x1b\\b",
    "a\n16:00:00 server ERROR: forged",
    "a\r\x07\x08b",
    "user\u202egnp.exe",
    "zero\u200bwidth",
    "caf\u00e9",
    "a" * 65,
    "a b",
    "",
    ".",
    "..",
    "%s%n",
    "nul\0",
]


@pytest.mark.parametrize("text", [*HOSTILE, "\u2028", "\x85", "\udcff", "\x9b31m", "\ufeff", "[link=http://x]y"])
def test_printable_text_is_one_line_without_control_characters(text):
    shown = printable(text)
    assert shown.isprintable()
    assert len(shown.splitlines()) <= 1
    assert text.isprintable() == (shown == text)


def test_a_long_text_is_cut_and_says_so():
    assert printable("x" * 5000, 10) == "xxxxxxxxxx... (5000 characters)"


@pytest.mark.parametrize("worker_id", [each for each in HOSTILE if each])
def test_a_worker_is_not_made_with_an_id_that_is_no_name(tmp_path, worker_id):
    with pytest.raises(ConfigError, match=r"worker_id: got .*, want 1 to 64 of the characters A-Z a-z 0-9"):
        RemoteOptimizer(
            torch.nn.Linear(2, 1), "127.0.0.1:1", state=tmp_path / "of", session=SessionOptions(worker_id=worker_id)
        )
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with running_server(run_config(tmp_path_factory.mktemp("run"))) as server:
        yield server.address


@pytest.mark.parametrize("worker_id", [each for each in HOSTILE if "\udcff" not in each])
def test_a_server_refuses_an_id_that_is_no_name_as_an_invalid_argument(address, worker_id):
    worker = PlainWorker(address, worker_id)
    with worker.channel, pytest.raises(grpc.RpcError) as refused:
        worker.join()
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "want 1 to 64 of the characters" in refused.value.details()
    assert refused.value.details().isprintable()


@pytest.mark.parametrize("name", ["worker-0", "node-17.cluster.example.org-123-4f2a", "ip-10-0-0-1_A", "x" * 64, "..."])
def test_names_of_hosts_and_those_that_are_made_up_are_ids(name):
    assert check_name("worker id", name) == name


@pytest.mark.parametrize("host", ["h" * 64, "caf\u00e9.local", "", "..", "my host", "-x", "a.b."])
def test_an_id_is_made_up_on_every_host(monkeypatch, host):
    monkeypatch.setattr("socket.gethostname", lambda: host)
    made = SessionOptions().worker_id
    assert check_name("worker id", made) == made
    assert made != SessionOptions().worker_id
    assert check_name("x", name_of(host))


def test_a_worker_hears_why_its_id_is_refused(address, monkeypatch):
    monkeypatch.setattr("gradwire_worker.session.options.check_name", lambda _, name: name)
    with pytest.raises(WorkerIdError, match="worker id: got 'a b', want 1 to 64"):
        RemoteOptimizer(torch.nn.Linear(2, 1), address, session=SessionOptions(worker_id="a b", patience=5))


# ------------------------------------------------------------------------------------------------------ logs


@pytest.fixture
def logged():
    """The lines that a process of gradwire would write."""
    stream, root = io.StringIO(), logging.getLogger()
    before, level = root.handlers[:], root.level
    logs.configure("info", "server")
    root.handlers[0].setStream(stream)
    yield lambda: stream.getvalue().splitlines()
    root.handlers[:] = before
    root.setLevel(level)


@pytest.mark.parametrize("reason", ["bye\n16:00:00 server ERROR: forged", "\x1b[2J", "x" * 100_000, "\u202e", ""])
def test_a_reason_to_leave_is_one_short_line_of_the_log(tmp_path, logged, reason):
    with running_server(run_config(tmp_path)) as server, plain_workers(server.address, 1) as (worker,):
        worker.join()
        worker.stub.Leave(pb.LeaveRequest(session=worker.session, reason=reason), timeout=60)
    lines = [line for line in logged() if f"worker {worker.worker_id} left: " in line]
    assert len(lines) == 1
    assert not any(" server ERROR: forged" in line and " left: " not in line for line in logged())
    assert all(line.isprintable() and len(line) < 400 for line in logged())


def test_a_traceback_of_our_own_keeps_its_lines(logged):
    try:
        raise ValueError("of\nours\x1b")
    except ValueError:
        logging.getLogger("gradwire").exception("a\nb")
    assert logged()[0].endswith("server ERROR: a\\nb")
    assert logged()[1] == "Traceback (most recent call last):"


# ------------------------------------------------------------------------------------------------------ terminals


def test_a_status_of_a_server_of_any_kind_is_shown_as_text(monkeypatch, capsys):
    for text in HOSTILE:
        reply = pb.StatusReply(run=text, phase=text, package_version=text)
        reply.workers.add(worker_id=text, alive=True)
        reply.evaluations.add(version=1).metrics.add(name=text)
        monkeypatch.setattr(Monitor, "__init__", lambda *_: None)
        monkeypatch.setattr(Monitor, "__exit__", lambda *_: None)
        monkeypatch.setattr(Monitor, "_address", None, raising=False)
        monkeypatch.setattr(Monitor, "_timeout", 1, raising=False)
        stub = type("Stub", (), {"Status": staticmethod(lambda *_, reply=reply, **__: reply)})
        monkeypatch.setattr(Monitor, "_stub", stub, raising=False)
        show_status("127.0.0.1:1")
        out = capsys.readouterr().out
        assert all(line.isprintable() for line in out.splitlines())
        assert printable(text)[:5] in out


@pytest.mark.parametrize("text", [*HOSTILE, "\udcff", "path/[bold]", ":smile:"])
def test_a_console_prints_any_text_as_it_is_written(capsys, text):
    console = open_console()
    console.print(f"left in {text}", soft_wrap=True)
    got = capsys.readouterr().out
    if "\n" not in text:
        assert got == f"left in {printable(text)}\n"
    assert all(line.isprintable() for line in got.splitlines())


@pytest.mark.parametrize("name", ["[/lab]", "$\\frac{$", "a\x1b[2Jb", "x\ny", "$$", "\u202e", "{}%s", "layer.weight"])
def test_tensors_of_any_name_are_inspected(tmp_path, capsys, name):
    file = tmp_path / "[x] of.safetensors"
    save_file({name: np.random.default_rng(0).normal(size=500).astype(np.float32), f"{name}i": np.zeros(2, int)}, file)
    inspect_file(file, Config.load(None, {"bits": 2}).uplink, tmp_path / "p.png")
    out = capsys.readouterr().out
    assert all(line.isprintable() for line in out.splitlines())
    assert (tmp_path / "p.png").stat().st_size


# ------------------------------------------------------------------------------------------------------ errors


@pytest.mark.parametrize("name", ["a\x1b]0;owned\x07", "w\nerror: forged", "n" * 100_000])
def test_a_refusal_that_quotes_a_peer_is_short_and_printable(tmp_path, name):
    spec = pb.Manifest(tensors=[pb.TensorSpec(name=name, shape=[2], dtype="float33", role=pb.ROLE_PARAMETER)])
    spec.groups.add()
    with running_server(run_config(tmp_path)) as server, plain_workers(server.address, 1) as (worker,):
        with pytest.raises(grpc.RpcError) as refused:
            worker.join(manifest=spec)
        assert refused.value.details().isprintable()
        assert len(refused.value.details()) < 1100


def test_an_error_of_a_server_of_any_kind_is_printable():
    from gradwire_common.transport.address import parse_address
    from gradwire_common.transport.channel import error_of

    class Call(grpc.RpcError):
        code = staticmethod(lambda: grpc.StatusCode.FAILED_PRECONDITION)
        trailing_metadata = staticmethod(lambda: (("gradwire-error", "JoinError"),))
        details = staticmethod(lambda: "no\x1b[2J\n" + "x" * 10_000)

    error = error_of(Call(), parse_address("127.0.0.1:1"))
    assert isinstance(error, GradwireError)
    assert str(error).isprintable()
    assert len(str(error)) < 1100


def test_the_reason_that_a_run_ended_for_is_printable():
    updates = Updates(Replica(Manifest((TensorSpec("weight", (2,)),)).layout), nullcontext())
    ended = updates.take(pb.WatchMessage(run_end=pb.RunEnd(reason="\x1b[2J" + "x" * 5000)))
    assert ended.reason.isprintable()
    assert len(ended.reason) < 300

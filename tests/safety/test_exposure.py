"""A server that asks nobody who they are can be reached by those alone who may do everything anyway."""

import os
import socket
import stat
from pathlib import Path

import pytest

from gradwire.commands.status import show_status
from gradwire.links.forwarder import Forwarder
from gradwire.links.profile import Link
from gradwire.local.cluster import Cluster
from gradwire_common.errors import ConfigError
from gradwire_common.settings.config import Config
from gradwire_common.transport.address import parse_address
from gradwire_server.rpc.listening import check_address, check_exposed
from gradwire_server.store.run_folder import run_folder
from running import running_server
from server.plain_worker import PlainWorker, gradient_of, initial_weights, run_config


@pytest.mark.parametrize(
    "listen", ["0.0.0.0:0", "[::]:0", "10.1.2.3", "train.example.org", "0.0.0.0", "[2001:db8::7]:9"]
)
def test_other_machines_are_not_served_without_certificates_unless_asked_for(listen):
    address = parse_address(listen, listening=True)
    with pytest.raises(
        ConfigError, match=r"listen: got .* without certificates: .*; want --certs DIR .*, or --insecure"
    ):
        check_exposed(address, guarded=False, insecure=False)
    check_exposed(address, guarded=True, insecure=False)
    check_exposed(address, guarded=False, insecure=True)


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "localhost", "[::1]:7", "127.9.9.9:0", "unix:/run/gradwire"])
def test_this_machine_is_served_without(listen):
    check_exposed(parse_address(listen, listening=True), guarded=False, insecure=False)


def test_a_server_that_is_refused_leaves_an_earlier_run_alone(tmp_path):
    with (
        pytest.raises(ConfigError, match="without certificates"),
        running_server(run_config(tmp_path, listen="0.0.0.0:0")),
    ):
        pass
    assert not (tmp_path / "run").exists()
    with running_server(run_config(tmp_path, listen="0.0.0.0:0", insecure=True)) as server:
        show_status(server.address.replace("0.0.0.0", "127.0.0.1"))


def test_a_unix_socket_serves_a_run_and_is_its_owners_alone(tmp_path, capsys):
    path = tmp_path / "socket"
    with running_server(run_config(tmp_path, listen=f"unix:{path}", workers=1, rounds=1)) as server:
        assert server.address == f"unix:{path}"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with pytest.raises(ConfigError, match="another process does; want another path"):
            check_address("listen", parse_address(f"unix:{path}"))
        worker = PlainWorker(server.address, "a").begin(initial_weights())
        show_status(server.address)
        assert "1 alive" in capsys.readouterr().out
        worker.push(gradient_of(1), 1)
        assert worker.receive().version == 1
        worker.leave()
        worker.channel.close()
    assert not path.exists()


def test_a_socket_that_nobody_listens_at_is_taken_and_no_other_file_is(tmp_path):
    stale = tmp_path / "stale"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(stale))
    with running_server(run_config(tmp_path, listen=f"unix:{stale}")) as server:
        show_status(server.address)
    important = tmp_path / "important"
    important.write_text("kept")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(important)
    for name, reason in [
        ("important", "there is a file that is no socket"),
        ("folder", "there is a file that is no socket"),
        ("link", "there is a file that is no socket"),
        ("absent/socket", "want a folder that is there"),
    ]:
        with pytest.raises(ConfigError, match=f"listen: cannot listen on unix:.*{name}: {reason}"):
            check_address("listen", parse_address(f"unix:{tmp_path / name}"))
    assert important.read_text() == "kept"


def sockets_of(pid):
    """Return the inodes of the sockets that a process holds."""
    found = set()
    for each in Path(f"/proc/{pid}/fd").iterdir():
        try:
            link = os.readlink(each)
        except OSError:
            continue
        if link.startswith("socket:["):
            found.add(link[8:-1])
    return found


def listening_inodes():
    """Return the inodes of the sockets that listen on TCP."""
    lines = [
        line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    return {line[9] for line in lines if line[3] == "0A"}


@pytest.mark.parametrize("link", [None, Link(rate_up=10_000_000, rate_down=10_000_000)])
def test_train_listens_at_no_port_of_this_machine(tmp_path, link):
    """Neither its server nor, with a link, what stands between it and the workers."""
    config = Config.load(None, {"runs": tmp_path, "task": "synthetic", "parameters": 1000, "workers": 1, "rounds": 0})
    before = listening_inodes()
    with run_folder(tmp_path / "run") as folder, Cluster(config, folder, link) as cluster:
        cluster.start()
        private = Path(cluster.address.removeprefix("unix:")).parent
        assert stat.S_IMODE(private.stat().st_mode) == 0o700
        processes = [os.getpid(), *(child.process.pid for child in (cluster.server, *cluster.workers))]
        ours = set().union(*map(sockets_of, processes))
        assert not ours & listening_inodes() - before
        show_status(cluster.address)
    assert not private.exists()


def test_a_forwarder_between_unix_sockets_carries_a_run(tmp_path):
    with (
        running_server(run_config(tmp_path, listen=f"unix:{tmp_path}/server", workers=1, rounds=1)) as server,
        Forwarder(server.address, path=tmp_path / "link") as forwarder,
    ):
        assert forwarder.address == f"unix:{tmp_path}/link"
        worker = PlainWorker(forwarder.address, "a").begin(initial_weights())
        worker.push(gradient_of(1), 1)
        assert worker.receive().version == 1
        worker.leave()
        worker.channel.close()
    assert forwarder.total_up() > 4 * worker.layout.n_parameters

"""A transfer that makes progress never fails, however slow; a connection on which nobody speaks stays."""

import re
import threading
from pathlib import Path

import pytest
import torch
from torch import nn

from gradwire import RemoteOptimizer
from gradwire.links.forwarder import Forwarder
from gradwire.links.profile import Link
from gradwire_common.transport.channel import CLIENT_OPTIONS, KEEPALIVE_MS, SERVER_OPTIONS
from gradwire_worker.session import SessionOptions
from gradwire_worker.session.connection import CALL_TIMEOUT
from running import running_server
from server.plain_worker import gradient_of, plain_workers, run_config

ROOT = Path(__file__).parents[2]
ONE_MBIT = 125_000  # bytes per second
SILENT_SECONDS = 3.3 * KEEPALIVE_MS / 1000  # three pings of the client, each with nothing between


@pytest.mark.long
def test_a_push_at_1_mbit_takes_longer_than_any_timeout_and_counts(tmp_path: Path) -> None:
    """The link knows nothing of limits: the push, the update and small calls share what it has."""
    model = nn.Linear(1500, 300, bias=False)
    seconds = 4 * model.weight.numel() / ONE_MBIT
    patience = 3.0
    config = run_config(tmp_path, workers=1, heartbeat=2.0, rounds=2)
    link = Link(rate_up=ONE_MBIT, rate_down=ONE_MBIT)
    with running_server(config) as server, Forwarder(server.address, link) as forwarder:
        with RemoteOptimizer(model, forwarder.address, session=SessionOptions(patience=patience)) as optimizer:
            model.weight.grad = torch.ones_like(model.weight)
            optimizer.step()
            assert optimizer.last_step is not None
            assert optimizer.last_step.counted
            assert seconds > CALL_TIMEOUT > patience
            assert optimizer.last_step.send + optimizer.last_step.encode > 0.8 * seconds
        assert len(forwarder.connections) == 1


@pytest.mark.long
def test_minutes_of_silence_cost_no_connection(tmp_path: Path) -> None:
    """Pings are not so many that the server takes them for abuse, which it would answer by closing the connection."""
    config = run_config(tmp_path, workers=1, heartbeat=10 * SILENT_SECONDS)
    with running_server(config) as server, Forwarder(server.address) as forwarder:
        with plain_workers(forwarder.address, 1) as (a,):
            a.begin()
            up = forwarder.total_up()
            threading.Event().wait(SILENT_SECONDS)
            assert forwarder.total_up() > up, "no pings"
            a.watch(have_version=0)  # its stream has a time limit in tests
            a.push(gradient_of(0), 1)
            assert a.receive().version == 1
        assert len(forwarder.connections) == 1


def test_the_client_pings_less_often_than_the_server_puts_up_with() -> None:
    client, server = dict(CLIENT_OPTIONS), dict(SERVER_OPTIONS)
    assert client["grpc.keepalive_time_ms"] > 2 * server["grpc.http2.min_ping_interval_without_data_ms"]
    assert client["grpc.keepalive_permit_without_calls"] == server["grpc.keepalive_permit_without_calls"] == 1


def test_nothing_but_certificates_depends_on_the_clock_on_the_wall() -> None:
    """What only ever measures spans of monotonic time cannot be moved by a clock that jumps; days of validity can."""
    walls = re.compile(r"\btime\.(time|time_ns|localtime|gmtime)\(|datetime\.(now|today|utcnow)\(")
    for folder in ("common", "server", "worker"):
        for path in (ROOT / folder).rglob("*.py"):
            reads = walls.search(path.read_text()) is not None
            assert reads == (path.name in ("access.py", "certificates.py")), f"{path} reads the clock on the wall"

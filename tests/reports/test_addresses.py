"""A wrong address is told at once, by name and with what to check; a server that is not up yet is waited for."""

import logging
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager, suppress

import grpc
import pytest
from torch import nn

from gradwire.commands.limit import change_limits
from gradwire.commands.status import show_status
from gradwire_common.errors import AddressError, ConfigError, UnavailableError
from gradwire_common.layout.manifest import Manifest, TensorSpec
from gradwire_common.settings.config import Config
from gradwire_common.transport.address import Address, parse_address
from gradwire_common.transport.reach import proxy_of
from gradwire_worker import remote_optimizer
from gradwire_worker.session.client import Client
from gradwire_worker.session.options import SessionOptions
from running import running_server
from worker.toys import server_config

MODEL = Manifest((TensorSpec("w", (4, 4)),))
RAW = re.compile(r"failed to connect to all|StatusCode|last error|ipv[46]:|debug_error|UNKNOWN:|recvmsg")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in ("grpc_proxy", "https_proxy", "http_proxy", "no_grpc_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


@contextmanager
def peer(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """Something that listens, and lets `answer` speak to anyone who connects."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    answer(connection)

        threading.Thread(target=accept, daemon=True).start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("train.example.org", "train.example.org", 50051),
        ("train.example.org:7", "train.example.org", 7),
        ("  gpu_box-3:65535\t", "gpu_box-3", 65535),
        ("10.0.0.7", "10.0.0.7", 50051),
        ("[::1]:1234", "::1", 1234),
        ("[2001:db8::5]", "2001:db8::5", 50051),
        ("::1", "::1", 50051),
        ("fe80::1", "fe80::1", 50051),
        ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8", 50051),
        ("b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher.example:9", "xn--bcher-kva.example", 9),
        ("host.:5", "host.", 5),
    ],
)
def test_addresses_are_read_as_people_write_them_and_written_so_that_they_are_read_again(text, host, port):
    assert parse_address(text) == Address(host, port) == parse_address(str(parse_address(text)))


WRONG = [
    ("", "want HOST:PORT, such as"),
    ("   ", "want HOST:PORT, such as"),
    (":50051", "want HOST:PORT, such as"),
    ("50051", "want a host too: 'HOST:50051'"),
    ("http://train.example.org:50051/", "want HOST:PORT, without 'http://': 'train.example.org:50051'"),
    ("https://10.0.0.1", "want HOST:PORT, without 'https://': '10.0.0.1'"),
    ("tcp://[::1]:5", "want HOST:PORT, without 'tcp://': '[::1]:5'"),
    ("grpc://h", "want HOST:PORT, without 'grpc://': 'h'"),
    ("dns:///h:5", "want HOST:PORT, without 'dns:///': 'h:5'"),
    ("h:50051/", "want HOST:PORT without a path: 'h:50051'"),
    ("h:50051/run", "want HOST:PORT without a path: 'h:50051'"),
    ("unix:socket", "want the absolute path of a socket after unix:"),
    ("unix://", "want the absolute path of a socket after unix:"),
    ("unix:", "want the absolute path of a socket after unix:"),
    (f"unix:/{'a' * 107}", "want a path of at most 107 bytes"),
    ("h:50051:50052", "want HOST:PORT, an IPv6 address in brackets"),
    ("::1:50051", "want HOST:PORT, an IPv6 address in brackets"),
    ("2001:db8::5:4000", r"such as '[2001:db8::5]:4000'"),
    ("[::1", "want an IPv6 address in brackets and a port"),
    ("[::g]:5", "want an IPv6 address in brackets and a port"),
    ("[::1]5", "want an IPv6 address in brackets and a port"),
    ("[10.0.0.1]:5", "want an IPv6 address in brackets and a port"),
    ("h:", "want a port from 1 to 65535 after the host, not ''"),
    ("h:0", "want a port from 1 to 65535 after the host, not '0'"),
    ("h:65536", "want a port from 1 to 65535 after the host, not '65536'"),
    ("h:-1", "want a port from 1 to 65535"),
    ("h:http", "want a port from 1 to 65535"),
    ("h: 5", "want a port from 1 to 65535"),
    ("h:\N{ARABIC-INDIC DIGIT FIVE}", "want a port from 1 to 65535"),
    ("10.0.0.256:5", "want an IPv4 address of four numbers up to 255"),
    ("10.0.1:5", "want an IPv4 address of four numbers up to 255"),
    ("two words:5", "want a host name of letters, digits and hyphens"),
    ("-h:5", "want a host name of letters, digits and hyphens"),
    ("a..b:5", "want a host name of letters, digits and hyphens"),
    (f"{'a' * 64}.org", "want a host name of letters, digits and hyphens"),
    ("\N{PILE OF POO}" * 300, "want a host name of letters, digits and hyphens"),
    ("user@h:5", "want a host name of letters, digits and hyphens"),
    ("h\n:5", "want a host name of letters, digits and hyphens"),
    (None, "want HOST:PORT as text"),
    (50051, "want HOST:PORT as text"),
]


@pytest.mark.parametrize(("text", "want"), WRONG)
def test_what_is_no_address_is_refused_with_what_to_write_before_anything_is_done(text, want, monkeypatch):
    monkeypatch.setattr(remote_optimizer, "warm_kernels", lambda: pytest.fail("the kernels were loaded first"))
    for use in (
        parse_address,
        lambda text: remote_optimizer.RemoteOptimizer(nn.Linear(2, 1), text),
        lambda text: show_status(text),
        lambda text: change_limits(text, None, {"rate_up": "1 MB/s"}, 5.0),
        lambda text: Client(text, MODEL, SessionOptions()),
    ):
        with pytest.raises(ConfigError, match=re.escape(want)) as refused:
            use(text)
        assert len(str(refused.value)) < 250
    if isinstance(text, str):
        for setting in ("server", "listen", "metrics_listen"):
            with pytest.raises(ConfigError, match=f"^{setting}: got "):
                Config.load(None, {setting: text if text != "h:0" else "h:"})


@pytest.mark.parametrize(
    "text", ["unix:/run/gradwire/socket", " unix:///run/gradwire/socket", "unix://run/gradwire/socket"]
)
def test_a_unix_socket_is_an_address_too_but_not_for_metrics(text):
    address = parse_address(text)
    assert (str(address), address.loopback) == ("unix:/run/gradwire/socket", True)
    assert parse_address(str(address)) == address == Config.load(None, {"listen": text, "server": text}).server
    with pytest.raises(ConfigError, match=r"metrics_listen: got .*, want HOST:PORT, no unix socket"):
        Config.load(None, {"metrics_listen": text})


def test_settings_hold_addresses_with_their_port():
    config = Config.load(None, {"server": " ::1 ", "listen": "localhost:0", "metrics_listen": "127.0.0.1"})
    assert (str(config.server), str(config.listen)) == ("[::1]:50051", "localhost:0")
    assert Config.load(None, {"server": "-"}).server == "-"


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "localhost:0", "[::1]:0"])
def test_a_server_is_reached_at_every_kind_of_address(tmp_path, listen, capsys):
    if listen.startswith("["):
        try:
            socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        except OSError:
            pytest.skip("this machine has no IPv6")
    with running_server(server_config(tmp_path, listen=listen)) as server:
        show_status(server.address)
    assert "waiting for weights" in capsys.readouterr().out


def banner(connection: socket.socket) -> None:
    connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")


def web(connection: socket.socket) -> None:
    connection.recv(1000)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


def tls(connection: socket.socket) -> None:
    """Break a plain connection, as a TLS server does, and refuse a handshake with an alert."""
    if connection.recv(1000).startswith(b"\x16"):
        connection.sendall(bytes.fromhex("15030300020228"))


@contextmanager
def another_service() -> Iterator[str]:
    server = grpc.server(futures.ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


@pytest.mark.parametrize(
    ("listening", "reason"),
    [
        (lambda: peer(banner), "is no parameter server: it does not speak gRPC; check the port"),
        (lambda: peer(web), "is no parameter server"),
        (lambda: peer(tls), "what listens there speaks TLS: want --certs DIR"),
        (another_service, "what listens there is another gRPC service; check the port"),
    ],
)
def test_another_program_at_the_port_is_told_at_once_and_not_tried_again(listening, reason):
    with listening() as address:
        for use in (
            lambda: Client(address, MODEL, SessionOptions(patience=60)).join(),
            lambda: show_status(address),
            lambda: change_limits(address, None, {"rate_up": "1 MB/s"}, 5.0),
        ):
            began = time.monotonic()
            with pytest.raises(AddressError, match=f"server {address} cannot be reached: .*{reason}") as refused:
                use()
            assert time.monotonic() - began < 10
            assert not RAW.search(str(refused.value))


@pytest.mark.parametrize("host", ["no-such-host.invalid", "train.exmaple.invalid", "xn--bcher-kva.invalid"])
def test_a_name_that_nobody_knows_is_told_before_anything_is_loaded(host, monkeypatch):
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setattr(remote_optimizer, "warm_kernels", lambda: pytest.fail("the kernels were loaded first"))
    for use in (lambda: remote_optimizer.RemoteOptimizer(nn.Linear(2, 1), host), lambda: show_status(host)):
        with pytest.raises(AddressError, match=f"server {host}:50051 cannot be reached: there is no host of that name"):
            use()


def test_a_name_server_that_does_not_answer_is_no_proof(monkeypatch):
    def silent(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    with pytest.raises((UnavailableError, AddressError)) as refused:
        show_status("no-such-host.invalid", timeout=2.0)
    assert not RAW.search(str(refused.value))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def test_a_server_that_is_not_up_yet_is_waited_for_and_the_log_says_so(tmp_path, caplog):
    address = f"127.0.0.1:{free_port()}"
    client = Client(address, MODEL, SessionOptions(patience=60))
    joined = threading.Thread(target=client.join, daemon=True)
    with caplog.at_level(logging.WARNING):
        joined.start()
        deadline = time.monotonic() + 20
        while not caplog.records and time.monotonic() < deadline:
            threading.Event().wait(0.05)
        with running_server(server_config(tmp_path, listen=address)):
            joined.join(20)
            assert not joined.is_alive()
            client.leave("done")
            client.close()
    first = caplog.records[0].getMessage()
    assert f"server {address} cannot be reached: nothing listens there (connection refused); trying again for" in first
    assert not RAW.search(first)


def test_a_server_that_takes_long_to_answer_is_told_to_the_log(caplog):
    held = threading.Event()
    with peer(lambda _: bool(held.wait(60))) as address, caplog.at_level(logging.WARNING):
        client = Client(address, MODEL, SessionOptions(patience=30))

        def join() -> None:
            with suppress(Exception):  # whatever closing the channel makes of it
                client.join()

        waiting = threading.Thread(target=join, daemon=True)
        waiting.start()
        deadline = time.monotonic() + 20
        while not caplog.records and time.monotonic() < deadline:
            threading.Event().wait(0.05)
        held.set()
        client.close()
        waiting.join(20)
    assert f"waiting for an answer of server {address}, for up to 30 s" in caplog.text


@pytest.mark.parametrize("variable", ["http_proxy", "https_proxy", "grpc_proxy"])
def test_no_proxy_lies_between_a_machine_and_itself(tmp_path, monkeypatch, variable, capsys):
    monkeypatch.setenv(variable, f"http://127.0.0.1:{free_port()}")
    with running_server(server_config(tmp_path)) as server:
        show_status(server.address)
        show_status(server.address.replace("127.0.0.1", "localhost"))
        client = Client(server.address, MODEL, SessionOptions(patience=5))
        client.join()
        client.leave("done")
        client.close()
    assert "waiting for weights" in capsys.readouterr().out


@pytest.mark.parametrize("variable", ["http_proxy", "https_proxy", "grpc_proxy"])
def test_a_proxy_that_cannot_be_reached_is_named_without_its_password(monkeypatch, variable):
    port = free_port()
    monkeypatch.setenv(variable, f"http://user:secret@127.0.0.1:{port}")
    with pytest.raises(UnavailableError) as refused:
        show_status("192.0.2.1:50051")
    message = str(refused.value)
    assert "server 192.0.2.1:50051 cannot be reached: nothing listens there" in message
    assert f"(through the proxy 127.0.0.1:{port} of {variable}; no_proxy=192.0.2.1 goes without it)" in message
    assert "secret" not in message
    assert not RAW.search(message)


@pytest.mark.parametrize(("status", "error"), [(403, AddressError), (407, AddressError), (502, UnavailableError)])
def test_a_proxy_that_refuses_is_told_from_one_whose_server_is_down(monkeypatch, status, error):
    def refuse(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(f"HTTP/1.1 {status} No\r\n\r\n".encode())

    with peer(refuse) as proxy:
        monkeypatch.setenv("http_proxy", f"http://{proxy}")
        with pytest.raises(error, match=f"the proxy .*through the proxy {proxy} of http_proxy"):
            show_status("192.0.2.1:50051")


@pytest.mark.parametrize(
    ("environment", "host", "proxy"),
    [
        ({"http_proxy": "http://p:3128"}, "h.example", ("http_proxy", "p:3128")),
        ({"http_proxy": "http://p"}, "h.example", ("http_proxy", "p:80")),
        ({"http_proxy": "http://p:1", "grpc_proxy": "http://q:2"}, "h.example", ("grpc_proxy", "q:2")),
        ({"http_proxy": "http://p:1", "no_proxy": "x, .example"}, "h.example", None),
        ({"http_proxy": "http://p:1", "no_proxy": "10.0.0.0/8"}, "10.1.2.3", None),
        ({"http_proxy": "http://p:1", "no_proxy": ""}, "10.1.2.3", ("http_proxy", "p:1")),
        ({"http_proxy": "http://p:1"}, "127.3.2.1", None),
        ({"http_proxy": "http://p:1"}, "::1", None),
        ({"http_proxy": "socks5://p:1"}, "h.example", None),
        ({"http_proxy": "p:1//"}, "h.example", None),
        ({"HTTP_PROXY": "http://p:1"}, "h.example", None),
        ({}, "h.example", None),
    ],
)
def test_the_proxy_is_the_one_that_grpc_takes(monkeypatch, environment, host, proxy):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert proxy_of(Address(host, 50051)) == proxy

import socket
import threading
import time
from contextlib import contextmanager

import pytest

from gradwire.links.forwarder import Forwarder
from gradwire.links.profile import Link


@contextmanager
def echo_server():
    """A server that sends back what it gets, until its peer has said all."""

    def serve(connection):
        with connection:
            try:
                while data := connection.recv(65536):
                    connection.sendall(data)
            except OSError:
                pass

    def accept():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


def connect(address):
    host, port = address.split(":")
    return socket.create_connection((host, int(port)), timeout=30)


def receive(connection, n):
    got = b""
    while len(got) < n and (data := connection.recv(n - len(got))):
        got += data
    return got


def exchange(address, data):
    with connect(address) as connection:
        sender = threading.Thread(target=connection.sendall, args=(data,))
        sender.start()
        got = receive(connection, len(data))
        sender.join()
    return got


def exchange_in_turn(address, data, piece=10_000):
    with connect(address) as connection:
        for start in range(0, len(data), piece):
            connection.sendall(data[start : start + piece])
            receive(connection, piece)


def test_every_byte_arrives_and_is_counted():
    data = bytes(range(256)) * 4096
    with echo_server() as server, Forwarder(server) as forwarder:
        assert exchange(forwarder.address, data) == data
        assert forwarder.total_up() == forwarder.total_down() == len(data)


@pytest.mark.parametrize("delay", [0.0, 0.02])
def test_a_rate_and_a_delay_are_kept(delay):
    data = bytes(200_000)
    link = Link(rate_up=1e6, rate_down=0, delay=delay)
    with echo_server() as server, Forwarder(server, link) as forwarder:
        began = time.monotonic()
        assert exchange(forwarder.address, data) == data
        took = time.monotonic() - began
    # the last read waits for its own time on the link too, so the whole is never faster than size / rate
    assert took >= len(data) / 1e6 + 2 * delay
    assert took < 5 * (len(data) / 1e6 + 2 * delay)


def test_a_link_is_cut_at_the_very_byte_and_works_again():
    data = bytes(range(250)) * 1200
    with echo_server() as server, Forwarder(server) as forwarder:
        for n_bytes in (1, 9_999, 10_000, 123_457):
            before = forwarder.total_up()
            forwarder.cut_after(n_bytes)
            with pytest.raises(ConnectionError):
                exchange_in_turn(forwarder.address, data)
            assert forwarder.total_up() - before == n_bytes
        assert exchange(forwarder.address, data) == data


def test_what_went_up_before_a_cut_arrives():
    heard = bytearray()
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        Forwarder(f"127.0.0.1:{listener.getsockname()[1]}") as forwarder,
    ):
        forwarder.cut_after(3_333)
        with connect(forwarder.address) as near:
            near.sendall(bytes(10_000))
            with listener.accept()[0] as far:
                far.settimeout(30)
                while data := far.recv(65536):
                    heard += data
    assert len(heard) == 3_333


def test_a_link_that_is_held_loses_nothing():
    with echo_server() as server, Forwarder(server) as forwarder, connect(forwarder.address) as connection:
        forwarder.hold(0.3)
        began = time.monotonic()
        connection.sendall(b"hello")
        assert receive(connection, 5) == b"hello"
        assert time.monotonic() - began > 0.2


def test_answers_can_be_lost():
    """The target has heard it; the one that asked does not know."""
    with echo_server() as server, Forwarder(server) as forwarder:
        with connect(forwarder.address) as connection:
            forwarder.lose_answers(0.5)
            connection.sendall(b"hello")
            with pytest.raises(ConnectionError):
                assert connection.recv(1), "closed, not reset"
            assert forwarder.total_up() == 5
            assert forwarder.total_down() == 0
        assert exchange(forwarder.address, b"again") == b"again"


def test_cutting_resets_what_is_open():
    with echo_server() as server, Forwarder(server) as forwarder, connect(forwarder.address) as connection:
        connection.sendall(b"hello")
        assert receive(connection, 5) == b"hello"
        forwarder.cut()
        with pytest.raises(ConnectionError):
            assert connection.recv(1), "closed, not reset"

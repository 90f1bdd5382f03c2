"""Many ids, many sessions, many connections: what is kept of them is bounded, and a run ends without them."""

import socket
import threading
import time
from pathlib import Path
from urllib.request import urlopen

import grpc
import pytest

from gradwire_common.errors import JoinError, SessionError, UnavailableError
from gradwire_common.settings.config import Config
from gradwire_common.transport import channel
from gradwire_common.transport.address import Address
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_server.limits.limiter import Limiter
from gradwire_server.limits.limits import Limits
from gradwire_server.rounds.members import MAX_ENDED, Members
from gradwire_server.rounds.progress import MAX_REMEMBERED
from gradwire_server.rounds.schedule_settings import ScheduleSettings
from gradwire_server.rounds.synchronous import Rounds
from gradwire_server.rpc import metrics, serving
from running import eventually, running_server
from safety.beside import beside_two, follow, make_round
from server.plain_worker import PlainWorker, initial_weights, plain_workers, refused, run_config
from server.test_metrics import free_port


def members(most: int, slots: int = 2) -> Members:
    names = iter(range(10**9))
    return Members(slots, 2.0, lambda: f"session {next(names)}", most)


def test_no_more_workers_join_than_are_admitted_and_those_who_are_there_go_on(tmp_path: Path) -> None:
    with beside_two(tmp_path, most_workers=4) as (_, (a, b), (evil,)):
        make_round(1, a, b)
        for name in ("s1", "s2"):
            evil.worker_id = name
            evil.join()
        evil.worker_id = "s3"
        with refused(JoinError, "cannot join: 4 workers take part, as many as most_workers admits"):
            evil.join()
        a.join()  # who is a member may come again
        a.watch(have_version=0)
        follow(a, 1)
        make_round(2, a, b)


def test_as_many_may_join_as_the_run_expects_whatever_is_admitted() -> None:
    assert Config(workers=2).members == 24
    assert Config(workers=2, most_workers=3).members == 3
    assert Config(workers=5, most_workers=3).members == 5


def test_those_who_are_gone_make_place_for_others_the_longest_gone_first() -> None:
    them = members(3)
    a, b, c = (them.join(name, slot, 0.0) for name, slot in (("a", 0), ("b", 7), ("c", 9)))
    them.leave(b)
    them.leave(c)
    them.join("d", 11, 1.0)
    assert set(them.slot_of) == {"a", "c", "d"}
    assert them.pop_forgotten() == ["b"]
    assert them.pop_forgotten() == []
    them.join("e", 13, 1.0)
    assert set(them.slot_of) == {"a", "d", "e"}
    with pytest.raises(JoinError, match="cannot join: 3 workers take part"):
        them.join("f", 15, 1.0)
    assert them.is_current(a)


def test_ended_sessions_are_remembered_up_to_a_number() -> None:
    them = members(4)
    first = them.join("a", None, 0.0)
    for _ in range(MAX_ENDED + 10):
        newest = them.join("a", None, 0.0)
    assert len(them._ended) == MAX_ENDED
    with pytest.raises(SessionError, match="joining again"):
        them.hear(first.session, 0.0)
    assert them.hear(newest.session, 0.0) is newest


def test_pushes_of_departed_workers_are_remembered_up_to_a_number_and_those_of_others_always() -> None:
    rounds = Rounds(ScheduleSettings(1))
    rounds.begin()
    for version in range(MAX_REMEMBERED + 10):
        rounds.count(0, "stays", version + 1)
        rounds.count(1, f"passes by {version}", version + 1)
        rounds.pop_ready()
        rounds.close()
        rounds.commit()
    assert len(rounds.newest) == MAX_REMEMBERED
    assert "stays" in rounds.newest


def test_gates_and_limits_go_with_their_member(tmp_path: Path) -> None:
    limiter = Limiter(Limits())
    for i in range(100):
        limiter.tell_chunk(f"w{i}")
        limiter.change(f"w{i}", {"rate_up": 1000})
        limiter.forget(f"w{i}")
    assert not limiter._gates
    assert not limiter._own
    assert not limiter._longest


def test_a_session_cannot_be_guessed(tmp_path: Path) -> None:
    with beside_two(tmp_path) as (_, (a, b), _):
        assert len({a.session, b.session, a.join().session}) == 3
        assert all(len(worker.session) >= 32 for worker in (a, b))


def test_a_stranger_that_never_contributed_does_not_hold_up_the_end(tmp_path: Path) -> None:
    config = run_config(tmp_path, rounds=2, evaluate_every=0)
    with running_server(config, grace=300.0) as server, plain_workers(server.address, 3) as (a, b, stranger):
        for worker in (a, b):
            worker.begin(initial_weights())
        stranger.join()
        beat = threading.Event()

        def go_on() -> None:
            while not beat.wait(0.1):
                try:
                    stranger.heartbeat()
                except grpc.RpcError:
                    return

        thread = threading.Thread(target=go_on)
        thread.start()
        for round_ in (1, 2):
            make_round(round_, a, b)
        for worker in (a, b):
            follow(worker, 2)
            worker.leave()
        server.join()
        beat.set()
        thread.join()


def test_connections_that_say_nothing_are_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = [(name, 1000 if "handshake" in name else value) for name, value in channel.SERVER_OPTIONS]
    monkeypatch.setattr(serving, "SERVER_OPTIONS", options)
    with beside_two(tmp_path) as (server, (a, b), _):
        host, port = server.address.split(":")
        silent = [socket.create_connection((host, int(port))) for _ in range(50)]
        for connection in silent:
            connection.settimeout(30)
        make_round(1, a, b)
        for connection in silent:
            while connection.recv(1 << 16):  # the server's own greeting comes first
                pass
            connection.close()
        make_round(2, a, b)


def test_there_are_only_so_many_connections(tmp_path: Path) -> None:
    """Workers hold theirs already; who comes later is turned away, and has a way in once others are gone."""
    with beside_two(tmp_path, most_workers=2) as (server, (a, b), _):
        host, port = server.address.split(":")
        strangers = [socket.create_connection((host, int(port))) for _ in range(2 * 2 + 64)]
        make_round(1, a, b)
        for connection in strangers:
            connection.close()
        late = PlainWorker(server.address, "a")

        def version() -> int | None:
            try:
                return late.status().version
            except grpc.RpcError as error:  # turned away until the server has heard that they are gone
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
                return None

        assert eventually(version) == 1
        late.channel.close()


def test_calls_that_are_begun_and_say_nothing_take_no_place_of_others(tmp_path: Path) -> None:
    with beside_two(tmp_path) as (_, (a, b), (evil,)):
        over = threading.Event()

        def nothing():
            over.wait(60)
            return
            yield

        calls = [evil.stub.Push.future(nothing(), timeout=60) for _ in range(200)]
        for round_ in (1, 2, 3):
            make_round(round_, a, b)
        follow(a, 3)
        over.set()
        for call in calls:
            call.cancel()


def test_a_server_that_answers_as_many_calls_as_it_may_is_asked_again() -> None:
    class Refused(grpc.RpcError):
        def code(self) -> grpc.StatusCode:
            return grpc.StatusCode.RESOURCE_EXHAUSTED

        def details(self) -> str:
            return "Concurrent RPC limit exceeded!"

        def trailing_metadata(self) -> tuple[()]:
            return ()

    error = channel.error_of(Refused(), Address("server", 50051))
    assert type(error) is UnavailableError
    assert "as many calls as it answers at once" in str(error)


def test_more_calls_than_the_server_answers_are_refused_and_may_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "max_calls", lambda _: 3)
    with beside_two(tmp_path) as (_, (a, b), (evil,)):
        evil.watch_call = evil.stub.Watch(pb.WatchRequest(session=evil.join().session))
        assert next(evil.watch_call)
        assert not can_ask(evil)
        evil.watch_call.cancel()
        assert eventually(lambda: can_ask(a))
        make_round(1, a, b)


def can_ask(worker: PlainWorker) -> bool:
    """Ask for the status; a refusal must be one that a worker tries again after."""
    refusal: list[grpc.RpcError] = []
    try:
        worker.status()
    except grpc.RpcError as error:
        refusal.append(error)
    assert all(type(channel.error_of(error, Address("server", 50051))) is UnavailableError for error in refusal)
    return not refusal


def test_scrapes_that_say_nothing_are_closed_and_hold_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "SCRAPE_SECONDS", 0.5)
    address = f"127.0.0.1:{free_port()}"
    with beside_two(tmp_path, metrics_listen=address):
        host, port = address.split(":")
        before = threading.active_count()
        silent = [socket.create_connection((host, int(port))) for _ in range(50)]
        assert threading.active_count() <= before + 2 * metrics.MAX_SCRAPES + 1
        began = time.monotonic()
        for connection in silent:
            connection.settimeout(20)
            assert connection.recv(1) == b""
            connection.close()
        assert time.monotonic() - began < 20
        with urlopen(f"http://{address}/metrics", timeout=60) as reply:
            assert b"gradwire_version" in reply.read()

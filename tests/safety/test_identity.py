"""Over TLS every call is made by somebody: what each role may do, and what nobody else may do in a worker's name."""

import logging
import socket
import ssl
from contextlib import contextmanager
from datetime import timedelta

import grpc
import pytest

from coding import encoded
from gradwire.commands.checked_kit import check_kit
from gradwire.commands.limit import change_limits
from gradwire.commands.status import show_status
from gradwire_common.errors import AddressError, IdentityError, RightsError, UnavailableError
from gradwire_common.identity import kits
from gradwire_common.identity.access import Access
from gradwire_common.identity.files import CA, CERTIFICATE, KEY
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_server.rpc.callers import Callers
from gradwire_server.rpc.certificates import Certificates
from gradwire_server.rpc.rights import RIGHTS
from gradwire_worker.session import Session, SessionOptions
from running import eventually, running_server
from safety.certificates import Certs, identity, now
from server.plain_worker import MANIFEST, RAW, PlainWorker, gradient_of, initial_weights, run_config

OK, DENIED, UNAUTHENTICATED = "OK", "PERMISSION_DENIED", "UNAUTHENTICATED"
REFUSED, NO_HANDSHAKE = "FAILED_PRECONDITION", "UNAVAILABLE"
OF_WORKERS = {name for name, roles in RIGHTS.items() if identity("worker x").role in roles} - {
    "Status",
    "Settings",
}  # with a session


def credentials(folder):
    """Return what a client of any files shows, however wrong they are."""
    return grpc.ssl_channel_credentials(*((folder / name).read_bytes() for name in (CA, KEY, CERTIFICATE)))


class Served:
    """A server with certificates, worker a in its run, and everybody else outside of it."""

    def __init__(self, certs, server):
        self.certs, self.address = certs, server.address
        self._open = []
        self.a = self.caller("a").begin(initial_weights())
        self.admin = self.caller("admin")

    def caller(self, name, folder=None):
        """Return who calls with the kit of `name`, or the one in `folder`."""
        worker = PlainWorker(self.address, name, credentials=credentials(folder or self.certs.kit(name)))
        self._open.append(worker)
        return worker

    def state(self):
        """Return all of the run that a call could have changed, as its admin sees it."""
        status = self.admin.status()
        workers = [(each.worker_id, each.slot, each.alive, each.last_round) for each in status.workers]
        limits = self.admin.stub.Limit(pb.LimitRequest()).limits
        return (
            status.version,
            status.phase,
            status.paused,
            len(status.removed),
            workers,
            limits,
            len(status.evaluations),
            len(status.records),
        )

    def close(self):
        for worker in self._open:
            worker.channel.close()


@contextmanager
def served(folder, **changes):
    certs = Certs.init(folder / "certs", "worker a", "worker b", "observer o")
    with running_server(run_config(folder, certs=certs.server, workers=1, **changes)) as server:
        everyone = Served(certs, server)
        try:
            yield everyone
        finally:
            everyone.close()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    with served(tmp_path_factory.mktemp("identity"), rounds=0) as everyone:
        yield everyone


def calls(who, session, worker_id):
    """Return every call of the contract, made by `who` in the name of `worker_id` and its `session`."""
    header = pb.PushHeader(session=session, kind=pb.PUSH_KIND_GRADIENT, round=1, samples=1)
    join = who.join_request(worker_id=worker_id)
    return {
        "Settings": lambda: who.stub.Settings(pb.SettingsRequest(), timeout=60),
        "Join": lambda: who.stub.Join(join, timeout=60),
        "Introduce": lambda: who.stub.Introduce(iter([pb.Introduction(join=join)]), timeout=60),
        "Push": lambda: who.stub.Push(iter([pb.PushMessage(header=header)]), timeout=60),
        "Staged": lambda: who.stub.Staged(pb.StagedRequest(session=session, round=1), timeout=60),
        "Watch": lambda: next(who.stub.Watch(pb.WatchRequest(session=session), timeout=60)),
        "Heartbeat": lambda: who.stub.Heartbeat(pb.HeartbeatRequest(session=session), timeout=60),
        "Turn": lambda: who.stub.Turn(pb.TurnRequest(session=session), timeout=60),
        "Report": lambda: who.stub.Report(pb.EvaluationReport(session=session, version=2), timeout=60),
        "Status": lambda: who.stub.Status(pb.StatusRequest(), timeout=60),
        "Limit": lambda: who.stub.Limit(pb.LimitRequest(changes=pb.LimitChanges(rate_up=1)), timeout=60),
        "Pause": lambda: who.stub.Pause(pb.PauseRequest(paused=who.worker_id != "admin"), timeout=60),
        "Checkpoint": lambda: who.stub.Checkpoint(pb.CheckpointRequest(), timeout=60),
        "Remove": lambda: who.stub.Remove(pb.RemoveRequest(worker_id=worker_id), timeout=60),
        "Admit": lambda: who.stub.Admit(pb.AdmitRequest(worker_id=worker_id), timeout=60),
        "Leave": lambda: who.stub.Leave(pb.LeaveRequest(session=session, reason="forged"), timeout=60),
    }


def status_of(call):
    try:
        call()
    except grpc.RpcError as error:
        return error.code().name
    return OK


def test_every_call_of_the_contract_has_a_line_in_the_table_of_rights(run):
    service = pb.DESCRIPTOR.services_by_name["ParameterServer"]
    assert set(RIGHTS) == {method.name for method in service.methods} == set(calls(run.a, "", ""))


def test_an_honest_worker_trains_with_certificates_as_without(tmp_path):
    got = []
    with served(tmp_path, rounds=2) as everyone:
        for round_ in (1, 2):
            assert everyone.a.push(gradient_of(round_), round_).verdict == pb.VERDICT_COUNTED
            everyone.a.receive()
        got.append(everyone.a.digest)
        everyone.a.leave()
    with running_server(run_config(tmp_path / "plain", workers=1, rounds=2)) as server:
        plain = PlainWorker(server.address, "a").begin(initial_weights())
        for round_ in (1, 2):
            plain.push(gradient_of(round_), round_)
            plain.receive()
        got.append(plain.digest)
        plain.leave()
        plain.channel.close()
    assert got[0] == got[1]


@pytest.mark.parametrize(
    "make", [Certs.expired, Certs.not_yet_valid, Certs.of_another_authority, Certs.of_a_server, None]
)
@pytest.mark.parametrize("name", ["a", "b", "z"])
def test_who_has_no_valid_certificate_gets_no_connection(run, make, name):
    """Whatever the name: that of the worker in the run, of another, of one that was never issued."""
    before = run.state()
    if make is None:
        stranger = PlainWorker(
            run.address, name, credentials=grpc.ssl_channel_credentials((run.certs.server / CA).read_bytes())
        )
    else:
        stranger = PlainWorker(run.address, name, credentials=credentials(make(run.certs, name)))
    got = {call: status_of(make_it) for call, make_it in calls(stranger, run.a.session, "a").items()}
    stranger.channel.close()
    assert got == dict.fromkeys(RIGHTS, NO_HANDSHAKE)
    assert run.state() == before


def test_who_speaks_without_tls_gets_no_connection(run):
    before = run.state()
    plain = PlainWorker(run.address, "a")
    got = {call: status_of(make_it) for call, make_it in calls(plain, run.a.session, "a").items()}
    plain.channel.close()
    assert got == dict.fromkeys(RIGHTS, NO_HANDSHAKE)
    assert run.state() == before


@pytest.mark.parametrize(
    ("name", "may"),
    [
        ("o", {"Status": OK}),
        ("admin", {"Status": OK, "Limit": OK, "Pause": OK, "Admit": REFUSED}),
        ("b", {"Status": OK, "Settings": OK}),
    ],
)
def test_each_role_may_do_what_the_table_says_and_nothing_in_the_name_of_a_worker(run, name, may, caplog):
    """`b` is a worker that uses the id and the session of `a`; what admins' calls do has tests of its own."""
    before = run.state()
    who = run.caller(name)
    made = calls(who, run.a.session, "a")
    if name == "admin":
        made["Limit"] = lambda: who.stub.Limit(pb.LimitRequest(), timeout=60)
        del made["Checkpoint"], made["Remove"]
    for call, make_it in made.items():
        caplog.clear()
        with caplog.at_level(logging.INFO):
            got = status_of(make_it)
        assert got == may.get(call, DENIED), call
        lines = [record.getMessage() for record in caplog.records if "refused" in record.getMessage()]
        assert len(lines) == (call not in may), lines
        assert all(line.startswith(f"refused {call} of ipv") for line in lines)
        assert run.a.session not in caplog.text
    assert run.state() == before
    run.a.heartbeat()


def test_a_worker_cannot_call_itself_otherwise_than_its_certificate_does(run):
    before = run.state()
    b = run.caller("b")
    for worker_id in ("a", "c", "B", "admin", ""):
        assert status_of(calls(b, "", worker_id)["Join"]) == DENIED
        assert status_of(calls(b, "", worker_id)["Introduce"]) == DENIED
    assert run.state() == before


def test_a_session_that_was_stolen_is_of_no_use_before_and_after_its_worker_joins_again(tmp_path):
    with served(tmp_path, rounds=0) as everyone:
        a, thief = everyone.a, everyone.caller("b")
        old = a.session
        assert {status_of(calls(thief, old, "a")[call]) for call in OF_WORKERS} == {DENIED}
        again = everyone.caller("a")
        again.join()
        before = everyone.state()
        for who, session, expected in [
            (thief, again.session, DENIED),
            (thief, old, REFUSED),  # it has ended, for its own worker too
            (again, old, REFUSED),
        ]:
            for call in OF_WORKERS - {"Join", "Introduce"}:
                assert status_of(calls(who, session, "a")[call]) == expected, call
        assert everyone.state() == before
        again.heartbeat()


def test_somebody_revoked_loses_the_next_call_and_the_stream_and_nobody_waits_for_them(tmp_path):
    with served(tmp_path, rounds=0) as everyone:
        b = everyone.caller("b").begin()
        everyone.admin.status()
        kits.revoke(everyone.certs.folder, identity("worker b"))
        with pytest.raises(grpc.RpcError) as caught:
            for _ in b.stream:
                pass
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert status_of(b.heartbeat) == UNAUTHENTICATED
        assert status_of(b.join) == UNAUTHENTICATED
        assert [each.alive for each in everyone.admin.status().workers] == [True, False]
        assert everyone.a.push(gradient_of(1), 1).verdict == pb.VERDICT_COUNTED
        everyone.a.receive()  # the round closed without b
        kits.issue(everyone.certs.folder, identity("worker b"), now(), renew=True)
        assert status_of(b.join) == UNAUTHENTICATED  # with the certificate of before
        renewed = everyone.caller("b")
        eventually(lambda: status_of(renewed.join) == OK)


def test_a_renewed_certificate_is_served_without_a_restart_and_a_broken_one_is_not(tmp_path):
    with served(tmp_path, rounds=0) as everyone:
        server = everyone.certs.server
        first = (server / CERTIFICATE).read_bytes()
        before = _handshake(everyone)
        (server / CERTIFICATE).write_bytes(b"half of a certificate")
        assert _handshake(everyone) == before
        (server / CERTIFICATE).write_bytes(first)
        kits.renew_server(everyone.certs.folder, ["localhost"], now())
        assert _handshake(everyone) != before
        everyone.a.heartbeat()  # on the connection of before


class Context:
    """What the server knows of a call over TLS by a kit."""

    def __init__(self, kit):
        self._pem = (kit / CERTIFICATE).read_bytes()

    def auth_context(self):
        return {"x509_pem_cert": [self._pem]}


def test_a_certificate_that_expires_during_a_run_lets_nobody_call_any_more(tmp_path):
    certs = Certs.init(tmp_path / "certs", "worker a", "worker b")
    kits.issue(certs.folder, identity("worker b"), now(), 2, renew=True)
    clock = [now().timestamp()]
    callers = Callers(Certificates(certs.server), lambda: clock[0])
    for name in "ab":
        callers.check(Context(certs.kit(name)), "Push")
        callers.given(f"session of {name}")
    assert callers.barred(lambda _: True) == {}
    clock[0] += timedelta(days=3).total_seconds()
    callers.check(Context(certs.kit("a")), "Push")
    with pytest.raises(IdentityError, match="the certificate of worker b has expired; want another"):
        callers.check(Context(certs.kit("b")), "Push")
    assert callers.barred(lambda _: True) == {"session of b": "the certificate of worker b has expired; want another"}
    assert callers.barred(lambda session: session != "session of b") == {}
    clock[0] += timedelta(days=30).total_seconds()
    assert set(callers.barred(lambda _: True)) == {"session of a"}  # the other has ended and is forgotten


@pytest.mark.parametrize("pem", [[], [b""], [b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]])
def test_a_connection_without_a_certificate_that_can_be_read_is_nobodys(tmp_path, pem):
    certs = Certs.init(tmp_path / "certs")
    context = Context(certs.kit("admin"))
    context.auth_context = lambda: {"x509_pem_cert": pem} if pem else {}
    with pytest.raises(IdentityError, match=r"got a (call|certificate)"):
        Callers(Certificates(certs.server)).check(context, "Status")


# ------------------------------------------------------------------------------------------------------ the clients


def test_a_kit_is_tried_at_a_server(run):
    line = check_kit(run.certs.kit("a"), run.address, None, now())
    assert line.startswith(f"{run.certs.kit('a')}: worker a, valid until 20")
    assert line.endswith(f"; server {run.address} accepts it")
    with pytest.raises(IdentityError, match=r"it is not of use here|the server ended the connection"):
        check_kit(run.certs.of_a_server("c"), run.address, None, now())
    with pytest.raises(UnavailableError, match="cannot be reached"):
        check_kit(run.certs.kit("a"), "127.0.0.1:1", None, now())


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (Certs.expired, "it expired at"),
        (Certs.not_yet_valid, "it is not yet valid"),
        (Certs.of_another_authority, "it is of another authority"),
        (Certs.of_a_server, "it is not of use here"),
    ],
)
def test_clients_say_what_is_wrong_with_their_own_files_before_they_call(tmp_path, make, reason):
    certs = Certs.init(tmp_path / "certs")
    folder = make(certs, "w1")
    for use in (
        lambda: SessionOptions(certs=folder),
        lambda: show_status("localhost:1", access=Access(folder)),
        lambda: change_limits("localhost:1", None, {"rate_up": "1 MB/s"}, 5.0, Access(folder)),
    ):
        with pytest.raises(IdentityError, match=f"{folder.name}/cert.pem: {reason}"):
            use()


def test_a_workers_id_is_that_of_its_kit(tmp_path, monkeypatch):
    certs = Certs.init(tmp_path / "certs", "worker w1", "observer o")
    assert SessionOptions(certs=certs.kit("w1")).worker_id == "w1"
    assert SessionOptions(certs=str(certs.kit("w1")), worker_id="w1").worker_id == "w1"
    with pytest.raises(
        IdentityError, match=r"worker_id: got 'w2' together with .*w1 of worker w1, want one of the two"
    ):
        SessionOptions(certs=certs.kit("w1"), worker_id="w2")
    for name in ("admin", "o"):
        with pytest.raises(IdentityError, match=f"it is of .* {name}, want a worker's"):
            SessionOptions(certs=certs.kit(name))
    monkeypatch.setenv("GRADWIRE_CERTS", str(certs.kit("w1")))
    assert SessionOptions().worker_id == "w1"
    assert SessionOptions(certs="", worker_id="w2").worker_id == "w2"


def test_a_client_says_why_it_gets_no_connection_rather_than_try_again(run, tmp_path):
    stranger = Certs.init(tmp_path / "certs", "worker a", "admin admin2")
    with pytest.raises(IdentityError, match=r"cannot be called with the kit .*: the server's certificate is not acc"):
        show_status(run.address, access=Access(stranger.kit("admin2")))
    (stranger.kit("a") / CA).write_bytes((run.certs.server / CA).read_bytes())
    with pytest.raises(IdentityError, match="it is of another authority"):
        show_status(run.address, access=Access(stranger.kit("a")))
    with pytest.raises(AddressError, match="what listens there speaks TLS: want --certs DIR"):
        show_status(run.address)
    both = (run.certs.server / CA).read_bytes() + (stranger.server / CA).read_bytes()
    (stranger.kit("a") / CA).write_bytes(both)  # we know the server; it does not know us
    with pytest.raises(IdentityError, match="the server ended the connection: it does not accept this certificate"):
        show_status(run.address, access=Access(stranger.kit("a")))


def test_a_server_without_certificates_is_told_from_one_that_refuses(tmp_path):
    certs = Certs.init(tmp_path / "certs", "worker a")
    with (
        running_server(run_config(tmp_path)) as server,
        pytest.raises(IdentityError, match="does not speak TLS; is it a server without certificates"),
    ):
        show_status(server.address, access=Access(certs.kit("a")))


def test_commands_ask_with_the_kit_that_they_are_given(run, capsys):
    for name in ("a", "o", "admin"):
        show_status(run.address, access=Access(run.certs.kit(name)))
        assert "1 alive" in capsys.readouterr().out
    for name in ("a", "o"):
        with pytest.raises(RightsError, match=f"Limit: got a call of .* {name}, want one of a role that may: admin"):
            change_limits(run.address, None, {"burst": "1 MiB"}, 5.0, Access(run.certs.kit(name)))
    change_limits(run.address, None, {"burst": "256 KiB"}, 5.0, Access(run.certs.kit("admin")))


def test_a_worker_process_trains_over_tls_and_ends_when_it_is_revoked(tmp_path):
    """With the session that all workers use."""
    certs = Certs.init(tmp_path / "certs", "worker a")
    with running_server(run_config(tmp_path, certs=certs.server, workers=1, rounds=0)) as server:
        options = SessionOptions(certs=certs.kit("a"))
        with Session.join(server.address, MANIFEST, lambda: initial_weights(), options) as session:
            assert session.push(encoded(RAW, MANIFEST.layout, gradient_of(1)), samples=1).verdict
            kits.revoke(certs.folder, identity("worker a"))
            frames = encoded(RAW, MANIFEST.layout, gradient_of(2))
            with pytest.raises(IdentityError, match="worker a is not allowed to call with this certificate"):
                eventually(lambda: session.push(frames, samples=1) is None)


def _handshake(everyone):
    """Return the certificate that the server shows now."""
    host, _, port = everyone.address.rpartition(":")
    context = ssl.create_default_context(cafile=str(everyone.certs.server / CA))
    context.load_cert_chain(everyone.certs.kit("a") / CERTIFICATE, everyone.certs.kit("a") / KEY)
    with socket.create_connection((host, int(port))) as plain, context.wrap_socket(plain, server_hostname=host) as tls:
        return tls.getpeercert(binary_form=True)

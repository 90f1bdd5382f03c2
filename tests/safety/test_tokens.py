"""Behind a proxy that ends TLS callers are known by tokens, which stay where they belong."""

import logging
import socket
import stat
import threading
from contextlib import contextmanager

import grpc
import pytest

from gradwire.commands.limit import change_limits
from gradwire.commands.status import show_status
from gradwire_common.errors import ConfigError, GradwireError, IdentityError, RightsError
from gradwire_common.identity import kits
from gradwire_common.identity.access import Access
from gradwire_common.identity.allowed import parse_allowed
from gradwire_common.identity.tokens import Token, issue_token, token_hash
from gradwire_common.transport.address import Address
from gradwire_server.checks import check_server
from gradwire_server.rpc.refusals import MAX_LINES, WINDOW_SECONDS, Refusals
from gradwire_server.rpc.rights import RIGHTS
from gradwire_worker.session import Session, SessionOptions
from running import eventually, running_server
from safety.certificates import identity
from server.plain_worker import MANIFEST, PlainWorker, initial_weights, run_config


@pytest.fixture
def tokens(tmp_path):
    """The folder of the server's file and of those of worker a, observer o and admin m."""
    for who in ("worker a", "worker b", "observer o", "admin m"):
        issue_token(identity(who), tmp_path / f"{who.split()[1]}.token", tmp_path / "tokens.txt")
    return tmp_path


@contextmanager
def serving(tokens, **changes):
    config = run_config(tokens, tokens=tokens / "tokens.txt", workers=1, rounds=0, **changes)
    with running_server(config) as server:
        yield server.address


def access(tokens, name):
    return Access(token_file=tokens / f"{name}.token")


def test_files_are_private_and_the_server_has_hashes_alone(tokens):
    for file in tokens.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    token = Token.read(tokens / "a.token")
    assert token.identity == identity("worker a")
    assert parse_allowed(tokens / "tokens.txt")[token.identity] == {token_hash(token.secret)}
    assert token.secret not in (tokens / "tokens.txt").read_text()
    assert token.secret not in repr(token)
    with pytest.raises(IdentityError, match="it is there already"):
        issue_token(identity("worker a"), tokens / "a.token", tokens / "tokens.txt")


def test_a_worker_trains_and_each_role_may_do_what_the_table_says(tokens, capsys):
    with serving(tokens) as address:
        options = SessionOptions(token_file=tokens / "a.token")
        assert options.worker_id == "a"
        with Session.join(address, MANIFEST, initial_weights, options) as session:
            assert session.version == 0
            for name in ("a", "o", "m"):
                show_status(address, access=access(tokens, name))
            assert "1 alive" in capsys.readouterr().out
            for name in ("a", "o"):
                with pytest.raises(RightsError, match="Limit: got a call of"):
                    change_limits(address, None, {"burst": "1 MiB"}, 5.0, access(tokens, name))
            change_limits(address, None, {"burst": "1 MiB"}, 5.0, access(tokens, "m"))
            with pytest.raises(RightsError, match="Join: got a call of observer o"):
                _join_as(address, tokens, "o", "a")
            with pytest.raises(RightsError, match="worker id: got 'a' of worker b"):
                _join_as(address, tokens, "b", "a")


def _join_as(address, tokens, name, worker_id):
    metadata = [access(tokens, name).token.metadata]
    worker = PlainWorker(address, worker_id)
    try:
        worker.stub.Join(worker.join_request(), metadata=metadata, timeout=60)
    except grpc.RpcError as failed:
        from gradwire_common.transport.channel import error_of

        raise error_of(failed, Address("server", 1)) from None
    finally:
        worker.channel.close()


@pytest.mark.parametrize(
    "metadata",
    [
        [],
        [("authorization", "Bearer ")],
        [("authorization", "Bearer guessed")],
        [("authorization", "Basic dTpw")],
        [("authorization", "Bearer " + "x" * 4000)],
        [("authorization", "Bearer {hash}")],
        [("authorization", "bearer {token}")],
        [("token", "{token}")],
        [("authorization-bin", b"Bearer x")],
    ],
)
def test_nothing_else_than_the_token_lets_anyone_call(tokens, metadata, caplog):
    token = Token.read(tokens / "m.token")
    known = {"token": token.secret, "hash": token_hash(token.secret)}
    sent = [(key, value if isinstance(value, bytes) else value.format(**known)) for key, value in metadata]
    with serving(tokens) as address, grpc.insecure_channel(address) as channel, caplog.at_level(logging.DEBUG):
        worker = PlainWorker(address, "a")
        for method in RIGHTS:
            call = channel.unary_unary(f"/gradwire.v1.ParameterServer/{method}")
            with pytest.raises(grpc.RpcError) as caught:
                call(b"", metadata=sent, timeout=60)
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED, method
        worker.channel.close()
    assert token.secret not in caplog.text


def test_strangers_cannot_fill_the_log(caplog):
    clock = [0.0]
    refusals = Refusals(lambda: clock[0])
    for _ in range(5000):
        refusals.tell("Status", "ipv4:192.0.2.1:1", IdentityError("got a call without a token"))
    assert len(caplog.records) == MAX_LINES
    clock[0] += WINDOW_SECONDS
    refusals.tell("Status", "ipv4:192.0.2.1:1", IdentityError("got a call without a token"))
    assert len(caplog.records) == MAX_LINES + 2
    assert caplog.records[-2].getMessage() == f"{5000 - MAX_LINES} more calls were refused in 10 s"


def test_a_token_that_was_revoked_is_good_no_more_within_a_second(tokens):
    with serving(tokens) as address:
        show_status(address, access=access(tokens, "o"))
        kits.revoke(tokens / "tokens.txt", identity("observer o"))

        def refused():
            try:
                show_status(address, access=access(tokens, "o"))
            except IdentityError as error:
                return str(error)
            return ""

        assert "not known here, or no more" in eventually(refused, 5.0)
        show_status(address, access=access(tokens, "m"))


@pytest.mark.parametrize("text", ["", "worker a", "worker a one two", "root a secret", "worker ../a secret", "\xff"])
def test_a_file_without_a_token_is_named_and_not_quoted(tmp_path, text):
    file = tmp_path / "bad.token"
    file.write_text(text, "latin-1")
    for use in (lambda: SessionOptions(token_file=file), lambda: show_status("localhost:1", access=Access(None, file))):
        with pytest.raises(IdentityError, match=r"bad\.token: ") as caught:
            use()
        assert "secret" not in str(caught.value)


def test_a_server_wants_one_kind_of_proof_and_a_file_that_is_there(tokens):
    with pytest.raises(ConfigError, match="tokens: got them together with certs"):
        check_server(run_config(tokens, tokens=tokens / "tokens.txt", certs=tokens))
    with pytest.raises(IdentityError, match=r"absent\.txt: cannot read it"):
        check_server(run_config(tokens, tokens=tokens / "absent.txt"))
    with pytest.raises(ConfigError, match="without certificates"):  # a token in clear is everybody's
        check_server(run_config(tokens, tokens=tokens / "tokens.txt", listen="0.0.0.0:0"))


def test_a_token_is_sent_to_another_machine_over_tls_alone(tokens, monkeypatch):
    """Whatever listens there, the first that it gets is a TLS handshake."""
    monkeypatch.setattr(Address, "loopback", property(lambda _: False))
    got = bytearray()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept():
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(1.0)
                    got.extend(connection.recv(4096))

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        with pytest.raises(GradwireError):
            show_status(f"127.0.0.1:{listening.getsockname()[1]}", timeout=2.0, access=access(tokens, "m"))
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert got.startswith(b"\x16\x03")
    assert Token.read(tokens / "m.token").secret.encode() not in got

"""Keys and tokens are in their own files and nowhere else: not in logs, process tables, settings, status or state."""

import logging
import os
import re
from pathlib import Path

import pytest

from gradwire.commands import administration
from gradwire.commands.status import show_status
from gradwire_common.errors import RightsError, UsageError
from gradwire_common.identity.access import Access
from gradwire_common.identity.files import KEY
from gradwire_common.identity.tokens import Token, issue_token
from gradwire_worker.session.options import SessionOptions
from safety.certificates import Certs, identity

TRAIN = ("--workers", "1", "--rounds", "0", "--runs", "runs")
TASK = ("--task", "synthetic", "--parameters", "2000")


@pytest.fixture
def certified(tmp_path):
    certs = Certs.init(tmp_path / "certs", "worker w1")
    secrets = [
        line for file in certs.folder.rglob(KEY) for line in file.read_text().splitlines() if not line.startswith("--")
    ]
    kits = [{"certs": certs.kit(name)} for name in ("w1", "admin")]
    return ("--certs", certs.server), ("--certs", certs.kit("w1")), *kits, secrets


@pytest.fixture
def tokened(tmp_path):
    for who in ("worker w1", "admin admin"):
        issue_token(identity(who), tmp_path / f"{who.split()[1]}.token", tmp_path / "tokens.txt")
    files = [tmp_path / "w1.token", tmp_path / "admin.token"]
    secrets = [Token.read(file).secret for file in files]
    given = [{"token_file": file} for file in files]
    return ("--tokens", tmp_path / "tokens.txt"), ("--token-file", files[0]), *given, secrets


@pytest.mark.parametrize("proof", ["certified", "tokened"])
def test_no_secret_leaves_its_file(proof, request, tmp_path, start, capfd, caplog):
    of_server, of_worker, access_of_worker, of_admin, secrets = request.getfixturevalue(proof)
    caplog.set_level(logging.DEBUG)
    assert secrets
    assert all(len(secret) > 20 for secret in secrets)
    debug = {"GRADWIRE_LOG_LEVEL": "debug"}
    server = start("server", "--listen", "127.0.0.1:0", *TRAIN, *of_server, **debug)
    address = server.wait_for(r"^listening on (\S+)")
    worker = start("worker", "--server", address, "--state", "state", *TASK, *of_worker, **debug)
    worker.wait_for("joined run 'run'")
    seen = [_process(each.process.pid) for each in (server, worker)]
    administration.checkpoint(address, **of_admin)
    administration.pause(address, reason="to look around", **of_admin)
    show_status(address, access=Access(**of_admin))
    with pytest.raises(RightsError) as refused:
        administration.remove(address, "w1", **access_of_worker)
    administration.remove(address, "w1", **of_admin)
    seen += [*capfd.readouterr(), str(refused.value), caplog.text]
    assert worker.wait() == 1
    server.process.terminate()
    assert server.wait() == 0
    assert "worker w1 was removed by" in worker.said
    seen += [server.said, worker.said]
    kept = [each for folder in ("runs", "state") for each in (tmp_path / folder).rglob("*") if each.is_file()]
    assert len(kept) > 4
    seen += [each.read_bytes().decode("latin-1") for each in kept if each.suffix != ".claim"]
    for text in seen:
        for secret in secrets:
            assert secret not in text
    assert re.search(r"(certs|tokens) = ", (tmp_path / "runs/run/config.toml").read_text())


def _process(pid):
    """Return what others see of a process, and its own environment."""
    return "".join(
        Path(f"/proc/{pid}/{name}").read_bytes().decode("latin-1") for name in ("cmdline", "environ", "comm")
    )


def test_a_claim_is_not_shown():
    options = SessionOptions(worker_id="a", claim=os.urandom(16))
    assert repr(options.claim) not in repr(options)
    for wrong in ("text", b"x" * 65, None):
        with pytest.raises(UsageError, match=r"claim: got .*, want at most 64 bytes"):
            SessionOptions(claim=wrong)

"""Kits are made private and complete; what is wrong with one is named before it is used."""

import stat
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gradwire_common.errors import ConfigError, IdentityError
from gradwire_common.identity import kits
from gradwire_common.identity.allowed import Allowed, parse_allowed
from gradwire_common.identity.credentials import Credentials, Usage, loose_key
from gradwire_common.identity.files import ALLOWED, CA, CA_KEY, CERTIFICATE, KEY
from gradwire_common.identity.names import Identity
from safety.certificates import Certs, identity, now


@pytest.fixture
def certs(tmp_path):
    return Certs.init(tmp_path / "certs", "worker w1", "observer grafana")


def client(folder, **changes):
    return Credentials.read(folder, **{"usage": Usage.CLIENT, "now": now(), **changes})


# -------------------------------------------------------------------------------------------------------- right ones


def test_everything_that_is_made_is_its_owners_alone(certs):
    for each in [certs.folder, *certs.folder.rglob("*")]:
        assert stat.S_IMODE(each.stat().st_mode) == (0o700 if each.is_dir() else 0o600), each


def test_a_kit_says_who_it_is_of(certs):
    assert client(certs.kit("w1")).identity == identity("worker w1")
    assert client(certs.kit("grafana")).identity == identity("observer grafana")
    assert client(certs.kit("admin")).identity == identity("admin admin")
    server = Credentials.read(certs.server, Usage.SERVER, now(), "localhost")
    assert server.identity is None


def test_the_authority_signs_no_other_authority(certs):
    extensions = certs.authority.certificate.extensions
    constraints = extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert constraints.value == x509.BasicConstraints(ca=True, path_length=0)
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.key_cert_sign
    assert not usage.digital_signature


@pytest.mark.parametrize("host", ["train.example.org", "10.1.2.3", "2001:db8::7", "localhost", "127.0.0.1", "::1"])
def test_a_servers_certificate_names_its_hosts_and_its_own_machine(tmp_path, host):
    kits.init(tmp_path / "certs", ["train.example.org", "10.1.2.3", "2001:db8::7"], now())
    server = tmp_path / "certs" / "server"
    Credentials.read(server, Usage.SERVER, now(), host)
    with pytest.raises(IdentityError, match=r"cert.pem: it is of another host: got .*, want evil.example.org"):
        Credentials.read(server, Usage.SERVER, now(), "evil.example.org")
    with pytest.raises(IdentityError, match=r"want 10\.1\.2\.4"):
        Credentials.read(server, Usage.SERVER, now(), "10.1.2.4")


@pytest.mark.parametrize("host", ["a b", "host:50051", "https://host", "", "-"])
def test_a_host_that_is_none_is_refused_and_nothing_is_made(tmp_path, host):
    with pytest.raises(ConfigError, match="want"):
        kits.init(tmp_path / "certs", [host], now())
    assert not (tmp_path / "certs").exists()


def test_nothing_that_is_there_is_written_over(certs):
    before = {file: file.read_bytes() for file in certs.folder.rglob("*.pem")}
    for attempt in (
        lambda: kits.init(certs.folder, ["localhost"], now()),
        lambda: kits.issue(certs.folder, identity("worker w1"), now()),
        lambda: kits.issue(certs.folder, identity("observer w1"), now()),
    ):
        with pytest.raises(IdentityError, match="it is there already"):
            attempt()
    for name in ("ca", "server"):
        with pytest.raises(ConfigError, match="another folder"):
            kits.issue(certs.folder, identity(f"worker {name}"), now())
    assert {file: file.read_bytes() for file in certs.folder.rglob("*.pem")} == before


def test_a_renewed_kit_has_another_certificate_and_the_earlier_one_may_still_be_used(certs):
    before = (certs.kit("w1") / CERTIFICATE).read_bytes()
    kits.issue(certs.folder, identity("worker w1"), now(), 3, renew=True)
    assert (certs.kit("w1") / CERTIFICATE).read_bytes() != before
    assert client(certs.kit("w1")).expires < now() + timedelta(days=4)
    assert len(parse_allowed(certs.server / ALLOWED)[identity("worker w1")]) == 2


def test_a_certificate_that_leaked_stays_out_once_its_worker_has_another(certs):
    (leaked,) = parse_allowed(certs.server / ALLOWED)[identity("worker w1")]
    kits.revoke(certs.folder, identity("worker w1"))
    kits.issue(certs.folder, identity("worker w1"), now(), renew=True)
    (current,) = parse_allowed(certs.server / ALLOWED)[identity("worker w1")]
    allowed = Allowed(certs.server / ALLOWED)
    assert allowed.has(identity("worker w1"), current)
    assert not allowed.has(identity("worker w1"), leaked)


def test_the_three_commands_make_what_server_and_workers_need(run, tmp_path):
    assert run("certs", "init", "--host", "train.example.org").code == 0
    assert run("certs", "issue", "worker", "w1", "w2").code == 0
    checked = run("certs", "check", "certs/w1")
    assert (checked.code, checked.out.startswith("certs/w1: worker w1, valid until 20")) == (0, True)
    assert run("certs", "check", "certs/server", "--host", "train.example.org").code == 0
    wrong = run("certs", "check", "certs/server", "--host", "other.example.org")
    assert wrong.code == 2
    assert wrong.error.startswith("error: certs/server/cert.pem: it is of another host: got train.example.org, ")
    assert run("certs", "revoke", "worker", "w1", "--certs", "certs/server").code == 0
    assert [str(who) for who in parse_allowed(tmp_path / "certs/server/allowed.txt")] == ["admin admin", "worker w2"]
    (tmp_path / "certs/w2/key.pem").chmod(0o644)
    assert "others can read it (mode 0644); want 0600" in run("certs", "check", "certs/w2").error


# -------------------------------------------------------------------------------------------------------- wrong ones


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (Certs.expired, r"cert.pem: it expired at 20\d\d-"),
        (Certs.not_yet_valid, "cert.pem: it is not yet valid: from"),
        (Certs.of_another_authority, "cert.pem: it is of another authority than ca.pem"),
        (Certs.of_a_server, "cert.pem: it is not of use here; want a worker's"),
    ],
)
def test_a_certificate_that_would_be_refused_is_named_with_the_reason(certs, make, match):
    with pytest.raises(IdentityError, match=match):
        client(make(certs, "w9"))


@pytest.mark.parametrize("name", [CA, CERTIFICATE, KEY])
@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (lambda file: file.unlink(), "cannot read it: No such file"),
        (lambda file: file.write_bytes(b""), "it has no"),
        (lambda file: file.write_bytes(b"\xff\x00 no PEM"), "it has no"),
        (lambda file: file.write_bytes(file.read_bytes()[:100]), "it has no"),
        (lambda file: (file.unlink(), file.mkdir()), "cannot read it: Is a directory"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(certs, name, damage, match):
    damage(certs.kit("w1") / name)
    with pytest.raises(IdentityError, match=f"w1/{name}: {match}"):
        client(certs.kit("w1"))


def test_a_key_of_another_certificate_and_one_with_a_password_are_named(certs):
    (certs.kit("w1") / KEY).write_bytes((certs.kit("admin") / KEY).read_bytes())
    with pytest.raises(IdentityError, match=r"w1/key.pem: it does not match cert.pem"):
        client(certs.kit("w1"))
    (certs.kit("w1") / KEY).write_bytes((certs.folder / "ca" / CA_KEY).read_bytes())
    with pytest.raises(IdentityError, match=r"w1/key.pem: it does not match cert.pem"):
        client(certs.kit("w1"))
    locked = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    (certs.kit("w1") / KEY).write_bytes(locked)
    with pytest.raises(IdentityError, match=r"w1/key.pem: it is encrypted") as caught:
        client(certs.kit("w1"))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "uris",
    [
        [],
        ["spiffe://gradwire/worker/a", "spiffe://gradwire/admin/a"],
        ["spiffe://example.org/worker/a"],
        ["spiffe://gradwire/owner/a"],
        ["spiffe://gradwire/worker/"],
        ["spiffe://gradwire/worker/a/b"],
        ["spiffe://gradwire/worker/.."],
        ["https://gradwire/worker/a"],
        ["spiffe://gradwire/worker/" + "a" * 65],
    ],
)
def test_a_certificate_without_one_identity_of_ours_is_refused(certs, uris):
    with pytest.raises(IdentityError, match=r"want one: spiffe|want spiffe"):
        client(certs.wrong("odd", _issued(certs, uris)))


def test_a_key_that_others_can_read_is_named(certs):
    assert loose_key(certs.kit("w1")) == ""
    for mode in (0o644, 0o640, 0o604):
        (certs.kit("w1") / KEY).chmod(mode)
        assert f"(mode {mode:04o}); want 0600" in loose_key(certs.kit("w1"))


def test_a_certificate_of_an_intermediate_authority_is_accepted_with_its_chain(tmp_path):
    """As SPIRE issues them."""
    certs = Certs.init(tmp_path / "certs")
    root_key, middle_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = _authority("root", root_key, "root", root_key)
    middle = _authority("middle", middle_key, "root", root_key)
    issued = _issued(certs, ["spiffe://gradwire/worker/a"], "middle", middle_key)
    folder = certs.wrong("chained", issued)
    (folder / CA).write_bytes(root.public_bytes(serialization.Encoding.PEM))
    with pytest.raises(IdentityError, match="of another authority"):
        client(folder)
    (folder / CERTIFICATE).write_bytes(issued.certificate + middle.public_bytes(serialization.Encoding.PEM))
    assert client(folder).identity == identity("worker a")


# ------------------------------------------------------------------------------------------------------ who may call


@pytest.mark.parametrize(
    "line",
    ["worker", "root a", "worker ..", "worker a/b", "worker a xyz", f"worker a {'A' * 64}", "worker a " + "0" * 63],
)
def test_a_wrong_line_of_the_list_is_named_and_lets_nobody_in(tmp_path, line):
    file = tmp_path / ALLOWED
    file.write_text(f"# comment\nworker a\n\n{line}\n")
    with pytest.raises(IdentityError, match=r"allowed.txt: line 4: "):
        Allowed(file)
    file.write_text("worker a\n")
    allowed = Allowed(file)
    file.write_text(f"worker a\nworker b\n{line}\n")
    assert not allowed.look()
    assert allowed.has(identity("worker a"), "0" * 64)
    assert not allowed.has(identity("worker b"), "0" * 64)


def test_the_list_is_read_again_when_it_changes(tmp_path):
    file = tmp_path / ALLOWED
    assert Allowed(file).has(identity("worker a"), "0" * 64)  # no file: all that the authority signed
    file.write_text("worker a\n")
    allowed = Allowed(file)
    assert not allowed.look()
    for text, has_a, has_b in [
        ("worker b\n", False, True),
        ("", False, False),
        (f"worker a {'0' * 64} {'1' * 64}\nobserver b\n", True, False),
        (f"worker a {'1' * 64}\nworker b\n", False, True),
    ]:
        file.write_text(text)
        assert allowed.look()
        assert [allowed.has(identity(f"worker {name}"), "0" * 64) for name in "ab"] == [has_a, has_b]
    file.unlink()
    assert not allowed.look()
    assert not allowed.has(identity("worker a"), "0" * 64)


def test_revoking_who_is_not_there_says_so(certs):
    for who in ("worker w7", "admin w1", "observer w1"):
        with pytest.raises(ConfigError, match=f"got {who}, which is not in it"):
            kits.revoke(certs.server, identity(who))


def _issued(certs, uris, issuer="", key=None):
    """Return a client's certificate with any URIs."""
    own = ec.generate_private_key(ec.SECP256R1())
    template = certs.authority.issue_client(Identity.parse("worker", "a"), now())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]) if issuer else None
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.load_pem_x509_certificate(template.certificate).subject)
        .issuer_name(name or certs.authority.certificate.subject)
        .public_key(own.public_key())
        .serial_number(1)
        .not_valid_before(now() - timedelta(days=1))
        .not_valid_after(now() + timedelta(days=1))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
    )
    if uris:
        names = [x509.UniformResourceIdentifier(uri) for uri in uris]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    signed = builder.sign(key or certs.authority.key, hashes.SHA256())
    return type(template)(
        signed.public_bytes(serialization.Encoding.PEM),
        own.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


def _authority(name, key, issuer, issuer_key):
    def of(text):
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    return (
        x509.CertificateBuilder()
        .subject_name(of(name))
        .issuer_name(of(issuer))
        .public_key(key.public_key())
        .serial_number(2)
        .not_valid_before(now() - timedelta(days=1))
        .not_valid_after(now() + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(issuer_key, hashes.SHA256())
    )

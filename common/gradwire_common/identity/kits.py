"""Kits: a folder for each peer, with all that it needs to be believed, made beside an authority.

certs/ca/       ca.pem ca-key.pem                        stays where certificates are issued
certs/server/   ca.pem cert.pem key.pem allowed.txt      to copy to the server's machine
certs/w1/       ca.pem cert.pem key.pem                  to copy to worker w1's
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from gradwire_common.errors import ConfigError, IdentityError
from gradwire_common.identity.allowed import parse_allowed, write_allowed
from gradwire_common.identity.authority import Authority, Issued
from gradwire_common.identity.files import (
    ALLOWED,
    CA,
    CA_KEY,
    CERTIFICATE,
    KEY,
    make_folder,
    read,
    replace_private,
    write_private,
)
from gradwire_common.identity.names import Identity, Role

AUTHORITY_FOLDER = "ca"
SERVER_FOLDER = "server"
FIRST_ADMIN = Identity(Role.ADMIN, "admin")


def init(folder: Path, hosts: Sequence[str], now: datetime) -> list[Path]:
    """Make an authority, and the kits of a server called by `hosts` and of an admin; return what was made.

    Raises:
        ConfigError: a host is none.
        IdentityError: something is there already, or cannot be written.
    """
    authority = Authority.init(now)
    server = authority.issue_server(hosts, now)
    made = folder / AUTHORITY_FOLDER
    make_folder(made)
    write_private(made / CA_KEY, authority.pem.key)
    write_private(made / CA, authority.pem.certificate)
    _write_kit(folder / SERVER_FOLDER, authority, server)
    write_private(folder / SERVER_FOLDER / ALLOWED, b"")
    return [made, folder / SERVER_FOLDER, issue(folder, FIRST_ADMIN, now)]


def issue(folder: Path, identity: Identity, now: datetime, days: int | None = None, *, renew: bool = False) -> Path:
    """Make the kit of a worker, an observer or an admin, and let it call the server; return its folder.

    Args:
        folder: that `init` made.
        identity: whose it is.
        now: with a time zone.
        days: that the certificate is valid for; CLIENT_DAYS when not given.
        renew: whether another certificate takes the place of the one that is there, which may still be used as well.

    Raises:
        ConfigError: the name is the authority's or the server's folder, or the days are none.
        IdentityError: a file is there that should not be, is not there that should, or cannot be written.
    """
    if identity.name in (AUTHORITY_FOLDER, SERVER_FOLDER):
        raise ConfigError(f"name: got {identity.name!r}, which is another folder of {folder}; want another name")
    authority = authority_of(folder)
    issued = authority.issue_client(identity, now, *(() if days is None else (days,)))
    kit = folder / identity.name
    (_replace_kit if renew else _write_kit)(kit, authority, issued)
    allowed_file = folder / SERVER_FOLDER / ALLOWED
    allowed = parse_allowed(allowed_file) if allowed_file.exists() else {}
    if allowed.get(identity) != frozenset():  # else any certificate of that name may be used, and still may
        allowed[identity] = allowed.get(identity, frozenset()) | {issued.fingerprint}
    write_allowed(allowed_file, allowed)
    return kit


def renew_server(folder: Path, hosts: Sequence[str], now: datetime, days: int | None = None) -> Path:
    """Give the server's kit another certificate; a server that runs there serves it without a restart.

    Raises:
        ConfigError: a host is none, or the days are none.
        IdentityError: there is no authority in `folder`, or the kit cannot be written.
    """
    authority = authority_of(folder)
    issued = authority.issue_server(hosts, now, *(() if days is None else (days,)))
    _replace_kit(folder / SERVER_FOLDER, authority, issued)
    return folder / SERVER_FOLDER


def revoke(folder: Path, identity: Identity) -> Path:
    """Let `identity` call no more, with any certificate; return the file that says so.

    Args:
        folder: that `init` made, the server's kit, or the list itself, of tokens too.
        identity: who.

    Raises:
        ConfigError: it is not allowed to call as it is.
        IdentityError: there is no list, or it cannot be written.
    """
    file = (
        folder
        if folder.is_file()
        else folder / ALLOWED
        if (folder / ALLOWED).exists()
        else folder / SERVER_FOLDER / ALLOWED
    )
    allowed = parse_allowed(file)
    if allowed.pop(identity, None) is None:
        raise ConfigError(f"{file}: got {identity}, which is not in it; want one of those that are")
    write_allowed(file, allowed)
    return file


def authority_of(folder: Path) -> Authority:
    """Return the authority that `init` made in `folder`. Raises IdentityError where there is none."""
    made = folder / AUTHORITY_FOLDER
    if not (made / CA_KEY).exists():
        raise IdentityError(f"{made / CA_KEY}: there is no authority; `gradwire certs init` makes one")
    return Authority.load(read(made / CA), read(made / CA_KEY))


def _write_kit(folder: Path, authority: Authority, issued: Issued) -> None:
    make_folder(folder)
    for name, data in _files(authority, issued):
        write_private(folder / name, data)


def _replace_kit(folder: Path, authority: Authority, issued: Issued) -> None:
    if not (folder / CERTIFICATE).exists():
        raise IdentityError(f"{folder / CERTIFICATE}: there is none to renew; want the folder of an earlier one")
    for name, data in _files(authority, issued):
        replace_private(folder / name, data)


def _files(authority: Authority, issued: Issued) -> Iterator[tuple[str, bytes]]:
    yield CA, authority.pem.certificate
    yield KEY, issued.key
    yield CERTIFICATE, issued.certificate

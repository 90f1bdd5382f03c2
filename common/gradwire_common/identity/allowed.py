"""Who may call a server: a file with a line for each identity, which is read again when it changes.

worker w1 8f3c...      role, name, and the SHA-256 of each certificate of theirs that may be used
observer grafana       any certificate of that name that the authority signed
"""

import logging
import os
from collections.abc import Mapping
from pathlib import Path

from gradwire_common.errors import ConfigError, IdentityError
from gradwire_common.identity.files import read, replace_private
from gradwire_common.identity.names import Identity

log = logging.getLogger("gradwire")

HEADER = "# who may call this server: role, name, SHA-256 of each certificate that may be used (none: any)\n"
_DIGITS = set("0123456789abcdef")

Fingerprints = frozenset[str]


def parse_allowed(file: Path) -> dict[Identity, Fingerprints]:
    """Return the identities of a file with the fingerprints that each may use; none for any.

    Raises:
        IdentityError: it cannot be read, or a line is wrong; says which.
    """
    allowed: dict[Identity, Fingerprints] = {}
    for number, line in enumerate(read(file).decode("utf-8", "replace").splitlines(), 1):
        parts = line.partition("#")[0].split()
        if not parts:
            continue
        try:
            if len(parts) < 2:
                raise ConfigError(f"got {parts[0]!r} alone, want a role and a name")
            identity, prints = Identity.parse(*parts[:2]), frozenset(parts[2:])
            for each in prints:
                if len(each) != 64 or not set(each) <= _DIGITS:
                    raise ConfigError(f"got {each[:80]!r}, want a SHA-256 of 64 hexadecimal digits")
        except ConfigError as error:
            raise IdentityError(f"{file}: line {number}: {error}") from None
        allowed[identity] = allowed.get(identity, frozenset()) | prints
    return allowed


def write_allowed(file: Path, allowed: Mapping[Identity, Fingerprints]) -> None:
    """Write a file that `parse_allowed` reads, in place of what is there. Raises IdentityError if it cannot."""
    lines = [" ".join([str(identity), *sorted(prints)]) for identity, prints in allowed.items()]
    replace_private(file, (HEADER + "".join(f"{line}\n" for line in lines)).encode())


class Allowed:
    """The file while a server runs; `look` reads it again where it has changed.

    Without a file everyone that the authority signed is allowed. A file that vanishes or gets a wrong line later
    changes nothing but the log: nobody is let in by that.
    """

    def __init__(self, file: Path, *, required: bool = False):
        """Read the file. Raises IdentityError if it is wrong, or is not there and is `required`."""
        self._file = file
        self._stamp = _stamp(file)
        self._take(parse_allowed(file) if required or self._stamp is not None else None)

    def look(self) -> bool:
        """Read the file again where it has changed; return whether it has."""
        stamp = _stamp(self._file)
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        try:
            allowed = parse_allowed(self._file)
        except IdentityError as error:
            log.error("%s; those that were allowed before still are", error)
            return False
        self._take(allowed)
        log.info("%s: %d may call from now on", self._file, len(allowed))
        return True

    def has(self, identity: Identity, fingerprint: str) -> bool:
        """Return whether `identity` may call with the certificate of this fingerprint."""
        if self._allowed is None:
            return True
        prints = self._allowed.get(identity)
        return prints is not None and (not prints or fingerprint in prints)

    def owner_of(self, fingerprint: str) -> Identity | None:
        """Return the identity that has this fingerprint; None where no line has."""
        return self._owners.get(fingerprint)

    def _take(self, allowed: Mapping[Identity, Fingerprints] | None) -> None:
        self._allowed = allowed
        self._owners = {each: identity for identity, prints in (allowed or {}).items() for each in prints}


def _stamp(file: Path) -> tuple[int, int, int] | None:
    """Return what changes when a file does; None where there is none."""
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size

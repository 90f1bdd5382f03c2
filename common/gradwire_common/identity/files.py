"""The files of an identity: a folder with the authority's certificate, the peer's own, and its private key."""

import os
from pathlib import Path

from gradwire_common.errors import IdentityError
from gradwire_common.private_files import PRIVATE_FILE, PRIVATE_FOLDER

CA = "ca.pem"  # certificates of the authorities whose peers are believed
CERTIFICATE = "cert.pem"  # the peer's own, first, and those between it and the authority
KEY = "key.pem"
CA_KEY = "ca-key.pem"  # stays where certificates are issued
ALLOWED = "allowed.txt"  # at the server: who may call


def make_folder(folder: Path) -> None:
    """Make a folder that is its owner's alone. Raises IdentityError where there is one, or it cannot be made."""
    try:
        folder.parent.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        folder.mkdir(mode=PRIVATE_FOLDER)
    except FileExistsError:
        raise IdentityError(f"{folder}: it is there already; want a folder that is not") from None
    except OSError as error:
        raise IdentityError(f"{folder}: cannot make the folder: {error.strerror}") from None


def write_private(file: Path, data: bytes) -> None:
    """Write a file that its owner alone may read, and that is not there yet.

    Raises:
        IdentityError: it is there, or cannot be written.
    """
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, PRIVATE_FILE)
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(data)
    except FileExistsError:
        raise IdentityError(f"{file}: it is there already; nothing was written") from None
    except OSError as error:
        raise IdentityError(f"{file}: cannot write it: {error.strerror}") from None


def replace_private(file: Path, data: bytes) -> None:
    """Write a file as `write_private` does, in place of one that is there. Raises IdentityError if it cannot."""
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    write_private(partial, data)
    try:
        partial.replace(file)
    except OSError as error:
        partial.unlink()
        raise IdentityError(f"{file}: cannot replace it: {error.strerror}") from None


def read(file: Path) -> bytes:
    """Return the bytes of a file. Raises IdentityError if it cannot be read."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise IdentityError(f"{file}: cannot read it: {error.strerror}") from None

"""A worker's claim to its id, kept beside its state: started again, it takes its place at once."""

import os
from pathlib import Path

from gradwire_common.errors import UsageError
from gradwire_common.private_files import open_file
from gradwire_worker.session.options import CLAIM_BYTES

SUFFIX = ".claim"


def kept_claim(file: Path) -> bytes:
    """Return the claim that is kept beside a worker's state, which is made where there is none.

    Args:
        file: of the state.

    Raises:
        UsageError: it cannot be read or written.
    """
    path = file.with_suffix(SUFFIX)
    try:
        if path.exists() and len(kept := path.read_bytes()) == CLAIM_BYTES:
            return kept
        claim, partial = os.urandom(CLAIM_BYTES), path.with_name(f"{path.name}.{os.getpid()}")
        with open_file(partial, "w") as opened:
            opened.write(claim)
        partial.replace(path)
    except OSError as error:
        raise UsageError(f"state: cannot keep {path}: {error.strerror}; want a folder that can be written to") from None
    return claim

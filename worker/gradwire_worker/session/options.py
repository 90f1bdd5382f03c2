"""How a worker takes part in a run."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from gradwire_common.errors import UsageError
from gradwire_common.identity.access import CERTS_VARIABLE, TOKEN_VARIABLE, Access
from gradwire_common.settings.names import MAX_NAME, check_name, name_of
from gradwire_common.step_options import OptimizerChoice
from gradwire_common.transport.bounds import MAX_DIGEST, MAX_SLOT
from gradwire_common.units import named, parse_seconds
from gradwire_worker.arguments import text_settings, whole_number

CLAIM_BYTES = 16
AS_THEY_ARE = "float32"
PRECISIONS = (AS_THEY_ARE, "bfloat16")  # of initial weights
_OWN_CLAIM = os.urandom(CLAIM_BYTES)  # of this process


@dataclass(frozen=True, kw_only=True)
class SessionOptions:
    """How a worker takes part in a run; checked when it is made.

    Attributes:
        worker_id: the same id takes the old place again; made up where it is empty. 1 to 64 of A-Z a-z 0-9 . _ -.
        slot: the shard wanted; the lowest free one when None.
        settings: what all workers of the run must share; the first worker's count.
        patience: seconds to keep trying to reach a server that does not answer.
        pace: whether to send no faster than the server's limit, rather than be slowed by it.
        initial_precision: "float32", or "bfloat16" to round this worker's initial weights to, buffers excepted, before
            a run begins with them: they take 0.4 of the bytes then. A run that has weights keeps its own.
        optimizer: what the run is to step with, if this worker is its first; later ones must agree.
        claim: random bytes, at most 64, that prove later joins under this id to be its own: nobody else can take it
            while this worker is alive. That of this process by default; `RemoteOptimizer(state=...)` keeps one.
        certs: folder of this worker's kit of certificates, for a server that wants one, which says its id too; that of
            GRADWIRE_CERTS where it is None, and none where it is empty.
        token_file: file of this worker's token, for a server behind a proxy; likewise that of GRADWIRE_TOKEN_FILE.

    Raises:
        UsageError: a value that cannot be; names it. IdentityError where a certificate or key is wrong.
    """

    worker_id: str = ""
    slot: int | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    patience: float = 60.0
    pace: bool = True
    initial_precision: str = "float32"
    optimizer: OptimizerChoice | None = None
    claim: bytes = field(default=_OWN_CLAIM, repr=False)
    certs: str | Path | None = None
    token_file: str | Path | None = None

    def __post_init__(self) -> None:
        for name, variable in (("certs", CERTS_VARIABLE), ("token_file", TOKEN_VARIABLE)):
            given = os.environ.get(variable) if getattr(self, name) is None else getattr(self, name)
            object.__setattr__(self, name, Path(given) if given else "")
        worker_id = self.access.worker_id(check_name("worker_id", self.worker_id) if self.worker_id else "")
        if not isinstance(self.claim, bytes) or len(self.claim) > MAX_DIGEST:
            raise UsageError(f"claim: got {type(self.claim).__name__}, want at most {MAX_DIGEST} bytes")
        slot = None if self.slot is None else whole_number("slot", self.slot, 0, MAX_SLOT)
        checked = {
            "worker_id": worker_id or _new_worker_id(),
            "slot": slot,
            "settings": text_settings(self.settings),
            "initial_precision": self._precision(),
            "patience": named("patience", parse_seconds, self.patience),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def _precision(self) -> str:
        if self.initial_precision not in PRECISIONS:
            raise UsageError(f"initial_precision: got {self.initial_precision!r}, want one of {', '.join(PRECISIONS)}")
        return self.initial_precision

    @cached_property
    def access(self) -> Access:
        """How this worker shows who it is."""
        return Access(*(Path(given) if given else None for given in (self.certs, self.token_file)))


def _new_worker_id() -> str:
    own = f"-{os.getpid()}-{os.urandom(2).hex()}"
    return name_of(socket.gethostname(), MAX_NAME - len(own)) + own

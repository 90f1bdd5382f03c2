"""Pushes that were cut on their way, kept so that they can resume where they stopped."""

from dataclasses import dataclass

from gradwire_common.errors import UnavailableError
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_server.intake.staging import Staging

Key = tuple[int, int, bool]  # kind, round, with buffers


@dataclass
class Partial:
    """A push as far as it has arrived.

    Attributes:
        spent: bytes on the wire that it took so far, its beginnings included.
    """

    key: Key
    staging: Staging
    spent: int = 0


class Partials:
    """The pushes that were cut: the newest of each worker, and the newest of all where they are too long together.

    Attributes:
        capacity: bytes of frames in all.
    """

    def __init__(self, capacity: int = 0):
        self.capacity = capacity
        self._of: dict[str, Partial] = {}  # oldest first

    @property
    def n_bytes(self) -> int:
        """Bytes of frames that are held."""
        return sum(partial.staging.length for partial in self._of.values())

    def begin(self, worker: str, header: pb.PushHeader, fresh: Staging) -> Partial:
        """Return the push that `header` begins or resumes; it is held no more.

        Raises:
            UnavailableError: it resumes at another byte than what is held ends at.
        """
        partial = self._of.pop(worker, None)
        if header.offset == 0:
            return Partial(key_of(header), fresh)
        length = partial.staging.length if partial is not None and partial.key == key_of(header) else 0
        if partial is None or header.offset != length:
            raise UnavailableError(
                f"push for round {header.round}: got one that continues at byte {header.offset}, want {length}"
            )
        partial.staging.chunk_bytes = fresh.chunk_bytes
        return partial

    def keep(self, worker: str, partial: Partial) -> None:
        """Hold a push that was cut, for its worker to resume."""
        self._of.pop(worker, None)
        self._of[worker] = partial
        while self.n_bytes > self.capacity:
            del self._of[next(iter(self._of))]

    def staged(self, worker: str, key: Key) -> Staging | None:
        """Return what is held of a push; None for nothing."""
        partial = self._of.get(worker)
        return partial.staging if partial is not None and partial.key == key else None

    def drop(self, worker: str) -> None:
        """Forget what is held of a worker's push."""
        self._of.pop(worker, None)

    def drop_closed(self, version: int) -> None:
        """Forget pushes for rounds that made versions up to `version`."""
        self._of = {worker: partial for worker, partial in self._of.items() if partial.key[1] > version}


def key_of(message: pb.PushHeader | pb.StagedRequest) -> Key:
    """Return what a push is known by beside its worker."""
    return message.kind, message.round, message.with_buffers

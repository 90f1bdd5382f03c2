"""What the collector tells of, in this order for every round: opened, published, committed; at last, ended."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gradwire_common.errors import GradwireError
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_server.aggregation.rule import Treatment
from gradwire_server.versions.broadcast import Update


@dataclass(frozen=True, slots=True)
class Opened:
    """Pushes for a round count from now on: the version before it is there."""

    round: int


@dataclass(frozen=True, slots=True)
class Published:
    """The end of a round is on the disk, and its version is being made: frames come in as they are made."""

    update: Update


@dataclass(frozen=True, slots=True)
class TakenBack:
    """Something of a version that was published could not be made. `Ended` follows."""

    update: Update


@dataclass(frozen=True, slots=True)
class Dropped:
    """The mean of a round's pushes is not finite, so they count as zero. `Committed` follows.

    Attributes:
        workers: whose pushes they were.
        reason: names the tensor.
    """

    round: int
    workers: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Committed:
    """All of a version is made, and its round is over.

    Attributes:
        digest: CRC-32 of the replica at that version.
        slots: whose pushes it is made of.
        record: record of the round, the bytes on the wire excepted.
        treated: workers whose pushes the aggregation clipped, or found far out.
    """

    update: Update
    digest: int
    record: pb.RoundRecord
    slots: tuple[int, ...]
    treated: Mapping[str, Treatment] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ended:
    """There are no further versions.

    Attributes:
        failure: what made them impossible; None where the run has all its versions.
    """

    reason: str
    failure: GradwireError | None = None


Event = Opened | Published | TakenBack | Dropped | Committed | Ended

"""What an update says of itself before its frames."""

from dataclasses import dataclass
from enum import StrEnum

from gradwire_common.step_options import Groups


class UpdateKind(StrEnum):
    """What the frames of an update hold."""

    SNAPSHOT = "snapshot"  # all tensors
    CHANGE = "change"  # what to add to the parameters
    WEIGHTS = "weights"  # the parameters themselves


@dataclass(frozen=True, slots=True)
class Heading:
    """What is known of an update before its frames come.

    Attributes:
        with_buffers: whether the averaged buffers follow the parameters; a snapshot holds everything anyway.
        options: of the parameter groups that are not as the run began.
        left_out: of a snapshot, the units that are held already, as `held.pack_marks` has them.
    """

    version: int
    kind: UpdateKind
    with_buffers: bool
    options: Groups = ()
    left_out: bytes = b""

"""What a rule adds: a whole push, every frame of which decodes."""

from collections.abc import Sequence
from dataclasses import dataclass

from gradwire_common.codec.frames import check_frame
from gradwire_common.errors import BitstreamError
from gradwire_common.layout.manifest import Unit
from gradwire_common.methods.update import split_frames


@dataclass(frozen=True, slots=True)
class Push:
    """A whole push, every frame of which decodes to finite numbers.

    Attributes:
        data: the frames, one a unit, one after the other; nobody writes to them any more.
        samples: weight in the round's mean.
        with_buffers: whether the frames of the buffers follow those of the parameters.
        digest: digest of `data`.
    """

    data: memoryview
    samples: int
    with_buffers: bool
    digest: int = 0


def check_frames(data: memoryview, units: Sequence[Unit]) -> None:
    """Decode every frame once, a piece at a time, so that nothing of a damaged push ever counts.

    Raises:
        BitstreamError: a frame is damaged or holds a NaN or infinity; names the tensor.
    """
    for unit, frame in zip(units, split_frames(data, units), strict=True):
        try:
            check_frame(frame)
        except BitstreamError as error:
            raise type(error)(f"frame of {unit}: {error}") from error

"""What a rule adds: a whole push, every frame of which decodes."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Push:
    """A whole push, every frame of which decodes to finite numbers.

    Attributes:
        data: the frames, one a unit, one after the other; read only.
        samples: weight in the round's mean.
        with_buffers: whether the frames of the buffers follow those of the parameters.
        digest: digest of `data`.
        scale: what clipping multiplies the parameters' entries by; 1 where it leaves them alone.
    """

    data: memoryview
    samples: int
    with_buffers: bool
    digest: int = 0
    scale: float = 1.0

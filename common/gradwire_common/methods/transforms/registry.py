"""Transforms by name."""

from gradwire_common.errors import UsageError
from gradwire_common.methods.transforms.identity import Identity
from gradwire_common.methods.transforms.kernel_dct import KernelDct
from gradwire_common.methods.transforms.transform import Transform

TRANSFORMS: dict[str, Transform] = {"none": Identity(), "dct": KernelDct()}


def build_transform(name: str) -> Transform:
    """Return the transform called `name`, one of TRANSFORMS.

    Raises:
        UsageError: Unknown name.
    """
    if name not in TRANSFORMS:
        raise UsageError(f"transform is {name!r}, want one of {', '.join(TRANSFORMS)}")
    return TRANSFORMS[name]

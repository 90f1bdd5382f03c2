"""The names of formats, which settings check: without NumPy, since settings load neither it nor kernels.

`codec/formats/registry.py` holds the list against the formats when it is imported.
"""

_names = ["uniform", "float8-1-5-2", "float8-1-4-3", "float4-1-2-1", "bfloat16", "lossless"]


def format_names() -> tuple[str, ...]:
    """Return the names of all formats, those that were registered from outside last."""
    return tuple(_names)


def add_name(name: str) -> None:
    """Make a name known."""
    if name not in _names:
        _names.append(name)

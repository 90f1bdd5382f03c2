"""The tensors in a unit."""

from gradwire_common.layout.manifest import TensorSpec, Unit


def tensors_of(unit: Unit) -> list[tuple[TensorSpec, slice]]:
    """Return the tensors of a unit that have entries, each with its place in the unit."""
    found, start = [], 0
    for spec in unit.tensors:
        if spec.size:
            found.append((spec, slice(start, start + spec.size)))
        start += spec.size
    return found

"""The tensors in a unit."""

from gradwire_common.layout.manifest import Layout, TensorSpec, Unit


def tensors_of(unit: Unit) -> list[tuple[TensorSpec, slice]]:
    """Return the tensors of a unit that have entries, each with its place in the unit."""
    found, start = [], 0
    for spec in unit.tensors:
        if spec.size:
            found.append((spec, slice(start, start + spec.size)))
        start += spec.size
    return found


def n_tensors_of(layout: Layout) -> int:
    """Return how many tensors of parameters have entries."""
    return sum(len(tensors_of(unit)) for unit in layout.parameters)

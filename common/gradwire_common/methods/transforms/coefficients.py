"""The transform's place in an update: every parameter tensor of a flat vector to its coefficients, and back.

It is linear and orthonormal, so workers' coefficients are added up and the sum is taken back once.
"""

from gradwire_common.layout.manifest import Layout, TensorSpec
from gradwire_common.methods.method import F32
from gradwire_common.methods.transforms.registry import build_transform
from gradwire_common.methods.transforms.transform import Transform


def to_coefficients(values: F32, layout: Layout, transform: str) -> None:
    """Replace the parameters' entries in `values`, (n_parameters,) or longer, by their coefficients."""
    chosen = build_transform(transform)
    for spec, place in _changed(layout, chosen):
        values[place] = chosen.forward(values[place].reshape(spec.shape)).reshape(-1)


def from_coefficients(values: F32, layout: Layout, transform: str) -> None:
    """Replace the parameters' coefficients in `values`, (n_parameters,) or longer, by their entries."""
    chosen = build_transform(transform)
    for spec, place in _changed(layout, chosen):
        values[place] = chosen.inverse(values[place].reshape(spec.shape)).reshape(-1)


def _changed(layout: Layout, transform: Transform) -> list[tuple[TensorSpec, slice]]:
    specs = [spec for unit in layout.parameters for spec in unit.tensors]
    return [(spec, layout.slots[spec.name]) for spec in specs if transform.changes(spec.shape)]

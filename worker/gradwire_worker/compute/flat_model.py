"""A torch model as one flat float32 vector: which tensors it has, how they are read, how they are loaded.

model -> manifest (names, shapes, roles) -> layout (places) -> flat vector, and back.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import nn

from gradwire_common.errors import ModelMismatchError, UsageError
from gradwire_common.layout.manifest import Manifest, Role, TensorSpec, Unit
from gradwire_common.methods.method import MAX_ENTRY
from gradwire_common.methods.update import check_finite
from gradwire_worker.compute.compute import F32, Compute
from gradwire_worker.compute.cpu import CpuCompute
from gradwire_worker.compute.groups import Group, group_of_parameters, numeric_options
from gradwire_worker.compute.staged import StagedCompute
from gradwire_worker.compute.tensors import tensors_of

LARGEST_INTEGER = 2**24  # float32 holds every integer up to this one; buffers of integers travel as float32


def manifest_of(model: nn.Module, groups: Sequence[Group] | None = None) -> Manifest:
    """Return the names, shapes and roles of a model's tensors.

    Names are those of the model without wrappers such as DistributedDataParallel. A shared parameter appears once,
    under its first name, and so do several parameters in the same memory. A parameter that needs no gradient, or that
    `groups` leave out, is frozen. Buffers that are not persistent stay the worker's own and do not appear.

    Args:
        model: any module whose parameters and persistent buffers are real numbers.
        groups: optimizer parameter groups; None for one group of all parameters.

    Raises:
        ModelMismatchError: if a tensor cannot travel, nothing is trainable, or the groups are not of this model.
    """
    tensors = tensors_of(model)
    group_of = group_of_parameters(tensors, groups)
    specs = []
    for name, tied in tensors.parameters.items():
        trained = name in group_of and any(parameter.requires_grad for parameter in tied.values())
        role = Role.PARAMETER if trained else Role.FROZEN
        specs.append(_spec(name, tied[name], role, group_of.get(name, 0)))
    specs += [_spec(name, place.buffer, Role.BUFFER, 0) for name, place in tensors.buffers.items()]
    options = tuple(numeric_options(group, index) for index, group in enumerate(groups or [{}]))
    return Manifest(tuple(specs), options)


class FlatModel:
    """The tensors of a model as parts of one flat float32 vector in layout order.

    Parameters are remembered as objects, so that `model.to(device)` may come later; buffers are looked up each time,
    since modules may put new tensors in their place.
    """

    def __init__(self, model: nn.Module, manifest: Manifest):
        tensors = tensors_of(model)
        layout = manifest.layout
        self.model = model
        self.layout = layout
        self._by_role = {role: [spec for spec in layout.order if spec.role is role] for role in Role}
        self._parameters = tensors.parameters
        self._buffers = tensors.buffers
        self._never_trained = {
            name: parameter
            for tied in tensors.parameters.values()
            for name, parameter in tied.items()
            if not parameter.requires_grad
        }
        self._computes: dict[torch.device, Compute] = {}

    @property
    def device(self) -> torch.device:
        """Where the first trained parameter lives now."""
        name = self._by_role[Role.PARAMETER][0].name
        return self._parameters[name][name].device

    @property
    def compute(self) -> Compute:
        """What moves numbers to and from that device."""
        device = self.device
        if device not in self._computes:
            on_host = device.type == "cpu"
            self._computes[device] = CpuCompute() if on_host else StagedCompute(device, self.layout.n_parameters)
        return self._computes[device]

    def gradients(self) -> Iterator[tuple[str, torch.Tensor | None]]:
        """Yield every trained parameter's name and gradient, a sparse one with all its entries.

        Parameters in the same memory have one gradient, the sum of theirs, as those that are one object have.
        """
        for spec in self._by_role[Role.PARAMETER]:
            yield spec.name, _sum([parameter.grad for parameter in self._parameters[spec.name].values()])

    def check_frozen(self) -> None:
        """Raise UsageError if a parameter that was frozen when the run was joined has a gradient now."""
        for name, parameter in self._never_trained.items():
            if parameter.grad is not None:
                raise UsageError(
                    f"{name}: got a gradient, but it was frozen (requires_grad=False) when the run was joined, "
                    "want the parameters that are trained to stay the same"
                )

    def read_gradients(self, out: F32) -> None:
        """Write every gradient to its place in `out`, (n_parameters,) or longer; a gradient that is None is zero.

        Raises:
            UsageError: if a parameter that was frozen when the run was joined has a gradient now.
        """
        self.check_frozen()
        specs = self._by_role[Role.PARAMETER]
        self._read([gradient for _, gradient in self.gradients()], specs, out[: self.layout.n_parameters])

    def read_unit(self, unit: Unit, gradients: Sequence[Sequence[torch.Tensor | None]], out: F32) -> None:
        """Write the gradients of one unit's tensors to their place in `out`, (n_parameters,) or longer.

        Args:
            unit: of parameters.
            gradients: for each of its tensors those of all parameters `in_memory_of` it.
            out: what is written.
        """
        self._read([_sum(each) for each in gradients], unit.tensors, out[unit.place])

    def in_memory_of(self, name: str) -> Mapping[str, nn.Parameter]:
        """Return the parameters in the memory of the one called `name`, by name; itself first."""
        return self._parameters[name]

    def read_parameters(self, out: F32) -> None:
        """Write every trained parameter to its place in `out`, (n_parameters,) or longer."""
        specs = self._by_role[Role.PARAMETER]
        self._read([self._tensor(spec) for spec in specs], specs, out[: self.layout.n_parameters])

    def read_buffers(self, out: F32) -> None:
        """Write every buffer to its place in `out`, (n_parameters + n_buffers,) or longer.

        Raises:
            NonFiniteError: if one is not finite, and so has no mean; names it.
            ModelMismatchError: if one holds integers that float32 does not hold exactly.
        """
        start, stop = self.layout.n_parameters, self.layout.n_parameters + self.layout.n_buffers
        specs = self._by_role[Role.BUFFER]
        buffers = [self._tensor(spec) for spec in specs]
        for spec, buffer in zip(specs, buffers, strict=True):
            _check_integers(spec, buffer)
        self._read(list(buffers), specs, out[start:stop])
        for unit in self.layout.buffers:
            check_finite(out, unit)

    def read_weights(self) -> F32:
        """Return all tensors, (size,), new.

        Raises:
            NonFiniteError: if one is not finite; names it.
            RangeError: if one that is trained holds larger numbers than can be pushed; names it.
            ModelMismatchError: if one holds integers that float32 does not hold exactly.
        """
        out = np.zeros(self.layout.size, np.float32)
        self._read([self._tensor(spec) for spec in self.layout.order], self.layout.order, out)
        for spec in self.layout.order:
            _check_integers(spec, self._tensor(spec))
        for unit in self.layout.units:
            check_finite(out, unit, MAX_ENTRY if unit.role is Role.PARAMETER else math.inf)
        return out

    def load(self, values: F32, roles: Iterable[Role] = tuple(Role)) -> None:
        """Set the tensors of `roles` to their places in `values`, (size,); integers are rounded to the nearest."""
        specs = [spec for role in roles for spec in self._by_role[role]]
        if not specs:
            return
        start = self.layout.slots[specs[0].name].start
        stop = self.layout.slots[specs[-1].name].stop
        flat = self.compute.on_device(values[start:stop])
        with torch.no_grad():
            for spec in specs:
                slot = self.layout.slots[spec.name]
                tensor = self._tensor(spec)
                part = flat[slot.start - start : slot.stop - start].view(spec.shape)
                tensor.copy_(part if tensor.is_floating_point() else part.round())

    def _tensor(self, spec: TensorSpec) -> torch.Tensor:
        if spec.role is Role.BUFFER:
            return self._buffers[spec.name].buffer
        return self._parameters[spec.name][spec.name].detach()

    def _read(self, tensors: Sequence[torch.Tensor | None], specs: Sequence[TensorSpec], out: F32) -> None:
        """Gather `tensors` on their device and copy them to `out` at once."""
        if specs:
            self.compute.gather(tensors, [spec.size for spec in specs], out)


def _spec(name: str, tensor: torch.Tensor, role: Role, group: int) -> TensorSpec:
    return TensorSpec(name, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."), role, group)


def _sum(gradients: Sequence[torch.Tensor | None]) -> torch.Tensor | None:
    """Return the sum of the gradients that there are, with all entries, those of sparse ones included."""
    dense = [gradient.to_dense() if gradient.is_sparse else gradient for gradient in gradients if gradient is not None]
    return sum(dense[1:], start=dense[0]) if dense else None


def _check_integers(spec: TensorSpec, tensor: torch.Tensor) -> None:
    if tensor.is_floating_point() or tensor.dtype is torch.bool or not tensor.numel():
        return
    largest = int(tensor.abs().max())
    if largest > LARGEST_INTEGER:
        raise ModelMismatchError(
            f"{spec.name}: holds the integer {largest}, want at most {LARGEST_INTEGER}, which float32 holds exactly; "
            "a buffer with persistent=False stays the worker's own"
        )

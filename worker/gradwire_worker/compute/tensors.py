"""Which tensors of a model take part in a run: its parameters, each memory once, and its persistent buffers."""

from dataclasses import dataclass

import torch
from torch import nn

from gradwire_common.errors import ModelMismatchError
from gradwire_worker.compute.memory import check_tensor, first_of_same_memory
from gradwire_worker.compute.modules import ModuleKey, buffers_of, parameters_of


@dataclass(frozen=True, slots=True)
class ModelTensors:
    """The tensors of a model that take part in a run.

    Attributes:
        parameters: by the first name of each; all objects that share its memory, by their own first names. Most have
            one, also where several modules share it.
        buffers: the persistent ones, by name.
    """

    parameters: dict[str, dict[str, nn.Parameter]]
    buffers: dict[str, ModuleKey]


def tensors_of(model: nn.Module) -> ModelTensors:
    """Return the tensors of a model, once it is sure that all can be read and written on their own.

    Raises:
        ModelMismatchError: one cannot, or overlaps another in memory; names it.
    """
    objects: dict[str, nn.Parameter] = {}
    seen: set[int] = set()
    for place, parameter in parameters_of(model):
        if id(parameter) not in seen:
            objects[place.name] = parameter
        seen.add(id(parameter))
    held = buffers_of(model)
    tensors: dict[str, torch.Tensor] = {**objects, **{place.name: buffer for place, buffer in held}}
    for name, tensor in tensors.items():
        check_tensor(name, tensor)
    first = first_of_same_memory(tensors)
    for place, buffer in held:
        if first[place.name] in objects:
            raise ModelMismatchError(
                f"{place.name}: got a buffer of shape {list(buffer.shape)} in the memory of parameter "
                f"{first[place.name]}, which training changes, want memory of its own (.clone()) or persistent=False"
            )
    parameters: dict[str, dict[str, nn.Parameter]] = {}
    for name, parameter in objects.items():
        parameters.setdefault(first[name], {})[name] = parameter
    return ModelTensors(parameters, {place.name: place for place, _ in held})

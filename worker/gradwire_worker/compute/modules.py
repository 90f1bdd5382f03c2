"""The modules of a model, and where in them its tensors are held, by names that no wrapper adds to.

model -> modules, each once -> parameters and persistent buffers by name
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

# Wrapper classes, by name since most are slow to import, and where each holds the module that it wraps. A user's own
# module keeps its name, "module" included.
WRAPPERS = {
    "torch._dynamo.eval_frame.OptimizedModule": "_orig_mod",
    "torch.nn.parallel.data_parallel.DataParallel": "module",
    "torch.nn.parallel.distributed.DistributedDataParallel": "module",
    "torch.distributed.fsdp.fully_sharded_data_parallel.FullyShardedDataParallel": "_fsdp_wrapped_module",
    "torch.distributed.algorithms._checkpoint.checkpoint_wrapper.ActivationWrapper": "_checkpoint_wrapped_module",
}


@dataclass(frozen=True, slots=True)
class ModuleKey:
    """Where a module holds a parameter or a buffer.

    Attributes:
        name: as `named_parameters` and `named_buffers` of the model without its wrappers have it.
        module, key: the module, and what it calls the tensor.
    """

    name: str
    module: nn.Module
    key: str

    @property
    def buffer(self) -> torch.Tensor:
        """The buffer that is there now."""
        buffer: torch.Tensor = getattr(self.module, self.key)
        return buffer


def modules_of(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield every module once, before its children, and what the names of its tensors begin with."""
    return _modules_of("", model, set())


def parameters_of(model: nn.Module) -> list[tuple[ModuleKey, nn.Parameter]]:
    """Return all parameters in the order of `named_parameters`; one with several names once for each."""
    return [
        (ModuleKey(prefix + key, module, key), parameter)
        for prefix, module in modules_of(model)
        for key, parameter in module._parameters.items()
        if parameter is not None
    ]


def buffers_of(model: nn.Module) -> list[tuple[ModuleKey, torch.Tensor]]:
    """Return all persistent buffers in the order of `named_buffers`; one that two modules hold once for each."""
    return [
        (ModuleKey(prefix + key, module, key), getattr(module, key))
        for prefix, module in modules_of(model)
        for key in persistent_keys(module)
    ]


def persistent_keys(module: nn.Module) -> list[str]:
    """Return what a module calls its own persistent buffers."""
    others = getattr(module, "_non_persistent_buffers_set", ())  # scripted modules have none
    return [key for key, buffer in module._buffers.items() if buffer is not None and key not in others]


def _modules_of(prefix: str, module: nn.Module, seen: set[int]) -> Iterator[tuple[str, nn.Module]]:
    if id(module) in seen:
        return
    seen.add(id(module))
    yield prefix, module
    inner = _wrapped_key(module)
    for key, child in module._modules.items():
        if child is not None:
            yield from _modules_of(prefix if key == inner else f"{prefix}{key}.", child, seen)


def _wrapped_key(module: nn.Module) -> str | None:
    """Return where a wrapper holds the module that it wraps; None for a module that is no wrapper."""
    for kind in type(module).__mro__:
        key = WRAPPERS.get(f"{kind.__module__}.{kind.__qualname__}")
        if key is not None:
            return key
    return None

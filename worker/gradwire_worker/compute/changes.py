"""Whether a model is still what it was when the run was joined: asked at every step, about 1 us a tensor."""

from collections.abc import Mapping
from dataclasses import dataclass
from operator import is_
from typing import Any

import torch
from torch import nn

from gradwire_common.errors import UsageError
from gradwire_worker.compute.modules import buffers_of, modules_of, parameters_of, persistent_keys
from gradwire_worker.compute.tensors import tensors_of


class Changes:
    """Compares a model with what it was: names, shapes, dtypes, which parameters need a gradient or share memory.

    Parameters may move, to another device or by `.data`; buffers may be exchanged for others of the same shape and
    dtype; buffers that are not persistent and wrappers around modules may come and go.
    """

    def __init__(self, model: nn.Module):
        self._model = model
        self._before = _described(model)
        self._tied = _tied(model)
        self._glance = _Glance(model)

    def check(self) -> None:
        """Raise UsageError if the model has changed; names the first tensor, what it was and what it is."""
        if self._glance.holds():
            return
        changes = _differences(self._before, _described(self._model))
        changes = changes or _untied(self._tied, _tied(self._model))
        if changes:
            n_more = len(changes) - 1
            more = f" ({n_more} more {'tensor' if n_more == 1 else 'tensors'} changed)" if n_more else ""
            raise UsageError(
                f"{changes[0]}{more}, want the model that joined: what a run trains is settled then. Change values in "
                "place, or leave and join another run with the new model"
            )
        self._glance = _Glance(self._model)


@dataclass(frozen=True, slots=True)
class _Described:
    """What a tensor is; `parameter` is None for a buffer, which any other of its shape may replace."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    device_type: str
    parameter: nn.Parameter | None
    trained: bool

    @property
    def facts(self) -> tuple[Any, ...]:
        """Return what must stay."""
        return self.shape, self.dtype, self.parameter is None, self.trained, self.device_type == "meta"

    def __str__(self) -> str:
        kind = "a buffer" if self.parameter is None else "trained" if self.trained else "frozen"
        where = " on device meta" if self.device_type == "meta" else ""
        return f"{list(self.shape)} {str(self.dtype).removeprefix('torch.')}, {kind}{where}"


class _Glance:
    """What can be compared quickly: the contents of every module, and where each parameter lies."""

    def __init__(self, model: nn.Module):
        modules = [module for _, module in modules_of(model)]
        self._children = [(module, [*module._modules.values()]) for module in modules]
        self._held = [(module, [*module._parameters.values()]) for module in modules]
        self._keys = [(module, len(module._buffers), persistent_keys(module)) for module in modules]
        self._parameters = list({id(parameter): parameter for _, parameter in parameters_of(model)}.values())
        self._places = _places(self._parameters)
        self._buffers = self._buffers_now()

    def holds(self) -> bool:
        """Whether all is as it was."""
        for module, children in self._children:
            if not _same(module._modules, children):
                return False
        for module, parameters in self._held:
            if not _same(module._parameters, parameters):
                return False
        for module, n_buffers, keys in self._keys:
            if len(module._buffers) != n_buffers or (n_buffers and persistent_keys(module) != keys):
                return False
        return _places(self._parameters) == self._places and self._buffers_now() == self._buffers

    def _buffers_now(self) -> list[tuple[Any, ...]]:
        buffers = [module._buffers[key] for module, _, keys in self._keys for key in keys]
        return [(buffer.shape, buffer.dtype, buffer.stride()) for buffer in buffers if buffer is not None]


def _same(now: Mapping[str, Any], before: list[Any]) -> bool:
    return len(now) == len(before) and (not before or all(map(is_, now.values(), before)))


def _places(parameters: list[nn.Parameter]) -> list[tuple[Any, ...]]:
    return [(p.shape, p.dtype, p.requires_grad, p.data_ptr(), p.stride()) for p in parameters]


def _described(model: nn.Module) -> dict[str, _Described]:
    described = {
        place.name: _Described(tuple(p.shape), p.dtype, p.device.type, p, p.requires_grad)
        for place, p in parameters_of(model)
    }
    for place, buffer in buffers_of(model):
        described[place.name] = _Described(tuple(buffer.shape), buffer.dtype, buffer.device.type, None, False)
    return described


def _differences(before: Mapping[str, _Described], now: Mapping[str, _Described]) -> list[str]:
    """Say what changed, one line a tensor."""
    lines = []
    for name, was in before.items():
        got = now.get(name)
        if got is None:
            lines.append(f"{name}: was {was} when the run was joined, is no longer in the model")
        elif got.facts != was.facts:
            lines.append(f"{name}: was {was} when the run was joined, is {got} now")
        elif got.parameter is not was.parameter:
            lines.append(f"{name}: was {was} when the run was joined, is another parameter now, {got}")
    added = [name for name in now if name not in before]
    return lines + [f"{name}: was not in the model when the run was joined, is {now[name]} now" for name in added]


def _tied(model: nn.Module) -> dict[str, str]:
    """Return for each parameter object the name that stands for its memory."""
    return {name: first for first, tied in tensors_of(model).parameters.items() for name in tied}


def _untied(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    lines = []
    for name, first in now.items():
        if first != before[name]:
            lines.append(
                f"{name}: was in the memory of {before[name]} when the run was joined, is in that of {first} now"
            )
    return lines

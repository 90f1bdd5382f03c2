"""Parameter groups, as torch.optim takes them: which parameters are in which, and their options as numbers."""

import reprlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from gradwire_common.errors import ModelMismatchError, UsageError
from gradwire_common.step_options import flatten
from gradwire_worker.compute.tensors import ModelTensors, tensors_of

Group = Mapping[str, Any]  # {"params": parameters, option: value, ...}


def complete_groups(model: nn.Module, groups: Sequence[Group] | None) -> list[dict[str, Any]]:
    """Return the groups, each with all parameters that share the memory of those that it has.

    Args:
        model: whose parameters they are.
        groups: None for one group of all parameters that need a gradient.

    Raises:
        ModelMismatchError: a group's parameter is none of the model, or in two groups.
        UsageError: `model` is no module, or `groups` are not groups of parameters.
    """
    if not isinstance(model, nn.Module):
        raise UsageError(
            f"model: got {type(model).__name__}, want the torch.nn.Module itself, whose names and buffers matter"
        )
    tensors = tensors_of(model)
    if groups is None:
        return [{"params": [p for tied in tensors.parameters.values() for p in tied.values() if p.requires_grad]}]
    complete = _as_dicts(groups)
    group_of = group_of_parameters(tensors, complete)
    for name, tied in tensors.parameters.items():
        if name in group_of:
            params = complete[group_of[name]]["params"]
            known = {id(parameter) for parameter in params}
            params += [parameter for parameter in tied.values() if id(parameter) not in known]
    return complete


def _as_dicts(groups: object) -> list[dict[str, Any]]:
    """Return the groups as dicts with lists of parameters, from all forms that torch.optim takes."""
    want = "want a list of dicts with 'params', as torch.optim takes it"
    if isinstance(groups, Mapping | torch.Tensor | str) or not isinstance(groups, Iterable):
        raise UsageError(f"param_groups: got {type(groups).__name__}, {want}")
    given = list(groups)
    if given and all(isinstance(each, torch.Tensor) for each in given):
        given = [{"params": given}]
    dicts = []
    for index, group in enumerate(given):
        if not isinstance(group, Mapping) or "params" not in group:
            raise UsageError(f"param_groups[{index}]: got {reprlib.repr(group)}, {want}")
        params = group["params"]
        params = [params] if isinstance(params, torch.Tensor) else params
        params = list(params) if isinstance(params, Iterable) else [params]
        for parameter in params:
            if not isinstance(parameter, torch.Tensor):
                raise UsageError(f"param_groups[{index}]: params have {reprlib.repr(parameter)}, want parameters alone")
        dicts.append({**group, "params": params})
    return dicts


def group_of_parameters(tensors: ModelTensors, groups: Sequence[Group] | None) -> dict[str, int]:
    """Return the index of the group of each parameter, by its first name; those in no group are missing.

    Raises:
        ModelMismatchError: a group's parameter is none of the model, or in two groups.
    """
    if groups is None:
        return dict.fromkeys(tensors.parameters, 0)
    first = {id(parameter): name for name, tied in tensors.parameters.items() for parameter in tied.values()}
    group_of: dict[str, int] = {}
    seen: set[int] = set()
    for index, group in enumerate(groups):
        for parameter in group["params"]:
            what = f"param_groups[{index}]: got a tensor of shape {list(parameter.shape)} that is"
            if id(parameter) not in first:
                raise ModelMismatchError(f"{what} no parameter of the model, want the model's own")
            name = first[id(parameter)]
            if id(parameter) in seen or group_of.get(name, index) != index:
                raise ModelMismatchError(f"{what} in group {group_of[name]} already, want each once")
            group_of[name] = index
            seen.add(id(parameter))
    return group_of


def numeric_options(group: Group, index: int) -> dict[str, float]:
    """Return the options of a group as numbers."""
    options: dict[str, float] = {}
    for name, value in group.items():
        if name == "params":
            continue
        flat = flatten({name: value})
        if not flat:
            raise UsageError(f"param_groups[{index}][{name!r}]: got {value!r}, want a number or a pair of them")
        options |= flat
    return options


class ParameterGroup(dict[str, Any]):
    """A parameter group that says where the options are that it lacks."""

    def __missing__(self, key: str) -> Any:
        raise UsageError(
            f"param_groups have no {key!r}: it is no option of what the server steps with (its settings optimizer, lr, "
            "schedule); with local steps the options are those of optimizer.local"
        )


def options_of(group: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a parameter group holds beside its parameters."""
    return {name: value for name, value in group.items() if name != "params"}


def check_unchanged(groups: Sequence[Group], before: Sequence[Mapping[str, Any]]) -> None:
    """Raise UsageError where the options of a group are not what they were at joining."""
    for index, (group, expected) in enumerate(zip(groups, before, strict=True)):
        now = options_of(group)
        if now != expected:
            raise UsageError(
                f"param_groups[{index}]: options changed from {expected} to {now} after joining, want the schedule "
                "to be the server's"
            )

"""The optimizer that a worker asks for: a class of torch.optim with options, or one that was made already."""

import gc
import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from gradwire_common.errors import UsageError
from gradwire_common.settings.by_name import check_options, make
from gradwire_common.step_options import IMPLEMENTATION, RATE, OptimizerChoice, flatten

WANT = "want a class of torch.optim, such as torch.optim.AdamW, or the name of an optimizer that the server has"


def choice_of(optimizer: object, options: Mapping[str, Any]) -> OptimizerChoice | None:
    """Return the choice that RemoteOptimizer's arguments make; None where they make none.

    Args:
        optimizer: a class of torch.optim, or a name; None for what the server has.
        options: its options.

    Raises:
        UsageError: it is neither, or takes no such options.
    """
    if optimizer is None:
        if options:
            name = next(iter(options))
            raise UsageError(f"RemoteOptimizer: got {name}={options[name]!r} without an optimizer, {WANT}")
        return None
    if isinstance(optimizer, OptimizerChoice):
        return optimizer
    if isinstance(optimizer, str):
        return OptimizerChoice(optimizer, dict(options))
    name = getattr(optimizer, "__name__", "")
    if not inspect.isclass(optimizer) or getattr(torch.optim, name, None) is not optimizer:
        raise UsageError(f"optimizer: got {optimizer!r}, {WANT}; code is never sent")
    check_options(f"optimizer {name}", optimizer, options)
    trial = make(f"optimizer {name}", optimizer, [torch.zeros(1, device="cpu")], options)
    return OptimizerChoice(name, _told(optimizer, trial.defaults))


def choice_of_made(optimizer: object) -> tuple[OptimizerChoice, list[dict[str, Any]]]:
    """Return the choice that an optimizer makes that exists, and its parameter groups with what each overrides.

    Raises:
        UsageError: it is none of torch.optim, or has taken steps.
    """
    kind = type(optimizer)
    if not isinstance(optimizer, torch.optim.Optimizer) or getattr(torch.optim, kind.__name__, None) is not kind:
        raise UsageError(f"wrap: got {kind.__name__}, want an optimizer of torch.optim itself")
    if optimizer.state:
        raise UsageError(
            f"wrap: got an {kind.__name__} that has taken steps, want a new one: the server's state begins empty"
        )
    told = _own(kind, optimizer.defaults)
    groups = []
    for group in optimizer.param_groups:
        own = {
            name: value
            for name, value in _own(kind, group).items()
            if value != told.get(name) and flatten({name: value})
        }
        groups.append({"params": group["params"], **own})
    return OptimizerChoice(kind.__name__, _told(kind, optimizer.defaults)), groups


def model_of(groups: list[dict[str, Any]]) -> nn.Module:
    """Return the module that has all parameters of `groups`: the outermost of those that hold each other.

    Raises:
        UsageError: there is none, or there are several that do not hold each other.
    """
    wanted = {id(parameter) for group in groups for parameter in group["params"]}
    modules = [each for each in gc.get_objects() if issubclass(type(each), nn.Module)]
    having = [each for each in modules if wanted <= {id(parameter) for parameter in each.parameters()}]
    outermost = [each for each in having if not any(_holds(other, each) for other in having if other is not each)]
    if len(outermost) != 1:
        names = ", ".join(sorted(type(each).__name__ for each in outermost)) or "none"
        raise UsageError(f"wrap: modules with all of these parameters: {names}; want one, or model=")
    found: nn.Module = outermost[0]
    return found


def _holds(module: nn.Module, other: nn.Module) -> bool:
    return any(each is other for each in module.modules())


def _own(kind: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that the class declares and that say what it computes; a rate that is a tensor as a number."""
    known = [name for name in inspect.signature(kind).parameters if name not in IMPLEMENTATION]
    own = {name: options[name] for name in known if name in options}
    if isinstance(own.get(RATE), torch.Tensor):
        own[RATE] = own[RATE].item()
    return own


def _told(kind: Any, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the server is told: the rate, and the options that are not torch's defaults."""
    declared = inspect.signature(kind).parameters
    return {
        name: value
        for name, value in _own(kind, defaults).items()
        if name == RATE or (value != declared[name].default and flatten({name: value}))
    }

"""The state_dict of a RemoteOptimizer, checked whole before any of it is taken."""

import reprlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from gradwire_common.errors import UsageError

F32 = npt.NDArray[np.float32]
State = Mapping[int, Mapping[str, Any]]  # by the parameter's number, what a torch optimizer holds of it


def load_state(state: object, memory: F32, local: torch.optim.Optimizer | None) -> None:
    """Take the residual and what the local optimizer holds from a state_dict; see `checked_state`.

    Args:
        state: what a user gives as the return value of `RemoteOptimizer.state_dict`.
        memory: (n_parameters,); gets the residual.
        local: the optimizer of local steps, which gets its state; None where there are none.

    Raises:
        UsageError: it is something else, or not finite; nothing has changed then.
    """
    residual, held = checked_state(state, memory.size, local)
    if local is not None:
        local.load_state_dict({**local.state_dict(), "state": held})
    memory[:] = residual


def checked_state(state: object, n_residual: int, local: torch.optim.Optimizer | None) -> tuple[F32, State]:
    """Return the residual, (n_residual,), and what the local optimizer holds of each parameter, from a state_dict.

    Args:
        state: what a user gives as the return value of `RemoteOptimizer.state_dict`.
        n_residual: entries of this model's residual.
        local: the optimizer of local steps; None where there are none.

    Raises:
        UsageError: it is something else, of another model or local optimizer, or not finite.
    """
    if not isinstance(state, Mapping):
        raise UsageError(f"state_dict: got {reprlib.repr(state)}, want what RemoteOptimizer.state_dict() returned")
    if "residual" not in state:
        raise UsageError(
            f"state_dict: got the keys {sorted(map(str, state))}, want 'residual' among them, as "
            "RemoteOptimizer.state_dict() has it"
        )
    residual = state["residual"]
    if not isinstance(residual, torch.Tensor) or not residual.is_floating_point() or residual.is_meta:
        raise UsageError(f"state_dict: residual is {_told(residual)}, want a tensor of float32")
    if list(residual.shape) != [n_residual]:
        raise UsageError(f"state_dict: residual has shape {list(residual.shape)}, want {[n_residual]}")
    values = residual.detach().to("cpu", torch.float32)
    _check_finite("residual", values)
    if (local is None) != ("local" not in state):
        raise UsageError(
            f"state_dict: got one {'with' if local is None else 'without'} the state of local steps, want one of an "
            f"optimizer {'without' if local is None else 'with'} them"
        )
    return values.numpy(), {} if local is None else _checked_local(state["local"], local)


def _checked_local(state: object, local: torch.optim.Optimizer) -> State:
    """Return what the state of a local optimizer holds of each parameter, if `local` can go on with it."""
    kind = type(local).__name__
    own = local.state_dict()["param_groups"]
    groups = state.get("param_groups") if isinstance(state, Mapping) else None
    if not isinstance(state, Mapping) or not isinstance(state.get("state"), Mapping) or not isinstance(groups, list):
        raise UsageError(f"state_dict: local is {reprlib.repr(state)}, want the state_dict of {kind}")
    got, want = ([_outline(group) for group in each] for each in (groups, own))
    if got != want:
        raise UsageError(
            f"state_dict: local has parameter groups {reprlib.repr(got)}, want {reprlib.repr(want)} as this run's "
            f"{kind} has"
        )
    parameters = [parameter for group in local.param_groups for parameter in group["params"]]
    for index, held in state["state"].items():
        if not isinstance(index, int) or not 0 <= index < len(parameters) or not isinstance(held, Mapping):
            raise UsageError(
                f"state_dict: local has state for {reprlib.repr(index)}, want the numbers of {len(parameters)} "
                "parameters and a dict for each"
            )
        for name, value in held.items():
            _check_value(f"local {index}.{name}", value, parameters[index])
    checked: State = state["state"]
    return checked


def _outline(group: object) -> tuple[int, list[str]]:
    """Return how many parameters a group has, and the names of its options, which tell optimizers apart."""
    if not isinstance(group, Mapping) or not isinstance(group.get("params"), list):
        return 0, []
    return len(group["params"]), sorted(name for name in map(str, group) if name not in ("params", "initial_lr"))


def _check_value(name: str, value: object, parameter: torch.Tensor) -> None:
    """Raise UsageError unless a value fits a parameter: a number, or a tensor that broadcasts to its shape."""
    if not isinstance(value, torch.Tensor):
        return
    try:
        fits = np.broadcast_shapes(value.shape, parameter.shape) == parameter.shape
    except ValueError:
        fits = False
    if not fits and value.numel() != 1:
        got, want = list(value.shape), list(parameter.shape)
        raise UsageError(f"state_dict: {name} has shape {got}, want that of its parameter, {want}")
    _check_finite(name, value)


def _check_finite(name: str, values: torch.Tensor) -> None:
    finite = torch.isfinite(values)
    if not bool(finite.all()):
        n_bad = int(values.numel() - finite.sum())
        raise UsageError(f"state_dict: {name} has {n_bad} entries that are not finite, want numbers")


def _told(value: object) -> str:
    if isinstance(value, torch.Tensor):
        return f"a tensor of {value.dtype} on {value.device}"
    return reprlib.repr(value)

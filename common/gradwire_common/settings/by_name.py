"""Classes of a library by name, with options that are checked against what they declare: optimizers and schedules.

Torch's classes come in as arguments, so that this serves the server and the workers and needs no torch itself.
"""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from gradwire_common.errors import ConfigError

NO_SCHEDULE = "none"
_SUBJECTS = ("self", "params", "optimizer", "layout", "method")  # what is made of the options is given these
FILLED_WITH_LENGTH = {  # options of a schedule that are the number of its steps where they are not given
    "OneCycleLR": ("total_steps",),
    "CosineAnnealingLR": ("T_max",),
    "PolynomialLR": ("total_iters",),
}


def subclasses(module: Any, base: type) -> dict[str, Any]:
    """Return the public classes of `module` that are made of `base`, by name."""
    return {
        name: kind
        for name, kind in vars(module).items()
        if inspect.isclass(kind) and issubclass(kind, base) and kind is not base and not name.startswith("_")
    }


def plain_schedules(module: Any) -> dict[str, Any]:
    """Return the schedules of torch.optim.lr_scheduler by name, but for those made of objects or functions."""
    return {
        name: kind
        for name, kind in subclasses(module, module.LRScheduler).items()
        if not {"schedulers", "lr_lambda"} & set(inspect.signature(kind).parameters)
    }


def find(what: str, name: str, available: Mapping[str, Any]) -> Any:
    """Return the class called `name`. Raises ConfigError, listing the names, where there is none."""
    if name not in available:
        raise ConfigError(f"{what}: got {name!r}, want one of {', '.join(sorted(available))}")
    return available[name]


def check_options(what: str, kind: Any, options: Mapping[str, Any]) -> None:
    """Raise ConfigError for the first option that `kind` does not know."""
    known = [name for name in inspect.signature(kind).parameters if name not in _SUBJECTS]
    for name in options:
        if name not in known:
            want = f"one of {', '.join(known)}" if known else "none"
            raise ConfigError(f"{what}: unknown option {name!r}; want {want}")


def make(what: str, kind: Any, subject: Any, options: Mapping[str, Any]) -> Any:
    """Return kind(subject, **options). Raises ConfigError in the words of what `kind` raises."""
    try:
        return kind(subject, **options)
    except (TypeError, ValueError, RuntimeError, AssertionError, ArithmeticError, LookupError, AttributeError) as error:
        given = ", ".join(f"{name}={value!r}" for name, value in options.items())
        raise ConfigError(f"{what}({given}): {first_line(error)}") from error


def complete_schedule(
    name: str, kind: Any, options: Mapping[str, Any], rates: Sequence[float], length: int
) -> dict[str, Any]:
    """Return a schedule's options with those filled in that follow from the run.

    Args:
        name: of the schedule.
        kind: its class.
        options: what is given.
        rates: learning rate of each parameter group.
        length: steps of the schedule; 0 for a run without end.

    Raises:
        ConfigError: an option is unknown or missing.
    """
    what, filled = f"schedule {name}", dict(options)
    check_options(what, kind, options)
    if not {"epochs", "steps_per_epoch"} <= set(filled):
        for option in FILLED_WITH_LENGTH.get(name, ()):
            if length == 0 and option not in filled:
                raise ConfigError(
                    f"{what}: option {option!r} is missing, and a run without end has no rounds to fill in"
                )
            filled.setdefault(option, length)
    for option, parameter in inspect.signature(kind).parameters.items():
        if option == "max_lr":
            filled.setdefault(option, list(rates))
        if parameter.default is parameter.empty and option not in ("self", "optimizer", *filled):
            raise ConfigError(f"{what}: option {option!r} is missing")
    return filled


def first_line(error: Exception) -> str:
    """Return the first line of what `error` says, or its kind where it says nothing."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__

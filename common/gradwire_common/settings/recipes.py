"""Server optimizers by the names that federated learning has for them, and which one local steps take by default."""

from collections.abc import Mapping
from typing import Any

RECIPES: dict[str, dict[str, Any]] = {
    # McMahan, Moore, Ramage, Hampson, Aguera y Arcas 2017: the new weights are the mean of the workers'
    "FedAvg": {"optimizer": "SGD", "lr": 1.0, "optimizer_options": {}},
    # Reddi et al. 2021, "Adaptive federated optimization": beta 0.9 and 0.99, tau 1e-3, the rate tuned for CIFAR-10;
    # torch's Adam corrects its bias besides
    "FedAdam": {"optimizer": "Adam", "lr": 0.01, "optimizer_options": {"betas": [0.9, 0.99], "eps": 1e-3}},
    # Douillard et al. 2023: outer steps with Nesterov momentum
    "DiLoCo": {"optimizer": "SGD", "lr": 0.7, "optimizer_options": {"momentum": 0.9, "nesterov": True}},
}
FOR_LOCAL_STEPS = "FedAvg"
# with a delay, SGD is stable where rate times curvature is below 1 - momentum: 0.9 would leave a fifth of this
WITH_DELAY = {"momentum": 0.5}
ON = ("true", "1", "yes", "on", "y", "t")  # how pydantic reads a switch
OWN_DEFAULTS: dict[str, Any] = {"lr": None, "optimizer_options": {}}  # those that torch's optimizer itself has


def with_recipe(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return `given` settings with a recipe's name replaced by what it stands for; what is given beside it stays.

    The defaults of `lr` and `optimizer_options` are for SGD: another optimizer that is named has torch's own.

    With local steps and nothing said of the server's optimizer, it is FedAvg: a rate made for gradients is none for
    changes of the weights. With `pipeline` it has a delay of 1, and the default optimizer the momentum that bears it.
    """
    given = _with_pipeline(given)
    name = given.get("optimizer")
    if name is None and _steps(given) and not {"lr", "optimizer_options"} & set(given):
        name = FOR_LOCAL_STEPS
    if not isinstance(name, str) or name == "SGD":
        return dict(given)
    if name not in RECIPES:
        return {**OWN_DEFAULTS, **given}
    return {**RECIPES[name], **{key: value for key, value in given.items() if key != "optimizer"}}


def _with_pipeline(given: Mapping[str, Any]) -> Mapping[str, Any]:
    if str(given.get("pipeline", "")).lower() not in ON:
        return given
    calm = {} if {"optimizer", "optimizer_options"} & set(given) else {"optimizer_options": WITH_DELAY}
    return {"delay": 1, **calm, **given}


def _steps(given: Mapping[str, Any]) -> bool:
    """Whether there are local steps; what cannot be read is refused elsewhere."""
    try:
        return int(given.get("local_steps", 0)) > 0
    except (TypeError, ValueError, OverflowError):
        return False

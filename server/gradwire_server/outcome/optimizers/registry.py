"""The server's optimizers by name: those that were registered, and all of torch.optim."""

import numpy as np

from gradwire_common.errors import ConfigError
from gradwire_common.layout.manifest import Manifest, TensorSpec
from gradwire_common.registry import Registry
from gradwire_common.settings.by_name import first_line
from gradwire_server.outcome.optimizers.optimizer import F32, Optimizer, OptimizerFactory, OptimizerSettings
from gradwire_server.outcome.optimizers.torch import TorchOptimizer, optimizers

OPTIMIZERS: Registry[OptimizerFactory] = Registry("optimizer", dict.fromkeys(optimizers(), TorchOptimizer))


def make_optimizer(manifest: Manifest, weights: F32, settings: OptimizerSettings) -> Optimizer:
    """Return an optimizer that steps `weights`, (layout.size,) float32 in layout order.

    Raises:
        ConfigError: no such optimizer, schedule or option, or a value that it does not take.
    """
    return OPTIMIZERS.find(settings.optimizer)(manifest, weights, settings)


def check_optimizer(settings: OptimizerSettings) -> None:
    """Raise ConfigError unless `settings` make an optimizer that can step a matrix."""
    optimizer = make_optimizer(Manifest((TensorSpec("matrix", (2, 2)),)), np.ones(4, np.float32), settings)
    try:
        optimizer.step(np.ones(4, np.float32), 1.0)
    except Exception as error:
        raise ConfigError(
            f"optimizer {settings.optimizer}, schedule {settings.schedule}: cannot step on dense gradients without a "
            f"closure: {first_line(error)}"
        ) from error

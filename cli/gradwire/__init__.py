"""The public door of gradwire: `RemoteOptimizer` for a training loop of your own, `load_weights`, `Config`.

Nothing heavy is imported until it is asked for.
"""

from typing import TYPE_CHECKING, Any

from gradwire_common import __version__

if TYPE_CHECKING:
    from gradwire_common.settings.config import Config
    from gradwire_worker.checkpoint.weights_file import load_weights
    from gradwire_worker.remote_optimizer import RemoteOptimizer
    from gradwire_worker.sources.local_steps import LocalOptimizer

__all__ = ["Config", "LocalOptimizer", "RemoteOptimizer", "__version__", "load_weights"]


def __getattr__(name: str) -> Any:
    if name == "RemoteOptimizer":
        from gradwire_worker.remote_optimizer import RemoteOptimizer

        return RemoteOptimizer
    if name == "LocalOptimizer":
        from gradwire_worker.sources.local_steps import LocalOptimizer

        return LocalOptimizer
    if name == "load_weights":
        from gradwire_worker.checkpoint.weights_file import load_weights

        return load_weights
    if name == "Config":
        from gradwire_common.settings.config import Config

        return Config
    raise AttributeError(f"module 'gradwire' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__

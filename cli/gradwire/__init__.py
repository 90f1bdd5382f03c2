"""The public door of gradwire: `RemoteOptimizer` for a training loop of your own, and all that goes with it.

Nothing heavy is imported until it is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gradwire_common import __version__

if TYPE_CHECKING:
    from gradwire import errors
    from gradwire_common.codec.frames import decode_frame, encode_frame
    from gradwire_common.metrics import Metric
    from gradwire_common.settings.config import Config
    from gradwire_worker.checkpoint.weights_file import load_weights
    from gradwire_worker.coding import Coding
    from gradwire_worker.remote_optimizer import RemoteOptimizer
    from gradwire_worker.session import SessionOptions
    from gradwire_worker.session.asking import server_settings
    from gradwire_worker.shard_sampler import ShardSampler
    from gradwire_worker.sources.during_backward import DuringBackward
    from gradwire_worker.sources.in_step import InStep
    from gradwire_worker.sources.local_steps import LocalSteps
    from gradwire_worker.step_report import StepReport
    from gradwire_worker.tasks.shards import dirichlet_shards, iid_shards
    from gradwire_worker.tasks.task import Task

_MODULES = {
    "Coding": "gradwire_worker.coding",
    "Config": "gradwire_common.settings.config",
    "DuringBackward": "gradwire_worker.sources.during_backward",
    "InStep": "gradwire_worker.sources.in_step",
    "LocalSteps": "gradwire_worker.sources.local_steps",
    "Metric": "gradwire_common.metrics",
    "RemoteOptimizer": "gradwire_worker.remote_optimizer",
    "SessionOptions": "gradwire_worker.session",
    "ShardSampler": "gradwire_worker.shard_sampler",
    "StepReport": "gradwire_worker.step_report",
    "Task": "gradwire_worker.tasks.task",
    "decode_frame": "gradwire_common.codec.frames",
    "dirichlet_shards": "gradwire_worker.tasks.shards",
    "encode_frame": "gradwire_common.codec.frames",
    "iid_shards": "gradwire_worker.tasks.shards",
    "load_weights": "gradwire_worker.checkpoint.weights_file",
    "server_settings": "gradwire_worker.session.asking",
}  # where each public name is defined

__all__ = [
    "Coding",
    "Config",
    "DuringBackward",
    "InStep",
    "LocalSteps",
    "Metric",
    "RemoteOptimizer",
    "SessionOptions",
    "ShardSampler",
    "StepReport",
    "Task",
    "__version__",
    "decode_frame",
    "dirichlet_shards",
    "encode_frame",
    "errors",
    "iid_shards",
    "load_weights",
    "server_settings",
]


def __getattr__(name: str) -> Any:
    if name == "errors":
        return import_module("gradwire.errors")
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'gradwire' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__

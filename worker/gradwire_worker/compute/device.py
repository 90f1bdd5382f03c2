"""Where a worker computes, and with how many threads."""

import os

import torch

from gradwire_common.errors import ConfigError
from gradwire_common.settings.config import Config


def choose_device(name: str, process: int = 0) -> torch.device:
    """Return the device that `name` says: auto is a GPU where there is one, for each process of a node its own.

    Raises:
        ConfigError: if it is no device, or not there.
    """
    if name == "auto":
        if not torch.cuda.is_available():
            return torch.device("cpu")
        return torch.device("cuda", process % torch.cuda.device_count()) if process else torch.device("cuda")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda") or str(device) != name:  # torch keeps 8 bits of an index
        raise ConfigError(f"device: got {name!r}, want auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"device: got {name!r}, want one of the {torch.cuda.device_count()} CUDA devices, or cpu")
    return device


def settle_torch(config: Config, device: torch.device, sharers: int) -> None:
    """Fix the number of threads, so many processes sharing the cores, and ask for the same bits in every run."""
    cores = len(os.sched_getaffinity(0))
    torch.set_num_threads(config.threads or max(1, cores // sharers))
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True, warn_only=True)

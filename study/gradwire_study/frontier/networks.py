"""What is trained: networks by name, and what a worker's local steps are by default."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from gradwire_common.errors import ConfigError
from gradwire_common.settings.config import Config
from gradwire_worker.sources.local_steps import LocalSteps
from gradwire_worker.tasks import Task, load_task


class Local(BaseModel):
    """How a worker computes: batches, and the optimizer of its local steps.

    `precision` is that of matrix products in training, where bfloat16 halves the time on processors that have it;
    weights, updates and evaluations are float32 in any case.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    batch_size: int = Field(8, ge=1)
    optimizer: str = "AdamW"
    lr: float = Field(1e-3, gt=0)
    options: dict[str, Any] = Field(default_factory=dict)
    schedule: str = "none"
    schedule_options: dict[str, Any] = Field(default_factory=dict)
    clip_norm: float = Field(0.0, ge=0, description="largest norm of a gradient; 0 for none")
    precision: Literal["float32", "bfloat16"] = "float32"

    def steps(self, count: int) -> LocalSteps:
        """Return the source of real runs that takes `count` such steps."""
        return LocalSteps(count, self.optimizer, self.lr, self.options, self.schedule, self.schedule_options)


@dataclass(frozen=True, slots=True)
class Network:
    """A task of real runs, its model, and local steps that train it well.

    Attributes:
        needs_data: what the user has to give with --data; empty where nothing is needed.
    """

    task: str
    model: str
    local: Mapping[str, Any]
    needs_data: str = ""

    def load(self, data: Path | None) -> Task:
        """Return the task. Raises TaskError where its data cannot be used."""
        return load_task(Config(task=self.task, model=self.model, data=data if self.needs_data else None))


# Sarfi et al., "SparseLoCo", 2025: AdamW with these betas and decay, gradients of norm at most 1
_LANGUAGE: Mapping[str, Any] = {"lr": 1e-3, "options": {"betas": [0.9, 0.95], "weight_decay": 0.1}, "clip_norm": 1.0}

NETWORKS: Mapping[str, Network] = {
    "text-0.4m": Network("text", "text-0.4m", _LANGUAGE),
    "text-3m": Network("text", "text-3m", _LANGUAGE),
    "resnet20": Network(
        "cifar10",
        "resnet20",
        {
            "batch_size": 64,
            "optimizer": "SGD",
            "lr": 0.1,
            "options": {"momentum": 0.9, "nesterov": True, "weight_decay": 5e-4},
        },
        needs_data="CIFAR-10",
    ),
    "digits": Network("digits", "auto", {"batch_size": 16, "optimizer": "SGD", "lr": 0.05}),
}


def network_named(name: str) -> Network:
    """Return a network. Raises ConfigError where there is none of this name."""
    if name not in NETWORKS:
        raise ConfigError(f"network: got {name!r}, want one of {', '.join(NETWORKS)}")
    return NETWORKS[name]

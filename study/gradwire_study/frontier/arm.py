"""An arm of the study: one training, given by everything that its outcome depends on."""

import hashlib
import json
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gradwire_common.errors import ConfigError
from gradwire_common.methods.method import Method
from gradwire_common.methods.registry import build_method
from gradwire_common.settings.wrong_value import one_line
from gradwire_study.frontier.networks import Local, network_named

RAW = "raw"  # the method that sends float32
KEY_LENGTH = 16  # hexadecimal digits that tell arms apart
_LABELS = frozenset({"name", "recipe"})  # what no outcome depends on


class Outer(BaseModel):
    """The server's optimizer, as in the settings of a run; lr 1 without momentum is the workers' mean."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    optimizer: str = "SGD"
    lr: float = Field(1.0, gt=0)
    options: dict[str, Any] = Field(default_factory=dict)
    schedule: str = "none"
    schedule_options: dict[str, Any] = Field(default_factory=dict)


class Arm(BaseModel):
    """A training of one network by one method, on simulated workers.

    Attributes:
        name: what tables and plots call it.
        method, options: what pushes go through, as the settings `method` and `method_options`.
        bits_down: as the setting; None for the method's own.
        down_method, down_options: another method for what the server sends; "raw" for float32.
        push: what workers send: what their local steps changed, or the gradient of one batch.
        local: what differs from the network's own `Local`.
        split, alpha: as the settings `split` and `dirichlet_alpha`; "contiguous" gives each worker one part of a text,
            which differs from the others' in what it is about.
        stateless: whether workers keep nothing between exchanges: no residual memory, no state of their optimizer.
        exchanges: rounds.
        recipe: whether this is what gradwire does by default.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = Field(min_length=1)
    network: str
    method: str = "entropy"
    options: dict[str, Any] = Field(default_factory=dict)
    bits_down: float | None = None
    down_method: str | None = None
    down_options: dict[str, Any] = Field(default_factory=dict)
    aggregation: str = "mean"
    aggregation_options: dict[str, Any] = Field(default_factory=dict)
    outer: Outer = Outer()
    push: Literal["steps", "gradients"] = "steps"
    local: dict[str, Any] = Field(default_factory=dict)
    workers: int = Field(4, ge=1, le=64)
    local_steps: int = Field(8, ge=1)
    split: Literal["iid", "dirichlet", "contiguous"] = "iid"
    alpha: float = Field(0.5, gt=0)
    stateless: bool = False
    seed: int = Field(0, ge=0)
    exchanges: int = Field(60, ge=1)
    recipe: bool = False

    @classmethod
    def of(cls, values: dict[str, Any]) -> Self:
        """Return the arm of `values`, checked as far as can be without training.

        Raises:
            ConfigError: a value that cannot be, an unknown network, method or option; names the arm.
        """
        try:
            arm = cls.model_validate(values)
            arm.uplink, arm.downlink, arm.local_steps_of  # noqa: B018  built to be checked
            if arm.push == "gradients" and arm.local_steps != 1:
                raise ConfigError(f"local_steps: got {arm.local_steps} with gradients pushed, want 1")
        except (ConfigError, ValidationError) as error:
            told = one_line(error) if isinstance(error, ValidationError) else error
            raise ConfigError(f"arm {values.get('name', '')!r}: {told}") from None
        return arm

    @property
    def uplink(self) -> Method:
        """The method of pushes."""
        return build_method(self.method, self.options)

    @property
    def downlink(self) -> Method:
        """The method of what the server sends."""
        if self.down_method is not None:
            return build_method(self.down_method, self.down_options)
        return self.uplink.broadcast(self.bits_down)

    @property
    def local_steps_of(self) -> Local:
        """How a worker computes."""
        try:
            return Local.model_validate({**network_named(self.network).local, **self.local})
        except ValidationError as error:
            raise ConfigError(f"local: {one_line(error)}") from None

    @property
    def key(self) -> str:
        """Name of the outcome: the same for arms that train alike, whatever they are called."""
        told = json.dumps(self.model_dump(exclude=set(_LABELS)), sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()[:KEY_LENGTH]

    def reference(self) -> "Arm":
        """Return the same training with float32 exchanges: of steps their mean, of gradients the same outer step."""
        return Arm(
            name="float32",
            method=RAW,
            outer=self.outer if self.push == "gradients" else Outer(),
            **self.model_dump(
                include={
                    "network",
                    "push",
                    "local",
                    "workers",
                    "local_steps",
                    "split",
                    "alpha",
                    "stateless",
                    "seed",
                    "exchanges",
                }
            ),
        )

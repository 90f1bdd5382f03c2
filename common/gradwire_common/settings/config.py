"""Every setting of gradwire, in one model: from a TOML file, GRADWIRE_* variables and flags, the later winning."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from gradwire_common.errors import ConfigError
from gradwire_common.foreign_text import printable
from gradwire_common.methods.method import BITS_MAX, BITS_MIN, FLOAT32, Allocation, Method, QuantizerName, TransformName
from gradwire_common.settings.recipes import RECIPES, with_recipe
from gradwire_common.settings.sources import read_environment, read_file
from gradwire_common.settings.together import check_together
from gradwire_common.settings.types import (
    AUTO,
    FROM_INPUT,
    Bits,
    Deadline,
    Listen,
    LogLevel,
    Memory,
    Name,
    Options,
    OwnWindow,
    Quorum,
    Rate,
    Seconds,
    Server,
    Size,
)
from gradwire_common.units import (
    NO_LIMIT,
)

__all__ = ["AUTO", "FROM_INPUT", "Config"]

MAX_SHOWN = 100  # characters of a wrong value
MAX_WANT = 400  # characters of what is wanted in its place
AUTO_BITS_DOWN = 2.0  # bits per entry of the broadcast where the uplink's are auto and nothing else is said
MAX_WHOLE = 2**32 - 1  # of what travels in 32 bits
MAX_SEED = 2**63 - 1
_WANTED = {int: "a whole number", float: "a number", str: "a text", Path: "a path"}


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_boolean_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        kind = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and kind is not bool:
            kinds = [kind, *get_args(kind)]
            raise ValueError(next((_WANTED[each] for each in kinds if each in _WANTED), "a number or a text"))
        return value

    @field_validator("*", mode="after")
    @classmethod
    def _can_be_carried(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse numbers that do not fit where they go, and text that no file can have."""
        if isinstance(value, int):
            most = MAX_SEED if info.field_name == "seed" else MAX_WHOLE
            if value > most:
                raise ValueError(f"a whole number of at most {most}")
        if isinstance(value, str | Path) and ("\0" in str(value) or not _is_unicode(str(value))):
            raise ValueError("a text in Unicode without NUL")
        return value


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class RunSettings(_Section):
    """What the run is."""

    name: Name = Field("run", description="name of the run; its results go to RUNS/NAME")
    runs: Path = Field(Path("runs"), description="folder of the runs' results")
    seed: int = Field(0, ge=0, description="seed of initial weights, shards and batches")
    rounds: int = Field(200, ge=0, description="rounds to train; 0 for no end")
    workers: int = Field(2, ge=1, description="workers that the run starts with; the number of shards")
    evaluate_every: int = Field(10, ge=0, description="rounds between evaluations; 0 for none")
    log_level: LogLevel = Field("info", description="what the processes log")


class CodingSettings(_Section):
    """How updates are coded."""

    quantizer: QuantizerName = Field("uniform", description="quantiser of the gradients")
    bits: Bits = Field(
        2.0,
        description=f"bits per gradient entry, {BITS_MIN:g} to {BITS_MAX:g}, or auto: what the link allows (uniform)",
    )
    bits_down: Bits | None = Field(
        None,
        description="bits per entry of the broadcast, or auto: what the slowest worker is sent in the wanted seconds; "
        "--bits when not given, 2 where that is auto",
    )
    allocation: Allocation = Field("common", description="one step size for all tensors, or the same bits for each")
    gamma: float = Field(1.0, ge=0.0, le=1.0, description="decay of the residual memory; 0 switches it off")
    transform: TransformName = Field("none", description="orthonormal transform of the gradients before quantising")


class ServerSettings(_Section):
    """How the parameter server works."""

    listen: Listen = Field(
        "127.0.0.1:50051", description="HOST or HOST:PORT to serve on; port 0 takes a free one, 50051 when not given"
    )
    aggregation: str = Field("mean", description="how the pushes of a round become one update: mean")
    outcome: str = Field("step", description="what becomes of that update: step, of the server's optimizer")
    optimizer: str = Field(
        "SGD", description=f"any optimizer of torch.optim, by name, or a recipe: {', '.join(RECIPES)}"
    )
    lr: float = Field(0.1, gt=0, description="learning rate")
    optimizer_options: Options = Field({"momentum": 0.9}, description="the optimizer's other parameters, as JSON")
    schedule: str = Field("none", description="any scheduler of torch.optim.lr_scheduler, by name")
    schedule_options: Options = Field({}, description="the scheduler's parameters, as JSON")
    buffers_every: int = Field(10, ge=0, description="rounds between averages of the buffers; 0 for never")
    rate_up: Rate = Field(NO_LIMIT, description="most a worker may send, such as '20 Mbit/s'")
    rate_down: Rate = Field(NO_LIMIT, description="most a worker is sent, such as '20 Mbit/s'")
    burst: Size = Field("256 KiB", description="bytes that may pass a rate limit at once")
    shared_up: Rate = Field(NO_LIMIT, description="most that all workers together may send, shared out fairly")
    shared_down: Rate = Field(NO_LIMIT, description="most that all workers together are sent, shared out fairly")
    burst_shared: Size = Field("1 MiB", description="bytes that may pass a shared limit at once")
    memory: Memory = Field(
        AUTO, description="most that pushes and kept updates take in memory, such as '512 MiB'; auto follows the model"
    )
    window: OwnWindow = Field(
        NO_LIMIT, description="bytes of a worker under way in one round trip: its chunks, for long fat links"
    )
    lookahead: Size = Field("32 KiB", description="HTTP/2 window of every connection; its lead is up to 4 times that")
    transfer_seconds: Seconds = Field(1.0, description="how long an update may take at the rate limit (bits auto)")
    heartbeat: Seconds = Field(2.0, description="seconds between heartbeats; a worker is dead after three missed")
    metrics_listen: Listen | None = Field(None, description="HOST:PORT to serve metrics for Prometheus on")
    quorum: Quorum = Field(
        "1", description="pushes without which no round closes: a number, a share such as '75 %', or all"
    )
    deadline: Deadline = Field(
        "none", description="seconds after which the quorum suffices; adaptive follows from past arrivals"
    )
    mode: Literal["synchronous", "asynchronous"] = Field(
        "synchronous", description="rounds that all workers push for, or a version of every push as it arrives"
    )
    staleness: int | None = Field(
        None, ge=0, description="versions that an asynchronous push may be behind; twice the workers when not given"
    )
    late_weight: float = Field(
        1.0, ge=0.0, le=1.0, description="weight of a late push in its worker's next one; 0 drops it"
    )
    checkpoint_every: int = Field(
        100, ge=0, description="rounds between checkpoints; 0 keeps nothing on the disk but the results"
    )
    checkpoints: int = Field(2, ge=1, description="checkpoints that are kept")
    resume: bool = Field(False, description="go on with the run in RUNS/NAME, where there is one")
    reflection: bool = Field(False, description="offer gRPC reflection")


class WorkerSettings(_Section):
    """How a worker works."""

    server: Server = Field(
        "127.0.0.1:50051", description="HOST or HOST:PORT of the parameter server; port 50051 when not given"
    )
    local_steps: int = Field(
        0,
        ge=0,
        description="optimizer steps that a worker takes, then pushes what they changed; 0 pushes gradients",
    )
    local_optimizer: str = Field("SGD", description="what takes local steps: any optimizer of torch.optim, by name")
    local_lr: float = Field(0.1, gt=0, description="learning rate of local steps")
    local_optimizer_options: Options = Field(
        {"momentum": 0.9}, description="the local optimizer's other parameters, as JSON"
    )
    local_schedule: str = Field("none", description="scheduler of the local learning rate, by name")
    local_schedule_options: Options = Field({}, description="that scheduler's parameters, as JSON")
    overlap: bool = Field(False, description="encode each gradient during the backward pass, once it is there")
    delay: int = Field(
        0, ge=0, le=1, description="1: compute the next gradients while a round goes on, on weights one version old"
    )
    worker_id: Name | None = Field(None, description="id of this worker; the same id takes the old place again")
    slot: int | None = Field(None, ge=0, description="shard of this worker; the lowest free one when not given")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N")
    threads: int = Field(0, ge=0, description="torch threads of a worker; 0 shares the cores among local workers")
    pace: bool = Field(True, description="send no faster than the server's rate limit")
    state: Path | None = Field(
        None, description="folder of this worker's own checkpoint, from which it goes on when started again"
    )
    patience: Seconds = Field(60.0, description="seconds to go on trying to reach a server that does not answer")


class TaskSettings(_Section):
    """What is trained, on which data."""

    task: str = Field("digits", description="digits, cifar10, synthetic, or MODULE:FUNCTION of your own")
    model: str = Field("auto", description="model of a built-in task; auto takes the task's own")
    data: Path | None = Field(None, description="folder or file of the data, for tasks that read any")
    batch_size: int = Field(64, ge=1, description="samples that each worker takes a round")
    split: Literal["iid", "dirichlet"] = Field("iid", description="how the data are divided among workers")
    dirichlet_alpha: float = Field(0.5, gt=0, description="concentration of classes; smaller is more uneven")
    parameters: int = Field(1_000_000, ge=1, description="parameters of the synthetic task's model")


class Config(TaskSettings, WorkerSettings, ServerSettings, CodingSettings, RunSettings):
    """The settings of a run. A command reads those that concern it; all may stand in one file."""

    @model_validator(mode="before")
    @classmethod
    def _follow_recipe(cls, given: Any) -> Any:
        return with_recipe(given) if isinstance(given, dict) else given

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        check_together(
            overlap=self.overlap,
            delay=self.delay,
            local_steps=self.local_steps,
            method=self.uplink,
            asynchronous=self.mode == "asynchronous",
        )
        return self

    @classmethod
    def load(cls, file: Path | None = None, flags: Mapping[str, Any] | None = None) -> Self:
        """Return the settings of `file`, then the environment, then `flags`, the later winning.

        Raises:
            ConfigError: if a name is unknown or a value wrong; says which, what it got and what it wants.
        """
        from_file = read_file(file, cls.model_fields) if file else {}
        later = {**read_environment(cls.model_fields), **(flags or {})}
        try:
            return cls(**{**from_file, **later})
        except ValidationError as error:
            name = str(error.errors()[0]["loc"][0]) if error.errors()[0]["loc"] else ""
            where = f"{file}: " if name in from_file and name not in later else ""
            raise ConfigError(where + _one_line(error)) from None

    def to_toml(self) -> str:
        """Return a TOML document that `load` reads back as these settings; what is not set is left out."""
        values = self.model_dump(mode="json", exclude_none=True)
        return "".join(f"{name} = {_toml(value)}\n" for name, value in values.items())

    @property
    def uplink(self) -> Method:
        """How pushes are coded."""
        return Method(
            quantizer=self.quantizer,
            bits=AUTO_BITS_DOWN if self.bits == AUTO else self.bits,
            auto=self.bits == AUTO and self.quantizer == "uniform",
            allocation=self.allocation,
            gamma=self.gamma,
            transform=self.transform,
        )

    @property
    def downlink(self) -> Method:
        """How the changes of the replica are coded. Its residual memory is what the replica lacks, so gamma is 1."""
        if self.quantizer == "float32":
            return FLOAT32
        bits = self.uplink.bits if self.bits_down is None else self.bits_down
        return Method(
            quantizer=self.quantizer,
            bits=AUTO_BITS_DOWN if bits == AUTO else bits,
            auto=bits == AUTO and self.quantizer == "uniform",
            allocation=self.allocation,
            gamma=1.0,
            transform="none",
        )


def _toml(value: Any) -> str:
    """Return a value of JSON as TOML writes it; entries without a value are left out, since TOML has no null."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(k)} = {_toml(v)}" for k, v in value.items() if v is not None) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return repr(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _one_line(error: ValidationError) -> str:
    """Say what the first wrong setting is, what it got and what it wants."""
    first = error.errors(include_url=False)[0]
    name = ".".join(map(str, first["loc"])) or "settings"
    if first["type"] == "extra_forbidden":
        return f"{name}: unknown setting"
    want = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    want = want.split(", want ")[-1]
    want = want.split(", unable to parse")[0]
    return f"{name}: got {_shortened(first['input'])}, want {printable(want, MAX_WANT)}"


def _shortened(value: Any) -> str:
    """Return how an error shows a value."""
    try:
        return printable(repr(value), MAX_SHOWN)
    except ValueError:  # Python writes no whole number of more than some thousand digits
        return "a number of thousands of digits"

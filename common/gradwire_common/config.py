"""Every setting of gradwire, in one model: from a TOML file, GRADWIRE_* variables and flags, the later winning."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from gradwire_common.errors import ConfigError
from gradwire_common.method import FLOAT32, Allocation, Method, QuantizerName, TransformName
from gradwire_common.units import parse_rate, parse_size

ENV_PREFIX = "GRADWIRE_"


def _checked(parse: Any) -> AfterValidator:
    def check(text: str) -> str:
        try:
            parse(text)
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return text

    return AfterValidator(check)


Rate = Annotated[str, _checked(lambda text: text == "none" or parse_rate(text))]
Size = Annotated[str, _checked(parse_size)]
Unlimited = "none"


class Config(BaseSettings):
    """The settings of a run. A command reads those that concern it; all may stand in one file."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, extra="forbid", frozen=True, validate_default=True, env_ignore_empty=True
    )

    # the run
    name: str = Field("run", description="name of the run; its results go to RUNS/NAME", pattern=r"^[A-Za-z0-9._-]+$")
    runs: Path = Field(Path("runs"), description="folder of the runs' results")
    seed: int = Field(0, ge=0, description="seed of initial weights, shards and batches")
    rounds: int = Field(200, ge=0, description="rounds to train; 0 for no end")
    workers: int = Field(2, ge=1, description="workers that the run starts with; the number of shards")
    evaluate_every: int = Field(10, ge=0, description="rounds between evaluations; 0 for none")

    # how updates are coded
    quantizer: QuantizerName = Field("uniform", description="quantiser of the gradients")
    bits: float = Field(2.0, ge=0.01, le=8.0, description="bits per gradient entry (uniform)")
    bits_down: float | None = Field(
        None, ge=0.01, le=8.0, description="bits per entry of the broadcast; --bits when not given"
    )
    allocation: Allocation = Field("common", description="one step size for all tensors, or the same bits for each")
    gamma: float = Field(1.0, ge=0.0, le=1.0, description="decay of the residual memory; 0 switches it off")
    transform: TransformName = Field("none", description="orthonormal transform of the gradients before quantising")

    # the server
    listen: str = Field("127.0.0.1:50051", description="address to serve on; port 0 takes a free one")
    optimizer: str = Field("SGD", description="any optimizer of torch.optim, by name")
    lr: float = Field(0.1, gt=0, description="learning rate")
    optimizer_options: dict[str, Any] = Field(
        {"momentum": 0.9}, description="the optimizer's other parameters, as JSON"
    )
    schedule: str = Field("none", description="any scheduler of torch.optim.lr_scheduler, by name")
    schedule_options: dict[str, Any] = Field({}, description="the scheduler's parameters, as JSON")
    buffers_every: int = Field(1, ge=0, description="rounds between averages of the buffers; 0 for never")
    rate_up: Rate = Field(Unlimited, description="most a worker may send, such as '20 Mbit/s'")
    rate_down: Rate = Field(Unlimited, description="most a worker is sent, such as '20 Mbit/s'")
    burst: Size = Field("256 KiB", description="bytes that may pass a rate limit at once")
    heartbeat: float = Field(2.0, gt=0, description="seconds between heartbeats; a worker is dead after three missed")
    reflection: bool = Field(False, description="offer gRPC reflection")

    # the worker
    server: str = Field("127.0.0.1:50051", description="address of the parameter server")
    worker_id: str | None = Field(None, description="id of this worker; the same id takes the old place again")
    slot: int | None = Field(None, ge=0, description="shard of this worker; the lowest free one when not given")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N")
    threads: int = Field(0, ge=0, description="torch threads of a worker; 0 shares the cores among local workers")
    patience: float = Field(60.0, gt=0, description="seconds to go on trying to reach a server that does not answer")

    # the task
    task: str = Field("digits", description="digits, cifar10, synthetic, or MODULE:FUNCTION of your own")
    model: str = Field("auto", description="model of a built-in task; auto takes the task's own")
    data: Path | None = Field(None, description="folder or file of the data, for tasks that read any")
    batch_size: int = Field(64, ge=1, description="samples that each worker takes a round")
    split: Literal["iid", "dirichlet"] = Field("iid", description="how the data are divided among workers")
    dirichlet_alpha: float = Field(0.5, gt=0, description="concentration of classes; smaller is more uneven")
    parameters: int = Field(1_000_000, ge=1, description="parameters of the synthetic task's model")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="what the processes log")

    @classmethod
    def load(cls, file: Path | None = None, flags: Mapping[str, Any] | None = None) -> Self:
        """Return the settings of `file`, then the environment, then `flags`, the later winning.

        Raises:
            ConfigError: if a name is unknown or a value wrong; says which, what it got and what it wants.
        """
        from_file = _read(file) if file else {}
        unknown = [key for key in from_file if key not in cls.model_fields]
        if unknown:
            raise ConfigError(
                f"{file}: unknown setting {unknown[0]!r}; want one of {', '.join(sorted(cls.model_fields))}"
            )
        environment = cls._from_environment()
        try:
            return cls(**{**from_file, **environment, **(flags or {})})
        except ValidationError as error:
            raise ConfigError(_one_line(error)) from None

    @classmethod
    def _from_environment(cls) -> dict[str, Any]:
        """Return what GRADWIRE_* variables set."""
        from pydantic_settings import EnvSettingsSource
        from pydantic_settings.exceptions import SettingsError

        try:
            return dict(EnvSettingsSource(cls)())
        except SettingsError as error:
            raise ConfigError(f"environment: {error}; want JSON") from None

    @property
    def uplink(self) -> Method:
        """How pushes are coded."""
        return Method(
            quantizer=self.quantizer,
            bits=self.bits,
            allocation=self.allocation,
            gamma=self.gamma,
            transform=self.transform,
        )

    @property
    def downlink(self) -> Method:
        """How the changes of the replica are coded. Its residual memory is what the replica lacks, so gamma is 1."""
        if self.quantizer == "float32":
            return FLOAT32
        bits = self.bits if self.bits_down is None else self.bits_down
        return Method(quantizer=self.quantizer, bits=bits, allocation=self.allocation)


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text())
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}; want a readable TOML file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: bad TOML: {error}") from None


def _one_line(error: ValidationError) -> str:
    """Say what the first wrong setting is, what it got and what it wants."""
    first = error.errors(include_url=False)[0]
    name = ".".join(map(str, first["loc"])) or "settings"
    if first["type"] == "extra_forbidden":
        return f"{name}: unknown setting"
    want = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ").split(", want ")[-1]
    return f"{name}: got {first['input']!r}, want {want}"

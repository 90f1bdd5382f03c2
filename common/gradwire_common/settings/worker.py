"""Section `worker`: how a worker works."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from gradwire_common.settings.section import Section
from gradwire_common.settings.types import Name, Options, Seconds, Server
from gradwire_common.transport.address import parse_address


class WorkerSettings(Section):
    """How a worker works."""

    server: Server = Field(
        parse_address("127.0.0.1"), description="HOST or HOST:PORT of the parameter server; port 50051 when not given"
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
        0,
        ge=0,
        le=1,
        description="1: compute the next gradients while a round is under way, on weights one version old",
    )
    worker_id: Name | None = Field(None, description="id of this worker; the same id takes the old place again")
    token_file: Path | None = Field(
        None, description="file of this worker's token (gradwire certs token), for a server behind a proxy"
    )
    slot: int | None = Field(
        None, ge=0, lt=2**16, description="shard of this worker; the lowest free one when not given"
    )
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N")
    threads: int = Field(0, ge=0, description="torch threads of a worker; 0 shares the cores among local workers")
    initial_precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="what a worker's initial weights are rounded to before a run begins with them"
    )
    pace: bool = Field(True, description="send no faster than the server's rate limit")
    state: Path | None = Field(
        None, description="folder of this worker's own checkpoint, from which it resumes when restarted"
    )
    patience: Seconds = Field(60.0, description="seconds to keep trying to reach a server that does not answer")

"""Section `server`: how the parameter server works."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from gradwire_common.settings.clip import ClipNorm
from gradwire_common.settings.recipes import RECIPES
from gradwire_common.settings.section import Section
from gradwire_common.settings.types import (
    ClipNormValue,
    DeadlineValue,
    Listen,
    ListenTcp,
    Memory,
    Options,
    QuorumValue,
    RateLimit,
    SampledValue,
    Seconds,
    SizeLimit,
    SizeValue,
)
from gradwire_common.settings.waits import Deadline, Quorum, Sampled
from gradwire_common.transport.address import parse_address
from gradwire_common.units import AUTO, Rate, Size, parse_size


class ServerSettings(Section):
    """How the parameter server works."""

    listen: Listen = Field(
        parse_address("127.0.0.1"),
        description="HOST or HOST:PORT to serve on; port 0 takes a free one, 50051 when not given; or unix:/PATH",
    )
    insecure: bool = Field(
        False, description="serve other machines without certificates: whoever reaches the port can do everything"
    )
    tokens: Path | None = Field(
        None, description="file of the hashes of tokens (gradwire certs token): callers need one; a proxy ends TLS"
    )
    aggregation: str = Field(
        "mean",
        description="how the pushes of a round become one update: mean, trimmed_mean, median, krum, multi_krum, "
        "senders_mean, radial_mean",
    )
    aggregation_options: Options = Field({}, description="that rule's parameters, as JSON")
    clip_norm: ClipNormValue = Field(
        ClipNorm(), description="most that the norm of a push may be; median for that of the round's pushes"
    )
    noise_multiplier: float = Field(
        0.0, ge=0, description="Gaussian noise in the sum, in units of clip_norm, for differential privacy; 0 for none"
    )
    privacy_delta: float = Field(1e-5, gt=0, lt=1, description="delta that the privacy's epsilon is told for")
    outcome: str = Field("step", description="what is done with that update: step, of the server's optimizer")
    optimizer: str = Field(
        "SGD", description=f"any optimizer of torch.optim, by name, or a recipe: {', '.join(RECIPES)}"
    )
    lr: float | None = Field(0.1, gt=0, description="learning rate; for another optimizer than SGD torch's own default")
    optimizer_options: Options = Field(
        {"momentum": 0.9},
        description="the optimizer's other parameters, as JSON; for another than SGD torch's defaults",
    )
    initial_weights: Path | None = Field(
        None, description="safetensors file that the run begins with; the first worker's weights when not given"
    )
    schedule: str = Field("none", description="any scheduler of torch.optim.lr_scheduler, by name")
    schedule_options: Options = Field({}, description="the scheduler's parameters, as JSON")
    buffers_every: int = Field(10, ge=0, description="rounds between averages of the buffers; 0 for never")
    pipeline: bool = Field(
        False, description="use both directions of the link at once: delay 1, and momentum 0.5 where SGD's is not given"
    )
    rate_up: RateLimit = Field(Rate(0), description="most a worker may send, such as '20 Mbit/s'")
    rate_down: RateLimit = Field(Rate(0), description="most a worker is sent, such as '20 Mbit/s'")
    burst: SizeValue = Field(parse_size("256 KiB"), description="bytes that may pass a rate limit at once")
    shared_up: RateLimit = Field(Rate(0), description="most that all workers together may send, shared out fairly")
    shared_down: RateLimit = Field(Rate(0), description="most that all workers together are sent, shared out fairly")
    burst_shared: SizeValue = Field(parse_size("1 MiB"), description="bytes that may pass a shared limit at once")
    memory: Memory = Field(
        AUTO, description="most that pushes and kept updates take in memory, such as '512 MiB'; auto follows the model"
    )
    window: SizeLimit = Field(
        Size(0), description="bytes of a worker under way in one round trip: its chunks, for long fat links"
    )
    lookahead: SizeValue = Field(
        parse_size("32 KiB"), description="HTTP/2 window of every connection; its lead is up to 4 times that"
    )
    transfer_seconds: Seconds = Field(1.0, description="how long an update may take at the rate limit (bits auto)")
    heartbeat: Seconds = Field(2.0, description="seconds between heartbeats; a worker is dead after three missed")
    metrics_listen: ListenTcp | None = Field(None, description="HOST:PORT to serve metrics for Prometheus on")
    most_samples: int = Field(
        2**20, ge=1, description="most samples that a push counts as in the mean, whatever its worker says"
    )
    most_parameters: int = Field(
        0, ge=0, description="most entries of a model; 0 for what the memory of this machine can hold"
    )
    most_refused: int = Field(
        5, ge=0, description="pushes refused in a row after which a worker is waited for no more; 0 for never"
    )
    quorum: QuorumValue = Field(
        Quorum(1), description="pushes without which no round closes: a number, a share such as '75 %', or all"
    )
    deadline: DeadlineValue = Field(
        Deadline(), description="seconds after which the quorum suffices; adaptive follows from past arrivals"
    )
    sampled: SampledValue = Field(
        Sampled(), description="workers that take part in each round, drawn at random: a number, a share, or all"
    )
    target_samples: int = Field(
        0, ge=0, description="samples that suffice for a round: it closes without the other pushes; 0 for all pushes"
    )
    missed_rounds: int = Field(
        3, ge=0, description="rounds in a row that a live worker may miss before none waits for it; 0 for any number"
    )
    silent_after: Seconds = Field(
        600.0, description="seconds that live workers are waited for once half of a round's pushes are there"
    )
    most_workers: int | None = Field(
        None, ge=1, description="workers that may take part at once; 4 times the workers and 16 when not given"
    )
    mode: Literal["synchronous", "asynchronous"] = Field(
        "synchronous", description="rounds that all workers push for, or a version of every push as it arrives"
    )
    staleness: int | None = Field(
        None, ge=0, description="versions that an asynchronous push may be behind; twice the workers when not given"
    )
    fair_share: float = Field(
        4.0, ge=0, description="asynchronous versions of a worker for each one that the others push, on average; 0: any"
    )
    late_weight: float = Field(
        1.0, ge=0.0, le=1.0, description="weight of a late push in its worker's next one; 0 drops it"
    )
    checkpoint_every: int = Field(
        100, ge=0, description="rounds between checkpoints; 0 keeps nothing on the disk but the results"
    )
    checkpoints: int = Field(2, ge=1, description="checkpoints that are kept")
    resume: bool = Field(False, description="resume the run in RUNS/NAME, where there is one")
    reflection: bool = Field(False, description="offer gRPC reflection")

    @property
    def asynchronous(self) -> bool:
        """Whether every push makes a version of its own."""
        return self.mode == "asynchronous"

"""Section `run`: what the run is."""

from pathlib import Path

from pydantic import Field

from gradwire_common.settings.section import Section
from gradwire_common.settings.types import LogLevel, Name


class RunSettings(Section):
    """What the run is."""

    name: Name = Field("run", description="name of the run; its results go to RUNS/NAME")
    runs: Path = Field(Path("runs"), description="folder of the runs' results")
    seed: int = Field(0, ge=0, description="seed of initial weights, shards and batches")
    rounds: int = Field(200, ge=0, description="rounds to train; 0 for no end")
    epochs: float | None = Field(None, gt=0, description="passes over the training samples, in place of rounds")
    total_samples: int | None = Field(None, ge=1, description="samples to train on, in place of rounds")
    workers: int = Field(2, ge=1, le=2**16, description="workers that the run starts with; the number of shards")
    evaluate_every: int = Field(10, ge=0, description="rounds between evaluations; 0 for none")
    certs: Path | None = Field(
        None,
        description="folder of this process' kit of certificates (gradwire certs): the server's, or a worker's own",
    )
    log_level: LogLevel = Field("info", description="what the processes log")

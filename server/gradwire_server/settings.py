"""What of the configuration concerns the server, checked before it serves."""

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, Self

from gradwire_common.errors import ConfigError
from gradwire_common.layout.manifest import Layout
from gradwire_common.methods.entropy import Entropy
from gradwire_common.methods.method import Method
from gradwire_common.settings.by_name import NO_SCHEDULE
from gradwire_common.settings.config import Config
from gradwire_common.settings.waits import Deadline
from gradwire_common.transport.channel import LOOKAHEAD_BYTES
from gradwire_common.transport.chunks import MAX_CHUNK, MIN_CHUNK
from gradwire_common.units import AUTO
from gradwire_server.aggregation.registry import AGGREGATIONS
from gradwire_server.limits.limits import Limits
from gradwire_server.limits.memory import usual_push
from gradwire_server.outcome.optimizers.optimizer import OptimizerSettings
from gradwire_server.outcome.optimizers.registry import check_optimizer
from gradwire_server.outcome.registry import OUTCOMES
from gradwire_server.rounds.schedule import ScheduleSettings

LEAST_MEMORY = 64 << 20  # bytes that pushes and kept updates may take where nothing is said, and large models more
PUSHES_IN_MEMORY = 4  # as many at least where nothing is said
CHUNKS_BYTES = 2 << 20  # of one chunk of every worker; a message takes some four times its chunk while it passes
UPDATES_SHARE = 8  # one byte in so many is for updates
BYTES_PER_ENTRY = 4  # of a snapshot, at most
PARTIALS_SHARE = 8  # and one in so many for pushes that were cut and may go on


@dataclass(frozen=True)
class Settings:
    """The settings of one run, in the units that the server computes with.

    Attributes:
        workers: slots that the run begins with.
        rounds: the version that it ends at; 0 for no end.
        heartbeat: seconds.
        transfer_seconds: that a push with a budget may take.
        memory: bytes that pushes and updates kept for watchers may take; None for as many as the model needs.
        lookahead: bytes of HTTP/2 window of a connection.
        quorum: pushes without which no round closes.
        deadline: after which the quorum suffices.
        late_weight: of a late push in its worker's next one.
        mode: the schedule.
        staleness: versions that a push may be behind then.
        checkpoint_every: rounds; 0 keeps nothing on the disk.
        checkpoints: kept.
    """

    name: str = "run"
    workers: int = 2
    rounds: int = 0
    evaluate_every: int = 0
    buffers_every: int = 10
    heartbeat: float = 2.0
    aggregation: str = "mean"
    outcome: str = "step"
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    uplink: Method = field(default_factory=Entropy)
    downlink: Method = field(default_factory=Entropy)
    limits: Limits = field(default_factory=Limits)
    transfer_seconds: float = 1.0
    memory: int | None = None
    lookahead: int = LOOKAHEAD_BYTES
    quorum: int = 1
    deadline: Deadline = field(default_factory=Deadline)
    late_weight: float = 1.0
    mode: str = "synchronous"
    staleness: int = 0
    checkpoint_every: int = 0
    checkpoints: int = 2

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Return the server's part of `config`.

        Raises:
            ConfigError: a name or an option is unknown, or a value cannot work.
        """
        optimizer, schedule = OptimizerSettings.of(config), ScheduleSettings.of(config)
        check_optimizer(optimizer)
        AGGREGATIONS.find(config.aggregation)
        OUTCOMES.find(config.outcome)
        limits = Limits.of(config)
        if config.downlink.auto and not limits.share_down(1):
            raise ConfigError(
                f"bits_down: got {AUTO!r} without a rate_down or shared_down, want one, or a number of bits per entry"
            )
        return cls(
            name=config.name,
            workers=config.workers,
            rounds=config.rounds,
            evaluate_every=config.evaluate_every,
            buffers_every=config.buffers_every,
            heartbeat=config.heartbeat,
            aggregation=config.aggregation,
            outcome=config.outcome,
            optimizer=optimizer,
            uplink=config.uplink,
            downlink=config.downlink,
            limits=limits,
            memory=None if config.memory == AUTO else int(config.memory),
            lookahead=int(config.lookahead),
            transfer_seconds=config.transfer_seconds,
            quorum=schedule.quorum,
            deadline=config.deadline,
            late_weight=config.late_weight,
            mode=config.mode,
            staleness=schedule.staleness,
            checkpoint_every=config.checkpoint_every,
            checkpoints=config.checkpoints,
        )

    @property
    def most_chunk(self) -> int:
        """Most bytes of data in any chunk: shorter with many workers, since each has some of them under way."""
        return max(MIN_CHUNK, min(MAX_CHUNK, CHUNKS_BYTES // self.workers))

    def memory_for_updates(self, layout: Layout) -> int:
        """Bytes of updates that are kept for watchers that lag behind.

        Where nothing is said, they are at least a snapshot's: whoever joins over a link that can follow the run at all
        then finds every update that was made while its snapshot travelled.
        """
        if self.memory is not None:
            return self.memory // UPDATES_SHARE
        return max(LEAST_MEMORY // UPDATES_SHARE, BYTES_PER_ENTRY * (layout.n_parameters + layout.n_buffers))

    def memory_for_partials(self, layout: Layout) -> int:
        """Bytes of pushes that were cut, kept so that they can go on."""
        if self.memory is not None:
            return self.memory // PARTIALS_SHARE
        return max(LEAST_MEMORY // PARTIALS_SHARE, usual_push(layout, self.uplink))

    def memory_for_pushes(self, layout: Layout, *, streams: bool = True) -> int:
        """Bytes of pushes that may be in memory at once: what is set, or what this model needs.

        Where pushes do not go once added, those of all workers are in memory together.
        """
        if self.memory is not None:
            return self.memory - self.memory_for_updates(layout) - self.memory // PARTIALS_SHARE
        pushes = PUSHES_IN_MEMORY if streams else self.workers + PUSHES_IN_MEMORY
        return max(LEAST_MEMORY - 2 * LEAST_MEMORY // UPDATES_SHARE, pushes * usual_push(layout, self.uplink))

    def defining(self) -> dict[str, Any]:
        """Return what the numbers of a run depend on, as JSON has it: a run that is resumed must have the same."""
        optimizer = dataclasses.asdict(self.optimizer)
        if self.optimizer.schedule == NO_SCHEDULE:
            del optimizer["rounds"]  # such a run may be made longer
        told = {
            **optimizer,
            **_told("uplink", self.uplink),
            **_told("downlink", self.downlink),
            "aggregation": self.aggregation,
            "outcome": self.outcome,
            "mode": self.mode,
            "staleness": self.staleness,
            "workers": self.workers,
            "buffers_every": self.buffers_every,
        }
        return {name: json.loads(json.dumps(value)) for name, value in told.items()}


def _told(direction: str, method: Method) -> dict[str, Any]:
    options = {f"{direction} {name}": value for name, value in method.options.items()}
    return {f"{direction} method": method.name, **options}

"""What a checkpoint tells of a run beside the numbers, and the check that one does."""

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, astuple
from typing import Any

from gradwire_common.errors import CheckpointError, GradwireError, UsageError
from gradwire_common.methods.method import Method
from gradwire_common.settings.by_name import NO_SCHEDULE
from gradwire_common.settings.config import ServedRun
from gradwire_common.step_options import OptimizerChoice
from gradwire_server.intake.admission import ReadManifest
from gradwire_server.intake.contribution import round_record_of, text_of
from gradwire_server.intake.membership import Membership
from gradwire_server.outcome.optimizers.optimizer import OptimizerSettings
from gradwire_server.rounds.schedule import Counted, Schedule
from gradwire_server.rounds.schedule_settings import ScheduleSettings
from gradwire_server.store.checkpoint import Checkpoint
from gradwire_server.store.records import Records


def describe(settings: ServedRun, membership: Membership, schedule: Schedule, records: Records) -> dict[str, Any]:
    """Return what a checkpoint holds beside the numbers. Raises UsageError before the first worker has joined."""
    if membership.agreement.model is None:
        raise UsageError("no worker has joined yet")
    return {
        "run": settings.name,
        "run_id": membership.run_id,
        "settings": defining(settings),
        "lr": OptimizerSettings.of(settings, membership.agreement.choice).lr,
        "choice": None if membership.agreement.choice is None else asdict(membership.agreement.choice),
        "shared": membership.agreement.shared,
        "manifest": base64.b64encode(membership.agreement.model.packed).decode(),
        "slots": membership.members.slot_of,
        "waited_for": sorted(schedule.waited_for),
        "records": [text_of(record) for record in records.open],
        "removed": membership.barred.removed,
        "newest": {worker: list(astuple(push)) for worker, push in schedule.newest.items()},
    }


def defining(settings: ServedRun) -> dict[str, Any]:
    """Return what the numbers of a run depend on, as JSON has it: a run that is resumed must have the same."""
    optimizer = asdict(OptimizerSettings.of(settings))
    if settings.schedule == NO_SCHEDULE:
        del optimizer["rounds"]  # such a run may be made longer
        del optimizer["lr"]  # and take another rate from here on
    told = {
        **optimizer,
        **_told("uplink", settings.uplink),
        **_told("downlink", settings.downlink),
        **_aggregation(settings),
        "outcome": settings.outcome,
        "mode": settings.mode,
        "staleness": ScheduleSettings.of(settings).staleness,
        **({"sampled": str(settings.sampled), "sampled seed": settings.seed} if settings.sampled else {}),
        "workers": settings.workers,
        "buffers_every": settings.buffers_every,
    }
    return {name: json.loads(json.dumps(value)) for name, value in told.items()}


def _aggregation(settings: ServedRun) -> dict[str, Any]:
    """Return how pushes become an update; what is not asked for is left out, as earlier checkpoints have it."""
    told = {
        "aggregation": settings.aggregation,
        "aggregation_options": settings.aggregation_options,
        "clip_norm": str(settings.clip_norm) if settings.clip_norm else None,
        "noise_multiplier": settings.noise_multiplier,
    }
    return {name: value for name, value in told.items() if value}


def check_described(checkpoint: Checkpoint) -> None:
    """Raise CheckpointError or ModelMismatchError unless a checkpoint holds all that `describe` returns."""
    meta = checkpoint.meta
    with readable("is not of a run"):
        manifest_of(meta)
        for name in ("settings", "shared", "slots", "newest", "training"):
            if not isinstance(meta[name], dict):
                raise CheckpointError(f"{name}: got {type(meta[name]).__name__}, want a dict")
        {worker: Counted(*push) for worker, push in meta["newest"].items()}
        [round_record_of(text) for text in meta["records"]]
        {int(slot) for slot in (*meta["waited_for"], *meta["slots"].values())}
        str(meta["run_id"])
        removed_of(meta), choice_of(meta), rate_of(meta)


def manifest_of(meta: Mapping[str, Any]) -> ReadManifest:
    """Return the model of a checkpoint. Raises ModelMismatchError, or what contents of any other kind may raise."""
    return ReadManifest.of(base64.b64decode(meta["manifest"], validate=True), None, is_packed=True)


def removed_of(meta: Mapping[str, Any]) -> dict[str, str]:
    """Return the workers that admins had removed; checkpoints of earlier builds have none."""
    return {str(worker): str(reason) for worker, reason in meta.get("removed", {}).items()}


def choice_of(meta: Mapping[str, Any]) -> OptimizerChoice | None:
    """Return the optimizer that the first worker of a run chose; None for none. Earlier builds knew no such choice."""
    choice = meta.get("choice")
    return None if choice is None else OptimizerChoice(str(choice["name"]), dict(choice["options"]))


def rate_of(meta: Mapping[str, Any]) -> float:
    """Return the learning rate that a run began with; earlier builds kept it with the other settings."""
    return float(meta["lr"] if "lr" in meta else meta["settings"]["lr"])


@contextmanager
def readable(what: str) -> Iterator[None]:
    """Turn what contents of any kind, whose checksums are right, may raise where they are read into CheckpointError."""
    try:
        yield
    except (OSError, GradwireError):
        raise
    except Exception as error:
        raise CheckpointError(f"{what}: {type(error).__name__}: {error}") from error


def _told(direction: str, method: Method) -> dict[str, Any]:
    options = {f"{direction} {name}": value for name, value in method.options.items()}
    return {f"{direction} method": method.name, **options}

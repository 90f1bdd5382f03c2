"""What a checkpoint tells of a run beside the numbers, and how a run goes on from it."""

import asyncio
import base64
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple
from typing import TYPE_CHECKING, Any

from gradwire_common.errors import CheckpointError, GradwireError, UsageError
from gradwire_server.intake.admission import ReadManifest, check_resumed
from gradwire_server.intake.contribution import round_record_of, text_of
from gradwire_server.rounds.members import MISSED_HEARTBEATS
from gradwire_server.rounds.schedule import Counted, Phase
from gradwire_server.store.checkpoint import Checkpoint
from gradwire_server.versions.replay import Replayed

if TYPE_CHECKING:
    from gradwire_server.run import Run

log = logging.getLogger("gradwire.server")

RECONNECT_SECONDS = 4.0  # beside three heartbeats, for workers to notice that a restarted server is back


def described_run(run: "Run") -> dict[str, Any]:
    """Return what a checkpoint holds beside the numbers. Raises UsageError before the first worker has joined."""
    if run.manifest is None:
        raise UsageError("no worker has joined yet")
    return {
        "run": run.settings.name,
        "run_id": run.run_id,
        "settings": run.settings.defining(),
        "shared": run.shared,
        "manifest": base64.b64encode(run.packed).decode(),
        "slots": run.members.slot_of,
        "waited_for": sorted(run.rounds.waited_for),
        "records": [text_of(record) for record in run.records.open],
        "newest": {worker: list(astuple(push)) for worker, push in run.rounds.newest.items()},
    }


async def resume(run: "Run") -> None:
    """Go on with the run that is on the disk, if there is one; its workers are expected back soon.

    Raises:
        CheckpointError: what is there cannot be read.
        OSError: it cannot be gone on with.
        ConfigError: it was made with other settings; names them.
    """
    keeper = run.keeper
    checkpoint = await asyncio.to_thread(keeper.recover, check_told) if keeper is not None else None
    if keeper is None or checkpoint is None:
        log.info("there is nothing to resume: the run begins")
        return
    meta = checkpoint.meta
    check_resumed(meta["settings"], run.settings.defining())
    read = await asyncio.to_thread(_manifest_of, meta)
    with _readable(f"{keeper.folder}: cannot resume from the checkpoint of version {checkpoint.version}"):
        await run.collector.define(read.manifest)
        past = await run.collector.resume(checkpoint)
    run.settle(read, dict(meta["shared"]))
    run.run_id = meta["run_id"]
    _go_on(run, checkpoint.version, past)


def check_told(checkpoint: Checkpoint) -> None:
    """Raise CheckpointError or ModelMismatchError unless a checkpoint holds all that `described_run` returns."""
    meta = checkpoint.meta
    with _readable("is not of a run"):
        _manifest_of(meta)
        for name in ("settings", "shared", "slots", "newest", "training"):
            if not isinstance(meta[name], dict):
                raise CheckpointError(f"{name}: got {type(meta[name]).__name__}, want a dict")
        {worker: Counted(*push) for worker, push in meta["newest"].items()}
        [round_record_of(text) for text in meta["records"]]
        {int(slot) for slot in (*meta["waited_for"], *meta["slots"].values())}
        str(meta["run_id"])


def _manifest_of(meta: Mapping[str, Any]) -> ReadManifest:
    return ReadManifest.of(base64.b64decode(meta["manifest"], validate=True), None, is_packed=True)


@contextmanager
def _readable(what: str) -> Iterator[None]:
    """Turn what contents of any kind, whose checksums are right, may raise where they are read into CheckpointError."""
    try:
        yield
    except (OSError, GradwireError):
        raise
    except Exception as error:
        raise CheckpointError(f"{what}: {type(error).__name__}: {error}") from error


def _go_on(run: "Run", from_version: int, past: Replayed) -> None:
    expected = past.last_slots | past.open.keys()
    patience = MISSED_HEARTBEATS * run.members.interval + RECONNECT_SECONDS
    run.members.restore(past.slots, expected, run.clock() + patience)
    run.rounds.resume(past.version, expected, set(past.slots.values()), past.newest)
    run.records.resume(past.version, past.records)
    run.open_broadcast(from_version)
    for update in past.updates:
        run.broadcast.publish(update)
        run.broadcast.complete(update, update.digest)
    for slot, contribution in past.open.items():
        run.collector.count(slot, contribution)
    run.evaluations.expect(past.version, frozenset(expected))
    log.info("resumed version %d: checkpoint of version %d and the journal", past.version, from_version)
    if run.rounds.phase is Phase.ENDED:
        run.end(f"all {past.version} rounds are done")

"""The server process: ports, health, signals, and the run's beginning and end."""

import asyncio
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gradwire_common.errors import GradwireError, IdentityError, UnavailableError
from gradwire_common.settings.config import Config
from gradwire_common.warming import warm_kernels, warm_method
from gradwire_server.checks import check_server, proofs_of
from gradwire_server.limits.heap import return_large_blocks, unscanned
from gradwire_server.outcome.optimizers.torch import load_torch
from gradwire_server.rpc.callers import Callers
from gradwire_server.rpc.metrics import exported
from gradwire_server.rpc.serving import DRAIN_SECONDS, FAILED_DRAIN_SECONDS, listening
from gradwire_server.run.run import Run
from gradwire_server.store.files import write_durably
from gradwire_server.store.records import Records
from gradwire_server.store.run_folder import CONFIG, METRICS, STATE, WEIGHTS, run_folder
from gradwire_server.store.state import Store
from gradwire_server.supervision import Supervisor
from gradwire_server.versions.resuming import resume

log = logging.getLogger("gradwire.server")

GRACE_SECONDS = 120.0  # after the run's end, for workers to evaluate its last version and to leave
LOOK_SECONDS = 0.25  # between looks at who may call: somebody revoked is out within a second


def serve(config: Config, *, ready: Callable[[int], None] | None = None, lock: int | None = None) -> None:
    """Serve one run until it ends and its workers have left, or until SIGTERM or SIGINT.

    Before calls are answered, these signals have the effect that they had: there is nothing to end in order yet.

    Leaves config.toml, metrics.jsonl and weights.safetensors in the folder of the run.

    Args:
        config: The settings.
        ready: Called with the port, once calls are answered.
        lock: Descriptor of the lock of the run's folder, where the process that started this one holds it.

    Raises:
        UsageError: another process is writing to the folder of the run, or it is something else's.
        ConfigError: settings that cannot work, or an address that cannot be listened on.
        UnavailableError: the disk is full, or cannot be written for another reason.
        GradwireError: the run failed.
    """

    async def until_signal() -> None:
        stopped = asyncio.Event()

        def serving(port: int) -> None:
            if threading.current_thread() is threading.main_thread():
                for number in (signal.SIGTERM, signal.SIGINT):
                    asyncio.get_running_loop().add_signal_handler(number, stopped.set)
            if ready is not None:
                ready(port)

        await serve_run(config, ready=serving, stopped=stopped, lock=lock)

    asyncio.run(until_signal())


async def serve_run(
    config: Config,
    *,
    ready: Callable[[int], None] | None = None,
    stopped: asyncio.Event,
    grace: float = GRACE_SECONDS,
    drain: float = DRAIN_SECONDS,
    lock: int | None = None,
) -> None:
    """Serve one run until it ends and its workers have left, or until `stopped`; as `serve` does.

    Args:
        config: The settings.
        ready: Called with the port, once calls are answered.
        stopped: Set to stop it, as SIGTERM does.
        grace: Seconds that workers have to leave after the run's end.
        drain: Seconds that they have once it was stopped.
        lock: As for `serve`.
    """
    check_server(config)
    return_large_blocks()
    resume = config.resume and config.checkpoint_every > 0
    with run_folder(config.runs / config.name, resume=resume, lock=lock) as folder:
        if folder.set_aside:
            log.warning("an earlier run was in %s; it is in %s now", folder.path, folder.set_aside)
        await asyncio.to_thread(warm_kernels)
        await asyncio.to_thread(warm_method, config.uplink)
        await asyncio.to_thread(load_torch)
        with unscanned():
            await _serve_in(folder.path, config, ready, stopped, grace, drain)


async def _serve_in(
    folder: Path,
    config: Config,
    ready: Callable[[int], None] | None,
    stopped: asyncio.Event,
    grace: float,
    drain: float,
) -> None:
    """Serve a run whose results go to `folder`, which is no other process's."""
    every, supervisor = config.checkpoint_every, Supervisor()
    store = Store(folder / STATE, every, config.checkpoints, supervisor) if every else None
    with _writing_to(folder):
        records = Records(folder / METRICS, resume=config.resume)
    try:
        run = Run(config, records, store, tasks=supervisor)
        with _writing_to(folder):
            if config.resume:
                await resume(run)
            written = config.to_toml(as_given=("worker", "task"))  # what it does not say, its workers decide
            write_durably(folder / CONFIG, lambda partial: partial.write_text(written, "utf-8"))
        callers = Callers(proofs_of(config))
        async with listening(config, run, callers, supervisor) as port, supervisor:
            with exported(run, config.metrics_listen, supervisor):
                supervisor.keep("the run", run.follow())
                supervisor.keep("looking for dead workers", _expire_members(run))
                supervisor.keep("looking for barred workers", _remove_barred(run, callers))
                if ready is not None:
                    ready(port)
                await _until_over(run, supervisor, stopped, grace, drain)
        await _leave_results(folder, run)
        run.failure = run.failure or supervisor.failure
    finally:
        records.close()
    if run.failure is not None:
        raise run.failure


async def _leave_results(folder: Path, run: Run) -> None:
    """Write the last checkpoint, the weights and the rest of the books, each whether or not the others can be."""
    with _last(run, "leave a checkpoint"):
        await run.collector.finish()
    with _last(run, "leave the weights"), _writing_to(folder):
        if run.has_weights:
            training = run.numbers.training
            await asyncio.to_thread(training.weights.save, folder / WEIGHTS, training.manifest)
    with _last(run, "complete the books"):
        run.close_books()


@contextmanager
def _last(run: Run, what: str) -> Iterator[None]:
    """Let a run have failed with what the body raises, unless it has failed already."""
    try:
        yield
    except GradwireError as error:
        run.failure = run.failure or error
    except Exception as error:
        log.critical("cannot %s", what, exc_info=error)
        run.failure = run.failure or GradwireError(f"the server cannot {what}: {error!r}")


@contextmanager
def _writing_to(folder: Path) -> Iterator[None]:
    """Turn what a full or broken disk answers into one line."""
    try:
        yield
    except OSError as error:
        raise UnavailableError(f"the server cannot write to {folder}: {error}; want room there") from error


async def _until_over(run: Run, supervisor: Supervisor, stopped: asyncio.Event, grace: float, drain: float) -> None:
    """Wait for the end of the run and for its workers to leave; less long after the signal, or where a task failed."""
    await _first_of(None, stopped, run.over, supervisor.failed)
    if not run.over.is_set() and supervisor.failure is None:
        log.info("stopping at version %s", run.schedule.version)
        await run.stop("the server was stopped")
    elif not stopped.is_set() and supervisor.failure is None:
        known = run.membership.all_heard if run.was_over else run.membership.contributors_gone
        if run.was_over:
            log.info("telling so to the first %d workers that ask, for up to %.0f s", run.settings.workers, grace)
        await _first_of(grace, stopped, known, supervisor.failed)
    if supervisor.failure is None:
        await _first_of(drain, run.membership.everyone_gone, supervisor.failed)
    if supervisor.failure is not None:
        run.fail(supervisor.failure)
        await _first_of(min(drain, FAILED_DRAIN_SECONDS), run.membership.everyone_gone)


async def _first_of(seconds: float | None, *events: asyncio.Event) -> None:
    """Wait until one of `events` is set, for so many seconds at the most."""
    waits = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()


async def _expire_members(run: Run) -> None:
    while True:
        await asyncio.sleep(run.settings.heartbeat / 4)
        run.expire()


async def _remove_barred(run: Run, callers: Callers) -> None:
    """Remove members whose identity may call no more."""
    members = run.membership.members
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        for session, reason in callers.barred(lambda session: members.of_session(session) is not None).items():
            if (member := members.of_session(session)) is not None:
                run.remove(member, IdentityError(reason))

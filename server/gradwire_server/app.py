"""The server process: ports, health, signals, and the run's beginning and end."""

import asyncio
import logging
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from gradwire_common.errors import ConfigError, GradwireError, IdentityError, UnavailableError
from gradwire_common.private_files import PRIVATE_FILE
from gradwire_common.settings.config import Config, ServedRun
from gradwire_common.transport.channel import SERVER_OPTIONS, window
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_common.warming import warm_kernels
from gradwire_server.limits.connections import allow_files, connection_options, max_calls
from gradwire_server.limits.heap import return_large_blocks
from gradwire_server.limits.limits import Limits
from gradwire_server.rounds.schedule import ScheduleSettings
from gradwire_server.rpc.callers import Callers
from gradwire_server.rpc.certificates import Certificates, ServerCertificate
from gradwire_server.rpc.listening import check_address, check_exposed
from gradwire_server.rpc.metrics import exported
from gradwire_server.rpc.registration import add_servicer
from gradwire_server.rpc.servicer import ParameterServer
from gradwire_server.rpc.tokens import Tokens
from gradwire_server.run import Run
from gradwire_server.store.files import write_durably
from gradwire_server.store.records import Records
from gradwire_server.store.run_folder import CONFIG, METRICS, STATE, WEIGHTS, run_folder
from gradwire_server.store.state import Store
from gradwire_server.supervision import Supervisor
from gradwire_server.versions.resuming import resume
from gradwire_server.versions.training import check_training

log = logging.getLogger("gradwire.server")

GRACE_SECONDS = 120.0  # after the run's end, for workers to evaluate its last version and to leave
LOOK_SECONDS = 0.25  # between looks at who may call: somebody revoked is out within a second
DRAIN_SECONDS = 5.0  # after a signal, for workers to leave, and then for calls to end by themselves
FAILED_DRAIN_SECONDS = 0.3  # both, where a task has failed
SERVICE = pb.DESCRIPTOR.services_by_name["ParameterServer"].full_name


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
        run = Run(config, records, store)
        with _writing_to(folder):
            if config.resume:
                await resume(run)
            write_durably(folder / CONFIG, lambda partial: partial.write_text(config.to_toml(), "utf-8"))
        callers = Callers(proofs_of(config))
        async with _listening(config, run, callers, supervisor) as port, supervisor:
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
        await _first_of(grace, stopped, run.membership.everyone_gone, supervisor.failed)
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


@asynccontextmanager
async def _listening(config: Config, run: Run, callers: Callers, supervisor: Supervisor) -> AsyncIterator[int]:
    """Answer calls while the body runs; afterwards let those in progress end, for a while."""
    members = run.settings.members
    allow_files(members)
    options = [*SERVER_OPTIONS, *window(int(run.settings.lookahead)), *connection_options(members)]
    server = grpc.aio.server(options=options, maximum_concurrent_rpcs=max_calls(members))
    add_servicer(ParameterServer(run, callers), server)
    healthy = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    for name in ("", SERVICE):
        await healthy.set(name, health_pb2.HealthCheckResponse.SERVING)
    if config.reflection:
        _reflect(server)
    try:
        if config.certs is None:
            port = server.add_insecure_port(str(config.listen))
        else:
            port = server.add_secure_port(str(config.listen), ServerCertificate(config.certs).credentials())
    except RuntimeError as error:
        raise ConfigError(f"listen: cannot listen on {config.listen}: {error}") from error
    if config.listen.path:
        os.chmod(config.listen.path, PRIVATE_FILE)
    await server.start()
    log.info("listening on %s", replace(config.listen, port=port))
    try:
        yield port
    finally:
        await healthy.enter_graceful_shutdown()
        await server.stop(DRAIN_SECONDS if supervisor.failure is None else FAILED_DRAIN_SECONDS)
        if config.listen.path:
            Path(config.listen.path).unlink(missing_ok=True)


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


def _reflect(server: Any) -> None:
    from grpc_reflection.v1alpha import reflection

    reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), server)


def check_settings(settings: ServedRun) -> None:
    """Raise ConfigError unless a server can work by these settings."""
    check_training(settings)
    ScheduleSettings.of(settings)
    Limits.of(settings)


def check_server(settings: ServedRun) -> None:
    """Raise ConfigError unless a server can begin: its settings can work, its certificates too, its ports are free."""
    check_settings(settings)
    proofs_of(settings)
    if settings.certs is not None:
        ServerCertificate(settings.certs)
    check_address("listen", settings.listen)
    check_exposed(settings.listen, guarded=settings.certs is not None, insecure=settings.insecure)
    if settings.metrics_listen is not None:
        check_address("metrics_listen", settings.metrics_listen)


def proofs_of(settings: ServedRun) -> Certificates | Tokens | None:
    """Return what tells who calls; None where nobody is asked.

    Raises:
        ConfigError: two kinds of proof are wanted.
        IdentityError: a file of them is wrong.
    """
    if settings.tokens is None:
        return None if settings.certs is None else Certificates(settings.certs)
    if settings.certs is not None:
        raise ConfigError(
            "tokens: got them together with certs, want one of the two: callers that show certificates need no tokens"
        )
    return Tokens(settings.tokens)

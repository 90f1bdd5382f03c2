"""The port: calls, health and reflection, from the first that is answered to the last."""

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from gradwire_common.errors import ConfigError
from gradwire_common.private_files import PRIVATE_FILE
from gradwire_common.settings.config import Config
from gradwire_common.transport.channel import SERVER_OPTIONS, window
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_server.limits.connections import allow_files, connection_options, max_calls
from gradwire_server.rpc.callers import Callers
from gradwire_server.rpc.certificates import ServerCertificate
from gradwire_server.rpc.registration import add_servicer
from gradwire_server.rpc.servicer import ParameterServer
from gradwire_server.run.run import Run
from gradwire_server.supervision import Supervisor

log = logging.getLogger("gradwire.server")

DRAIN_SECONDS = 5.0  # for calls to end by themselves
FAILED_DRAIN_SECONDS = 0.3  # where a task has failed
SERVICE = pb.DESCRIPTOR.services_by_name["ParameterServer"].full_name


@asynccontextmanager
async def listening(config: Config, run: Run, callers: Callers, supervisor: Supervisor) -> AsyncIterator[int]:
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


def _reflect(server: Any) -> None:
    from grpc_reflection.v1alpha import reflection

    reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), server)

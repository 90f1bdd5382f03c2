"""Asks a parameter server how its run goes."""

from types import TracebackType
from typing import Self

import grpc

from gradwire_common.foreign_text import MAX_TEXT, printable
from gradwire_common.identity.access import NO_ACCESS, Access
from gradwire_common.metrics import MAX_METRIC_NAME
from gradwire_common.transport import channel
from gradwire_common.transport.address import parse_address
from gradwire_common.transport.reach import check_known
from gradwire_common.units import named
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_common.v1.parameter_server_pb2_grpc import ParameterServerStub


class Monitor:
    """A channel to a server that asks for its status; a context closes it."""

    def __init__(self, address: str, timeout: float, access: Access = NO_ACCESS):
        """Take the server's `address` (HOST or HOST:PORT), the seconds that one answer may take, and who asks.

        Raises:
            UsageError: no server can be reached at such an address. IdentityError where a certificate or key is wrong.
        """
        self._server = named("address", parse_address, address)
        check_known(self._server)
        self._timeout = timeout
        self._answered = False
        self._access = access
        self._channel = channel.connect(self._server, access)
        self._stub = ParameterServerStub(self._channel)  # type: ignore[no-untyped-call]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._channel.close()

    def poll(self, after_round: int = 0) -> pb.StatusReply:
        """Return the server's status with the records of the rounds after `after_round`.

        Raises:
            UnavailableError: if the server cannot be reached, or does not answer in time.
            AddressError: if that will not change.
        """
        try:
            reply: pb.StatusReply = self._stub.Status(pb.StatusRequest(after_round=after_round), timeout=self._timeout)
        except grpc.RpcError as error:
            raise channel.error_of(error, self._server, first=not self._answered, access=self._access) from None
        self._answered = True
        return _shown(reply)


def _shown(reply: pb.StatusReply) -> pb.StatusReply:
    """Let the texts of a status show as they are, whatever server it came from."""
    reply.run, reply.phase = printable(reply.run, MAX_TEXT), printable(reply.phase, MAX_TEXT)
    reply.package_version = printable(reply.package_version, MAX_TEXT)
    reply.paused = printable(reply.paused, MAX_TEXT)
    for removed in reply.removed:
        removed.worker_id, removed.reason = printable(removed.worker_id, MAX_TEXT), printable(removed.reason, MAX_TEXT)
    for evaluation in reply.evaluations:
        for metric in evaluation.metrics:
            metric.name = printable(metric.name, MAX_METRIC_NAME)
    for worker in reply.workers:
        worker.worker_id = printable(worker.worker_id, MAX_TEXT)
        worker.gone = printable(worker.gone, MAX_TEXT)
        worker.refused_reason = printable(worker.refused_reason, MAX_TEXT)
    return reply

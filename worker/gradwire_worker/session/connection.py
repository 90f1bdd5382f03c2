"""A worker's connection to a server: a channel that stays, and how long calls and their repetitions may take."""

import threading
from typing import Any

from gradwire_common.transport.address import Address, parse_address
from gradwire_common.transport.channel import connect
from gradwire_common.transport.chunks import chunk_size
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_common.v1.parameter_server_pb2_grpc import ParameterServerStub
from gradwire_worker import interrupts
from gradwire_worker.session.options import SessionOptions
from gradwire_worker.session.pacer import Pacer
from gradwire_worker.session.patience import Patience

CALL_TIMEOUT = 10.0  # seconds for a call that carries no frames; those that do never time out while bytes move
IN_FLIGHT = 256 << 10  # bytes of frames that a small call may have to wait behind
LEAVE_TIMEOUT = 2.0  # seconds; telling the server must not hold up the end of a process


class Connection:
    """A channel to a server.

    Args:
        server: its address.
        options: how the worker takes part.

    Attributes:
        limits: what the server's token buckets allow, as last heard.
    """

    def __init__(self, server: str | Address, options: SessionOptions):
        self.server = parse_address(server)
        self.limits = pb.Limits()
        self._access = options.access
        self._patience = options.patience
        self._closing = threading.Event()
        self._pacer = Pacer(self._closing.wait) if options.pace else None
        self._channel = connect(self.server, self._access)
        self._stub: Any = ParameterServerStub(self._channel)  # type: ignore[no-untyped-call]

    @property
    def chunk_bytes(self) -> int:
        """Most bytes of data in a chunk of a push."""
        return self.limits.chunk_bytes or chunk_size(self.limits.rate_up)

    @property
    def _timeout(self) -> float:
        """Seconds for a small call, which may have to wait behind what the link holds already."""
        rates = [rate for rate in (self.limits.rate_up, self.limits.rate_down) if rate]
        return CALL_TIMEOUT + (IN_FLIGHT / min(rates) if rates else 0.0)

    def close(self) -> None:
        """Close the channel and end every wait between attempts."""
        self._closing.set()
        self._channel.close()

    def hurry(self) -> None:
        """Be no more patient than leaving allows, from now on."""
        self._patience = min(self._patience, LEAVE_TIMEOUT)

    def patience(self) -> Patience:
        """Return the patience for a chain of attempts."""
        return Patience(self._patience, self._closing)

    def _hear(self, limits: pb.Limits) -> None:
        self.limits = limits
        if self._pacer is not None:
            self._pacer.set(limits)

    def _ask(self, method: Any, request: Any, timeout: float | None = None) -> Any:
        """Return the answer to a small call, which is given up where a signal's handler raises meanwhile."""
        call = method.future(request, timeout=timeout or self._timeout)
        try:
            return interrupts.answer_of(call)
        except interrupts.Interrupted:
            call.cancel()
            raise

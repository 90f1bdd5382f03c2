"""What a server's settings say of workers, asked before joining."""

import threading

import grpc

from gradwire_common.identity.access import NO_ACCESS, Access
from gradwire_common.transport import bounds
from gradwire_common.transport.address import Address, parse_address
from gradwire_common.transport.channel import connect, error_of
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_common.v1.parameter_server_pb2_grpc import ParameterServerStub
from gradwire_worker import interrupts
from gradwire_worker.session.patience import Patience

TIMEOUT = 10.0  # seconds for an answer


def server_settings(
    server: str | Address = "127.0.0.1:50051", *, patience: float = 60.0, access: Access = NO_ACCESS
) -> dict[str, str]:
    """Return the settings that the server at an address hands to its workers, by name, as a flag has them.

        batch_size = int(server_settings("host:50051").get("batch_size", "64"))

    Args:
        server: "host:port", or "host" for its port 50051.
        patience: seconds to keep trying to reach a server that does not answer.
        access: how this worker shows who it is, as `SessionOptions(...).access` does.

    Raises:
        UnavailableError: the server could not be reached; AddressError where that would never change.
        IdentityError, RightsError: it does not let this caller ask.
    """
    address, asked = parse_address(server), Patience(patience, threading.Event())
    with interrupts.HELD, connect(address, access) as channel:
        stub = ParameterServerStub(channel)  # type: ignore[no-untyped-call]
        while True:
            try:
                with asked.notice(f"waiting for an answer of server {address}"):
                    call = stub.Settings.future(pb.SettingsRequest(), timeout=max(TIMEOUT, patience))
                    reply: pb.SettingsReply = interrupts.answer_of(call)
            except grpc.RpcError as failed:
                asked.retry(error_of(failed, address, first=True, access=access))
            else:
                bounds.check(reply)
                return dict(reply.settings)

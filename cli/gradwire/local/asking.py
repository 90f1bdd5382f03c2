"""One call to a parameter server."""

from collections.abc import Callable
from typing import Any, TypeVar

import grpc

from gradwire_common.identity.access import NO_ACCESS, Access
from gradwire_common.transport import channel
from gradwire_common.transport.address import parse_address
from gradwire_common.transport.reach import check_known
from gradwire_common.units import named
from gradwire_common.v1.parameter_server_pb2_grpc import ParameterServerStub

T = TypeVar("T")


def ask(address: str, call: Callable[[Any], T], access: Access = NO_ACCESS) -> T:
    """Return what `call` gets of the server at `address`.

    Args:
        address: HOST or HOST:PORT.
        call: is given the stub.
        access: who asks.

    Raises:
        UsageError: there can be no server there, or it refuses the call.
        IdentityError, RightsError: it does not let this caller make it.
        UnavailableError, AddressError: it cannot be reached.
    """
    server = named("address", parse_address, address)
    check_known(server)
    with channel.connect(server, access) as connection:
        try:
            return call(ParameterServerStub(connection))  # type: ignore[no-untyped-call]
        except grpc.RpcError as error:
            raise channel.error_of(error, server, first=True, access=access) from None

"""The servicer's methods as handlers of a gRPC server: by the service's descriptor, so that no call is left out."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from gradwire_common.errors import DataError
from gradwire_common.transport import bounds
from gradwire_common.v1 import parameter_server_pb2 as pb

_HANDLERS = {  # whether requests, and whether replies, are streams
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}


@dataclass(frozen=True, slots=True)
class Undecodable:
    """What stands in the place of a request whose bytes are no message, or too many."""

    error: DataError


def add_servicer(servicer: Any, server: Any) -> None:
    """Let `server` answer every call of the service by the method of `servicer` that has its name.

    Bytes that are no message, or too many for one, are refused like any other bad request. gRPC itself would write a
    traceback for each.
    """
    service = pb.DESCRIPTOR.services_by_name["ParameterServer"]
    handlers = {
        method.name: _HANDLERS[method.client_streaming, method.server_streaming](
            getattr(servicer, method.name),
            request_deserializer=_reader(GetMessageClass(method.input_type), in_stream=method.client_streaming),
            response_serializer=GetMessageClass(method.output_type).SerializeToString,
        )
        for method in service.methods
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.full_name, handlers),))


def _reader(kind: type[Message], *, in_stream: bool) -> Callable[[bytes], Message | Undecodable]:
    """Return what reads a message; one of a stream is read in the servicer's method, which may be interrupted."""

    def read(data: bytes) -> Message | Undecodable:
        error: DataError
        try:
            bounds.check_size(kind, len(data))
            return kind.FromString(data)
        except DecodeError:
            error = DataError(f"{kind.__name__}: got {len(data)} bytes that are no such message")
        except DataError as too_long:
            error = too_long
        if in_stream:
            raise error
        return Undecodable(error)

    return read

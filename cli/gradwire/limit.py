"""`gradwire limit`: changes what a run's token buckets allow."""

from collections.abc import Mapping

import grpc
from rich.console import Console

from gradwire_common import channel
from gradwire_common.config import Unlimited
from gradwire_common.errors import UsageError
from gradwire_common.units import format_rate, format_size, parse_rate, parse_size
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_common.v1.parameter_server_pb2_grpc import ParameterServerStub

RATES = ("rate_up", "rate_down", "shared_up", "shared_down")


def change_limits(address: str, worker_id: str | None, given: Mapping[str, str | None], timeout: float) -> None:
    """Change limits of the run at `address`, for one worker or all, and print those that hold now.

    Raises:
        ConfigError: a value is no rate or size, or a burst that is too small.
        UsageError: nothing is given, or the run cannot be limited.
        UnavailableError: the server cannot be reached.
    """
    changes = {name: _parse(name, text) for name, text in given.items() if text is not None}
    if not changes:
        raise UsageError("limit: got nothing to change, want one of " + ", ".join(_flag(name) for name in given))
    request = pb.LimitRequest(worker_id=worker_id or "", changes=pb.LimitChanges(**changes))
    with grpc.insecure_channel(address, options=channel.CLIENT_OPTIONS) as connection:
        try:
            reply = ParameterServerStub(connection).Limit(request, timeout=timeout)  # type: ignore[no-untyped-call]
        except grpc.RpcError as error:
            raise channel.error_of(error, address) from None
    Console().print(described(reply.limits), highlight=False, soft_wrap=True)


def described(limits: pb.LimitChanges) -> str:
    """Write limits for people."""
    values = {field.name: getattr(limits, field.name) for field in limits.DESCRIPTOR.fields}
    return ", ".join(f"{name} {_written(name, value)}" for name, value in values.items())


def _parse(name: str, text: str) -> int:
    if text == Unlimited and name in (*RATES, "window"):
        return 0
    return round(parse_rate(text)) if name in RATES else parse_size(text)


def _written(name: str, value: int) -> str:
    if not value:
        return Unlimited
    return format_rate(value) if name in RATES else format_size(value)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")

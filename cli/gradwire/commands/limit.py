"""`gradwire limit`: changes what a run's token buckets allow."""

from collections.abc import Mapping

from gradwire.local.asking import ask
from gradwire.views.console import open_console
from gradwire_common.errors import UsageError
from gradwire_common.identity.access import NO_ACCESS, Access
from gradwire_common.units import named, parse_rate_limit, parse_size, parse_size_limit
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_server.limits.limiter import described
from gradwire_server.limits.limits import RATES, Limits


def change_limits(
    address: str,
    worker_id: str | None,
    given: Mapping[str, str | None],
    timeout: float,
    access: Access = NO_ACCESS,
) -> None:
    """Change limits of the run at `address`, for one worker or all, and print those that hold now.

    Raises:
        ConfigError: a value is no rate or size, or a burst that is too small.
        UsageError: nothing is given, the worker is unknown, or the run cannot be limited.
        UnavailableError, AddressError: the server cannot be reached.
        IdentityError, RightsError: it does not let this caller change them.
    """
    changes = {name: _parse(name, text) for name, text in given.items() if text is not None}
    if not changes:
        raise UsageError("limit: got nothing to change, want one of " + ", ".join(_flag(name) for name in given))
    if worker_id == "":
        raise UsageError("worker: got an empty id, want that of a worker, or no --worker for all of them")
    request = pb.LimitRequest(worker_id=worker_id or "", changes=pb.LimitChanges(**changes))
    reply = ask(address, lambda stub: stub.Limit(request, timeout=timeout), access)
    limits = Limits(**{field.name: getattr(reply.limits, field.name) for field in reply.limits.DESCRIPTOR.fields})
    open_console().print(described(limits), soft_wrap=True)


def _parse(name: str, text: str) -> int:
    parse = parse_rate_limit if name in RATES else parse_size_limit if name == "window" else parse_size
    return named(name, parse, text)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")

"""What both ends must agree on about gRPC: channel options, the cost of framing, and how errors travel."""

import logging
import math

import grpc

from gradwire_common import errors
from gradwire_common.errors import GradwireError
from gradwire_common.foreign_text import MAX_TEXT, printable
from gradwire_common.identity.access import NO_ACCESS, Access
from gradwire_common.identity.files import CA, read
from gradwire_common.identity.handshake import refusal
from gradwire_common.transport.address import Address
from gradwire_common.transport.bearer import WithMetadata
from gradwire_common.transport.reach import proxy_of, speaks_tls

log = logging.getLogger("gradwire")

PROTOCOL_VERSION = 1  # of proto/parameter_server.proto; raised when an older peer would misread a newer one
ERROR_KEY = "gradwire-error"  # trailing metadata that names the kind of error

KEEPALIVE_MS = 30_000  # the client's ping after this much silence
KEEPALIVE_TIMEOUT_MS = 10_000  # and how long it waits for the answer
SERVER_KEEPALIVE_MS = 60_000
MIN_PING_INTERVAL_MS = 10_000  # pings closer together than this are abuse; well under KEEPALIVE_MS
MAX_PING_STRIKES = 2  # such pings in a row; the connection is closed at the next
HANDSHAKE_MS = 10_000  # that a new connection may take until it speaks HTTP/2
IDLE_MS = 300_000  # that a connection may be open without a call; workers that wait have one open
MAX_STREAMS = 16  # calls at once on a connection; a worker has a handful
LOOKAHEAD_BYTES = 32 << 10  # HTTP/2 window of a server; at the socket the lead is up to 4 times that

CLIENT_OPTIONS = [
    ("grpc.keepalive_time_ms", KEEPALIVE_MS),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.use_local_subchannel_pool", 1),
]

SERVER_OPTIONS = [
    ("grpc.keepalive_time_ms", SERVER_KEEPALIVE_MS),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", MIN_PING_INTERVAL_MS),
    ("grpc.http2.max_ping_strikes", MAX_PING_STRIKES),
    ("grpc.server_handshake_timeout_ms", HANDSHAKE_MS),
    ("grpc.max_connection_idle_ms", IDLE_MS),
    ("grpc.max_concurrent_streams", MAX_STREAMS),
    ("grpc.so_reuseport", 0),
]


def window(lookahead: int) -> list[tuple[str, int]]:
    """Return the options of an end that token buckets slow, now or later.

    Without bandwidth probing the window stays as small as `lookahead` (bytes), so a receiver that stops reading stops
    its sender soon. It grows for a message while that is being read, so a stream moves a chunk and up to 2 * lookahead
    in one round trip.
    """
    return [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", lookahead)]


# Bytes that a message costs on the wire beside itself, compared with the socket by tests/end_to_end/test_wire_cost.py.
MESSAGE_PREFIX = 5  # gRPC: compressed flag and length
FRAME_PREFIX = 9  # HTTP/2 frame header
FRAME_BYTES = 16_384  # HTTP/2's default largest frame
CALL_BYTES = 120  # headers, trailers and window updates of one call, once HPACK has seen such a call


def wire_bytes(message_bytes: int) -> int:
    """Return the bytes that a message of `message_bytes` takes on the wire, framing included."""
    framed = message_bytes + MESSAGE_PREFIX
    return framed + FRAME_PREFIX * math.ceil(framed / FRAME_BYTES)


_STATUS_OF: list[tuple[type[GradwireError], grpc.StatusCode]] = [
    (errors.DataError, grpc.StatusCode.INVALID_ARGUMENT),
    (errors.WorkerIdError, grpc.StatusCode.INVALID_ARGUMENT),
    (errors.IdentityError, grpc.StatusCode.UNAUTHENTICATED),
    (errors.RightsError, grpc.StatusCode.PERMISSION_DENIED),
    (errors.UsageError, grpc.StatusCode.FAILED_PRECONDITION),
    (errors.RunEndedError, grpc.StatusCode.OUT_OF_RANGE),
    (errors.TransientError, grpc.StatusCode.UNAVAILABLE),
]


def status_of(error: GradwireError) -> grpc.StatusCode:
    """Return the gRPC status that an error travels as."""
    return next((status for kind, status in _STATUS_OF if isinstance(error, kind)), grpc.StatusCode.INTERNAL)


def connect(server: Address, access: Access = NO_ACCESS) -> grpc.Channel:
    """Return a channel to `server`; it connects at its first call. No proxy lies between a machine and itself.

    Raises:
        IdentityError: a file of `access` is wrong.
    """
    options = [*CLIENT_OPTIONS, ("grpc.enable_http_proxy", int(not server.loopback))]
    credentials = _credentials(server, access)
    if credentials is None:
        channel = grpc.insecure_channel(server.target, options=options)
    else:
        channel = grpc.secure_channel(server.target, credentials, options=options)
    return channel if access.token is None else grpc.intercept_channel(channel, WithMetadata(access.token.metadata))


def _credentials(server: Address, access: Access) -> grpc.ChannelCredentials | None:
    """Return what TLS needs; None where the channel has none: without a kit, or to this machine with a token alone."""
    if (kit := access.credentials) is not None:
        return grpc.ssl_channel_credentials(kit.ca, kit.key, kit.certificate)
    if access.token is None or (access.certs is None and server.loopback):
        return None
    return grpc.ssl_channel_credentials(None if access.certs is None else read(access.certs / CA))


BROKE = "the connection broke"

TOO_MANY = "Concurrent RPC limit exceeded"  # of gRPC's: the server answers as many calls as it may

# Parts of gRPC's own texts, and what they mean: of what may pass, and of what will not.
_MAY_PASS = [
    ("Connection refused", "nothing listens there (connection refused)"),
    ("No route to host", "there is no route to that host"),
    ("Network is unreachable", "its network cannot be reached"),
    ("timed out", "it does not answer"),
    ("Timeout", "it does not answer"),
    ("Deadline Exceeded", "it does not answer in time"),
    ("with status: 50", "a proxy on the way answers in its place"),
    ("response code 50", "the proxy cannot reach it"),
    (TOO_MANY, "it has as many calls as it answers at once"),
    ("reset", BROKE),
    ("Socket closed", BROKE),
]
_STAYS = [
    ("Failed parsing HTTP/2", "what listens there is no parameter server: it does not speak gRPC; check the port"),
    ("http1.x", "what listens there is no parameter server but a web server; check the port"),
    ("Method not found", "what listens there is another gRPC service; check the port"),
    ("http2 header with status: 4", "what listens there is no parameter server but a web server; check the port"),
    ("Domain name not found", "there is no host of that name; check its spelling"),
    ("Misformatted domain name", "that is no name of a host; check its spelling"),
    ("response code 4", "the proxy refuses to connect to it"),
    ("Permission denied", "this machine may not connect to it; check its firewall"),
    ("Operation not permitted", "this machine may not connect to it; check its firewall"),
]
_LOST = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)


def error_of(call: grpc.RpcError, server: Address, *, first: bool = False, access: Access = NO_ACCESS) -> GradwireError:
    """Return the error that a failed call stands for; gRPC's own text goes to the log, at the level debug.

    Args:
        call: that failed.
        server: that was called.
        first: whether no call to it has been answered yet: what will not pass is an AddressError then.
        access: that it was called with; where TLS is why it failed, the error says so.
    """
    kinds = [value for key, value in call.trailing_metadata() or () if key == ERROR_KEY]
    kind = getattr(errors, str(kinds[0]), None) if kinds else None
    details = printable(str(call.details()), MAX_TEXT)
    if isinstance(kind, type) and issubclass(kind, GradwireError):
        return kind(details)
    log.debug("a call to %s failed: %s: %s", server, call.code().name, details)
    stays = next((reason for part, reason in _STAYS if part in details), None)
    lost = call.code() in _LOST or "RST_STREAM" in details or TOO_MANY in details
    if stays is None and not lost:
        return GradwireError(f"server {server} answered {call.code().name}: {details}")
    reason = stays or next((reason for part, reason in _MAY_PASS if part in details), BROKE)
    if access.certs is not None and call.code() in _LOST and (refused := _refused(server, access, first=first)):
        return errors.IdentityError(f"server {server} cannot be called with the kit {access.certs}: {refused}")
    if first and stays is None and "failed to connect" in details and reason == BROKE and speaks_tls(server):
        reason = stays = "what listens there speaks TLS: want --certs DIR, the kit of a caller; or check the port"
    if proxy := proxy_of(server):
        variable, host = proxy
        reason += f" (through the proxy {host} of {variable}; no_proxy={server.host} goes without it)"
    message = f"server {server} cannot be reached: {reason}"
    return errors.AddressError(message) if first and stays is not None else errors.UnavailableError(message)


def _refused(server: Address, access: Access, *, first: bool) -> str:
    """Return why TLS does not let `access` call `server`; empty where something else is wrong."""
    if access.expired:
        return "the certificate has expired meanwhile"
    if not first or access.certs is None or proxy_of(server):
        return ""
    try:
        return refusal(server, access.certs)
    except OSError:
        return ""

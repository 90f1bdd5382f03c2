"""What every field of a message may be: one table, looked at before anything is built, hashed or logged of a message.

Here stands what no run allows. What depends on the run, such as which round is open, is checked where that is known. A
field that has no range of its own says where it is checked: a test wants every field of every message in the table.
"""

from collections.abc import Collection
from dataclasses import dataclass

from google.protobuf.message import Message

from gradwire_common.errors import RangeError
from gradwire_common.metrics import MAX_METRICS
from gradwire_common.settings.names import MAX_NAME
from gradwire_common.transport.chunks import MAX_CHUNK
from gradwire_common.transport.held import MAX_HELD, MAX_MARKS
from gradwire_common.transport.packing import INLINE_BYTES, PIECE_BYTES
from gradwire_common.transport.ranges import Bound, Elsewhere, Octets, Real, Text, Texts, Whole
from gradwire_common.units import MAX_BYTES
from gradwire_common.v1 import parameter_server_pb2 as pb

MAX_SLOT = 2**16 - 1  # of 65,536 workers; sums of what each may say stay below 2**64
MAX_ROUND = 2**53  # a whole number that JSON and doubles hold exactly
MAX_SAMPLES = 2**32  # of one push
MAX_BUDGET = 2**48 - 1  # bytes of one push
MAX_LOSS = 3.4e38  # what the wire's float32 holds
MAX_SECONDS = 1e7  # four months, of any phase of a step
MAX_HEARTBEAT_MS = 2**32 - 1  # 49 days
MAX_SESSION = 64  # characters
MAX_VERSION_TEXT = 32  # characters of a package's version
MAX_SETTINGS = 64  # that all workers of a run have in common
MAX_SETTING_NAME, MAX_SETTING = 64, 1024  # characters
MAX_FAMILY = 64  # characters
MAX_OPTIONS_TEXT = 64 << 10  # characters of a method's options
MAX_DIGEST = 64  # bytes
MAX_REQUEST = 128 << 10  # bytes of a message that carries neither a manifest nor frames
MAX_LINE = 4096  # characters of a line for people, which is cut where it is shown


@dataclass(frozen=True, slots=True)
class Several:
    """Messages, at most so many, each of which has a table of its own."""

    most: int

    def problem(self, value: Collection[Message]) -> str:
        """See Bound."""
        if len(value) > self.most:
            return f"got {len(value)}, want at most {self.most}"
        return next(filter(None, map(_problem, value)), "")


@dataclass(frozen=True, slots=True)
class One:
    """A message with a table of its own."""

    def problem(self, value: Message) -> str:
        """See Bound."""
        return _problem(value)


FLAG = Elsewhere("both values are right")
FRAMES = Elsewhere("chunks.check_chunk, then the frames' own headers and checksums")
ROUND, SLOT, SESSION = Whole(MAX_ROUND), Whole(MAX_SLOT), Text(MAX_SESSION)
AMOUNT = Whole(MAX_BYTES)
SECONDS = Real(0.0, MAX_SECONDS)
LINE = Text(MAX_LINE)
REASON = Elsewhere("cut, and made printable, where it is kept, logged or told")
OPTIONS = Elsewhere("step_options.from_messages, then the optimizer's own check")
SETTINGS = Texts(MAX_SETTINGS, Text(MAX_SETTING_NAME), Text(MAX_SETTING))

_TABLE: dict[type[Message], dict[str, Bound]] = {
    # ------------------------------------------------------------------------------------- what a server is told
    pb.JoinRequest: {
        "worker_id": Elsewhere("names.check_name"),
        "package_version": Text(MAX_VERSION_TEXT),
        "protocol_version": Elsewhere("compared with the server's own"),
        "frame_version": Elsewhere("compared with the server's own"),
        "manifest": Elsewhere("at most packing.INLINE_BYTES, then packing.parse"),
        "settings": SETTINGS,
        "slot": SLOT,
        "manifest_digest": Octets(MAX_DIGEST),
        "claim": Octets(MAX_DIGEST),
        "optimizer": One(),
    },
    pb.Introduction: {"join": One(), "manifest": Octets(PIECE_BYTES)},
    pb.PushMessage: {"header": One(), "chunk": FRAMES, "end": One(), "whole": One()},
    pb.WholePush: {"header": One(), "data": FRAMES, "end": One()},
    pb.Chunk: {"offset": FRAMES, "data": FRAMES},
    pb.PushHeader: {
        "session": SESSION,
        "kind": Elsewhere("admission.check_gradient"),
        "round": ROUND,
        "base_version": ROUND,
        "samples": Whole(MAX_SAMPLES),
        "with_buffers": FLAG,
        "family": Text(MAX_FAMILY),
        "offset": Elsewhere("compared with the bytes that are here"),
    },
    pb.PushEnd: {
        "length": Elsewhere("compared with the bytes that came"),
        "loss": Real(-MAX_LOSS, MAX_LOSS, unknown=True),
        "times": One(),
        "budget": Whole(MAX_BUDGET),
        "groups": OPTIONS,
    },
    pb.ParameterGroup: {"options": OPTIONS},
    pb.OptimizerChoice: {"name": Text(MAX_NAME), "options": Text(MAX_OPTIONS_TEXT)},
    pb.StepTimes: dict.fromkeys(("compute", "copy", "fit", "encode", "send", "wait"), SECONDS),
    pb.StagedRequest: {
        "session": SESSION,
        "kind": Elsewhere("part of a key"),
        "round": ROUND,
        "with_buffers": FLAG,
    },
    pb.WatchRequest: {"session": SESSION, "have_version": ROUND, "held": Octets(MAX_HELD)},
    pb.HeartbeatRequest: {"session": SESSION},
    pb.EvaluationReport: {"session": SESSION, "version": ROUND, "metrics": Several(MAX_METRICS)},
    pb.Metric: dict.fromkeys(
        ("name", "sum", "count", "lower_is_better", "kind", "state"), Elsewhere("metrics.checked_metrics")
    ),
    pb.SettingsRequest: {},
    pb.TurnRequest: {"session": SESSION, "version": ROUND},
    pb.StatusRequest: {"after_round": Elsewhere("compared with the rounds that there are")},
    pb.LimitRequest: {"worker_id": Text(MAX_NAME), "changes": One()},
    pb.LimitChanges: dict.fromkeys(
        ("rate_up", "rate_down", "burst", "shared_up", "shared_down", "burst_shared", "window"), AMOUNT
    ),
    pb.LeaveRequest: {"session": SESSION, "reason": REASON, "finished": FLAG},
    pb.PauseRequest: {"paused": FLAG, "reason": REASON},
    pb.CheckpointRequest: {},
    pb.RemoveRequest: {"worker_id": Text(MAX_NAME), "reason": REASON},
    pb.AdmitRequest: {"worker_id": Text(MAX_NAME)},
    # ------------------------------------------------------------------------------------- what a worker is told
    pb.JoinReply: {
        "session": SESSION,
        "slot": SLOT,
        "slots": Whole(MAX_SLOT + 1, 1),
        "version": ROUND,
        "rounds": ROUND,
        "weights_wanted": FLAG,
        "heartbeat_ms": Whole(MAX_HEARTBEAT_MS, 1),
        "method": One(),
        "limits": One(),
        "buffers_every": Elsewhere("a divisor that 0 switches off"),
        "evaluate_every": Elsewhere("a divisor that 0 switches off"),
        "run": Text(MAX_NAME),
        "run_id": Text(MAX_SESSION),
        "late_weight": Real(0.0, 1.0),
        "asynchronous": FLAG,
        "manifest_wanted": FLAG,
        "broadcast": One(),
        "optimizer": One(),
        "groups": OPTIONS,
        "fixed_rate": FLAG,
        "fixed_options": FLAG,
        "overruled": LINE,
        "sampled": FLAG,
    },
    pb.SettingsReply: {"settings": SETTINGS},
    pb.TurnReply: {"round": ROUND},
    pb.Method: {"name": Text(MAX_NAME), "options": Text(MAX_OPTIONS_TEXT)},
    pb.Limits: {
        "rate_up": AMOUNT,
        "rate_down": AMOUNT,
        "burst": AMOUNT,
        "chunk_bytes": Whole(MAX_CHUNK),
        "share_up": AMOUNT,
        "transfer_seconds": SECONDS,
        "whole_bytes": Whole(MAX_CHUNK),
    },
    pb.HeartbeatReply: {
        "weights_wanted": FLAG,
        "version": ROUND,
        "limits": One(),
        "heartbeat_ms": Whole(MAX_HEARTBEAT_MS, 1),
        "wait": One(),
    },
    pb.Wait: {"what": LINE, "seconds": Elsewhere("shown, nothing else")},
    pb.Receipt: {
        "verdict": Elsewhere("compared with those that there are"),
        "round": ROUND,
        "length": Elsewhere("told, nothing else"),
        "digest": Elsewhere("compared with the push's own"),
        "version": ROUND,
    },
    pb.StagedReply: {"length": Elsewhere("compared with the push's own"), "digest": Elsewhere("as the length")},
    pb.WatchMessage: {"header": One(), "chunk": FRAMES, "end": FRAMES, "run_end": One(), "whole": One()},
    pb.WholeUpdate: {"header": One(), "data": FRAMES, "end": FRAMES},
    pb.UpdateEnd: {"length": FRAMES, "digest": FRAMES},
    pb.UpdateHeader: {
        "version": ROUND,
        "kind": Elsewhere("updates.Updates"),
        "with_buffers": FLAG,
        "groups": OPTIONS,
        "left_out": Octets(MAX_MARKS),
        "length": Elsewhere("shown, nothing else"),
    },
    pb.RunEnd: {"version": ROUND, "reason": LINE},
}


def check_size(kind: type[Message], n_bytes: int) -> None:
    """Check how long a request of `kind` is before anything is made of it: many small parts take much memory and time.

    Raises:
        RangeError: it is longer than any may be.
    """
    most = _MAX_SIZES.get(kind, MAX_REQUEST)
    if n_bytes > most:
        raise RangeError(f"{kind.__name__}: got {n_bytes} bytes, want at most {most}")


def check(message: Message) -> None:
    """Check every field of a message that came from a peer, those of messages in it too.

    Raises:
        RangeError: a field is out of its range; names it.
    """
    if problem := _problem(message):
        raise RangeError(problem)


def bounded_fields(kind: type[Message]) -> Collection[str]:
    """Return the names of the fields of `kind` that the table tells of; none where it has no such message."""
    return _TABLE.get(kind, {}).keys()


_MAX_SIZES: dict[type[Message], int] = {  # bytes; with room for what stands beside the bulk
    pb.JoinRequest: INLINE_BYTES + 2 * MAX_REQUEST,
    pb.Introduction: PIECE_BYTES + 2 * MAX_REQUEST,
    pb.PushMessage: MAX_CHUNK + MAX_REQUEST,
    pb.WatchRequest: MAX_HELD + MAX_REQUEST,
}
_CHECKED = {
    kind: [(name, bound) for name, bound in fields.items() if not isinstance(bound, Elsewhere)]
    for kind, fields in _TABLE.items()
}


def _problem(message: Message) -> str:
    for name, bound in _CHECKED.get(type(message), ()):
        if isinstance(bound, One) and not message.HasField(name):
            continue
        if problem := bound.problem(getattr(message, name)):
            return problem if isinstance(bound, One) else f"{type(message).__name__}: {name}: {problem}"
    return ""

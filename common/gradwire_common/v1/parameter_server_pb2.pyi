from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Role(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROLE_UNSPECIFIED: _ClassVar[Role]
    ROLE_PARAMETER: _ClassVar[Role]
    ROLE_BUFFER: _ClassVar[Role]
    ROLE_FROZEN: _ClassVar[Role]

class PushKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PUSH_KIND_UNSPECIFIED: _ClassVar[PushKind]
    PUSH_KIND_WEIGHTS: _ClassVar[PushKind]
    PUSH_KIND_GRADIENT: _ClassVar[PushKind]

class Verdict(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VERDICT_UNSPECIFIED: _ClassVar[Verdict]
    VERDICT_COUNTED: _ClassVar[Verdict]
    VERDICT_DUPLICATE: _ClassVar[Verdict]
    VERDICT_LATE: _ClassVar[Verdict]

class UpdateKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    UPDATE_KIND_UNSPECIFIED: _ClassVar[UpdateKind]
    UPDATE_KIND_SNAPSHOT: _ClassVar[UpdateKind]
    UPDATE_KIND_CHANGE: _ClassVar[UpdateKind]
    UPDATE_KIND_WEIGHTS: _ClassVar[UpdateKind]
ROLE_UNSPECIFIED: Role
ROLE_PARAMETER: Role
ROLE_BUFFER: Role
ROLE_FROZEN: Role
PUSH_KIND_UNSPECIFIED: PushKind
PUSH_KIND_WEIGHTS: PushKind
PUSH_KIND_GRADIENT: PushKind
VERDICT_UNSPECIFIED: Verdict
VERDICT_COUNTED: Verdict
VERDICT_DUPLICATE: Verdict
VERDICT_LATE: Verdict
UPDATE_KIND_UNSPECIFIED: UpdateKind
UPDATE_KIND_SNAPSHOT: UpdateKind
UPDATE_KIND_CHANGE: UpdateKind
UPDATE_KIND_WEIGHTS: UpdateKind

class TensorSpec(_message.Message):
    __slots__ = ("name", "shape", "dtype", "role", "group")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    name: str
    shape: _containers.RepeatedScalarFieldContainer[int]
    dtype: str
    role: Role
    group: int
    def __init__(self, name: _Optional[str] = ..., shape: _Optional[_Iterable[int]] = ..., dtype: _Optional[str] = ..., role: _Optional[_Union[Role, str]] = ..., group: _Optional[int] = ...) -> None: ...

class ParameterGroup(_message.Message):
    __slots__ = ("options",)
    class OptionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    options: _containers.ScalarMap[str, float]
    def __init__(self, options: _Optional[_Mapping[str, float]] = ...) -> None: ...

class Manifest(_message.Message):
    __slots__ = ("tensors", "groups")
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    tensors: _containers.RepeatedCompositeFieldContainer[TensorSpec]
    groups: _containers.RepeatedCompositeFieldContainer[ParameterGroup]
    def __init__(self, tensors: _Optional[_Iterable[_Union[TensorSpec, _Mapping]]] = ..., groups: _Optional[_Iterable[_Union[ParameterGroup, _Mapping]]] = ...) -> None: ...

class SettingsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SettingsReply(_message.Message):
    __slots__ = ("settings",)
    class SettingsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    settings: _containers.ScalarMap[str, str]
    def __init__(self, settings: _Optional[_Mapping[str, str]] = ...) -> None: ...

class OptimizerChoice(_message.Message):
    __slots__ = ("name", "options")
    NAME_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    name: str
    options: str
    def __init__(self, name: _Optional[str] = ..., options: _Optional[str] = ...) -> None: ...

class JoinRequest(_message.Message):
    __slots__ = ("worker_id", "package_version", "protocol_version", "frame_version", "manifest", "settings", "slot", "manifest_digest", "claim", "optimizer")
    class SettingsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    PACKAGE_VERSION_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    FRAME_VERSION_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    SLOT_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_DIGEST_FIELD_NUMBER: _ClassVar[int]
    CLAIM_FIELD_NUMBER: _ClassVar[int]
    OPTIMIZER_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    package_version: str
    protocol_version: int
    frame_version: int
    manifest: Manifest
    settings: _containers.ScalarMap[str, str]
    slot: int
    manifest_digest: bytes
    claim: bytes
    optimizer: OptimizerChoice
    def __init__(self, worker_id: _Optional[str] = ..., package_version: _Optional[str] = ..., protocol_version: _Optional[int] = ..., frame_version: _Optional[int] = ..., manifest: _Optional[_Union[Manifest, _Mapping]] = ..., settings: _Optional[_Mapping[str, str]] = ..., slot: _Optional[int] = ..., manifest_digest: _Optional[bytes] = ..., claim: _Optional[bytes] = ..., optimizer: _Optional[_Union[OptimizerChoice, _Mapping]] = ...) -> None: ...

class Introduction(_message.Message):
    __slots__ = ("join", "manifest")
    JOIN_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    join: JoinRequest
    manifest: bytes
    def __init__(self, join: _Optional[_Union[JoinRequest, _Mapping]] = ..., manifest: _Optional[bytes] = ...) -> None: ...

class JoinReply(_message.Message):
    __slots__ = ("session", "slot", "slots", "version", "rounds", "weights_wanted", "heartbeat_ms", "method", "limits", "buffers_every", "evaluate_every", "run", "run_id", "late_weight", "asynchronous", "manifest_wanted", "broadcast", "optimizer", "groups", "fixed_rate", "fixed_options", "overruled", "sampled")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    SLOT_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ROUNDS_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_WANTED_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_MS_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    BUFFERS_EVERY_FIELD_NUMBER: _ClassVar[int]
    EVALUATE_EVERY_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    LATE_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    ASYNCHRONOUS_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_WANTED_FIELD_NUMBER: _ClassVar[int]
    BROADCAST_FIELD_NUMBER: _ClassVar[int]
    OPTIMIZER_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    FIXED_RATE_FIELD_NUMBER: _ClassVar[int]
    FIXED_OPTIONS_FIELD_NUMBER: _ClassVar[int]
    OVERRULED_FIELD_NUMBER: _ClassVar[int]
    SAMPLED_FIELD_NUMBER: _ClassVar[int]
    session: str
    slot: int
    slots: int
    version: int
    rounds: int
    weights_wanted: bool
    heartbeat_ms: int
    method: Method
    limits: Limits
    buffers_every: int
    evaluate_every: int
    run: str
    run_id: str
    late_weight: float
    asynchronous: bool
    manifest_wanted: bool
    broadcast: Method
    optimizer: OptimizerChoice
    groups: _containers.RepeatedCompositeFieldContainer[ParameterGroup]
    fixed_rate: bool
    fixed_options: bool
    overruled: str
    sampled: bool
    def __init__(self, session: _Optional[str] = ..., slot: _Optional[int] = ..., slots: _Optional[int] = ..., version: _Optional[int] = ..., rounds: _Optional[int] = ..., weights_wanted: bool = ..., heartbeat_ms: _Optional[int] = ..., method: _Optional[_Union[Method, _Mapping]] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ..., buffers_every: _Optional[int] = ..., evaluate_every: _Optional[int] = ..., run: _Optional[str] = ..., run_id: _Optional[str] = ..., late_weight: _Optional[float] = ..., asynchronous: bool = ..., manifest_wanted: bool = ..., broadcast: _Optional[_Union[Method, _Mapping]] = ..., optimizer: _Optional[_Union[OptimizerChoice, _Mapping]] = ..., groups: _Optional[_Iterable[_Union[ParameterGroup, _Mapping]]] = ..., fixed_rate: bool = ..., fixed_options: bool = ..., overruled: _Optional[str] = ..., sampled: bool = ...) -> None: ...

class Method(_message.Message):
    __slots__ = ("name", "options")
    NAME_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    name: str
    options: str
    def __init__(self, name: _Optional[str] = ..., options: _Optional[str] = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ("rate_up", "rate_down", "burst", "chunk_bytes", "share_up", "transfer_seconds", "whole_bytes")
    RATE_UP_FIELD_NUMBER: _ClassVar[int]
    RATE_DOWN_FIELD_NUMBER: _ClassVar[int]
    BURST_FIELD_NUMBER: _ClassVar[int]
    CHUNK_BYTES_FIELD_NUMBER: _ClassVar[int]
    SHARE_UP_FIELD_NUMBER: _ClassVar[int]
    TRANSFER_SECONDS_FIELD_NUMBER: _ClassVar[int]
    WHOLE_BYTES_FIELD_NUMBER: _ClassVar[int]
    rate_up: int
    rate_down: int
    burst: int
    chunk_bytes: int
    share_up: int
    transfer_seconds: float
    whole_bytes: int
    def __init__(self, rate_up: _Optional[int] = ..., rate_down: _Optional[int] = ..., burst: _Optional[int] = ..., chunk_bytes: _Optional[int] = ..., share_up: _Optional[int] = ..., transfer_seconds: _Optional[float] = ..., whole_bytes: _Optional[int] = ...) -> None: ...

class LimitRequest(_message.Message):
    __slots__ = ("worker_id", "changes")
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    changes: LimitChanges
    def __init__(self, worker_id: _Optional[str] = ..., changes: _Optional[_Union[LimitChanges, _Mapping]] = ...) -> None: ...

class LimitChanges(_message.Message):
    __slots__ = ("rate_up", "rate_down", "burst", "shared_up", "shared_down", "burst_shared", "window")
    RATE_UP_FIELD_NUMBER: _ClassVar[int]
    RATE_DOWN_FIELD_NUMBER: _ClassVar[int]
    BURST_FIELD_NUMBER: _ClassVar[int]
    SHARED_UP_FIELD_NUMBER: _ClassVar[int]
    SHARED_DOWN_FIELD_NUMBER: _ClassVar[int]
    BURST_SHARED_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    rate_up: int
    rate_down: int
    burst: int
    shared_up: int
    shared_down: int
    burst_shared: int
    window: int
    def __init__(self, rate_up: _Optional[int] = ..., rate_down: _Optional[int] = ..., burst: _Optional[int] = ..., shared_up: _Optional[int] = ..., shared_down: _Optional[int] = ..., burst_shared: _Optional[int] = ..., window: _Optional[int] = ...) -> None: ...

class LimitReply(_message.Message):
    __slots__ = ("limits",)
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    limits: LimitChanges
    def __init__(self, limits: _Optional[_Union[LimitChanges, _Mapping]] = ...) -> None: ...

class HeartbeatRequest(_message.Message):
    __slots__ = ("session",)
    SESSION_FIELD_NUMBER: _ClassVar[int]
    session: str
    def __init__(self, session: _Optional[str] = ...) -> None: ...

class HeartbeatReply(_message.Message):
    __slots__ = ("weights_wanted", "version", "limits", "heartbeat_ms", "wait")
    WEIGHTS_WANTED_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_MS_FIELD_NUMBER: _ClassVar[int]
    WAIT_FIELD_NUMBER: _ClassVar[int]
    weights_wanted: bool
    version: int
    limits: Limits
    heartbeat_ms: int
    wait: Wait
    def __init__(self, weights_wanted: bool = ..., version: _Optional[int] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ..., heartbeat_ms: _Optional[int] = ..., wait: _Optional[_Union[Wait, _Mapping]] = ...) -> None: ...

class Wait(_message.Message):
    __slots__ = ("what", "seconds")
    WHAT_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    what: str
    seconds: float
    def __init__(self, what: _Optional[str] = ..., seconds: _Optional[float] = ...) -> None: ...

class LeaveRequest(_message.Message):
    __slots__ = ("session", "reason", "finished")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    session: str
    reason: str
    finished: bool
    def __init__(self, session: _Optional[str] = ..., reason: _Optional[str] = ..., finished: bool = ...) -> None: ...

class LeaveReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class TurnRequest(_message.Message):
    __slots__ = ("session", "version")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    session: str
    version: int
    def __init__(self, session: _Optional[str] = ..., version: _Optional[int] = ...) -> None: ...

class TurnReply(_message.Message):
    __slots__ = ("round",)
    ROUND_FIELD_NUMBER: _ClassVar[int]
    round: int
    def __init__(self, round: _Optional[int] = ...) -> None: ...

class PushMessage(_message.Message):
    __slots__ = ("header", "chunk", "end", "whole")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    WHOLE_FIELD_NUMBER: _ClassVar[int]
    header: PushHeader
    chunk: Chunk
    end: PushEnd
    whole: WholePush
    def __init__(self, header: _Optional[_Union[PushHeader, _Mapping]] = ..., chunk: _Optional[_Union[Chunk, _Mapping]] = ..., end: _Optional[_Union[PushEnd, _Mapping]] = ..., whole: _Optional[_Union[WholePush, _Mapping]] = ...) -> None: ...

class WholePush(_message.Message):
    __slots__ = ("header", "data", "end")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    header: PushHeader
    data: bytes
    end: PushEnd
    def __init__(self, header: _Optional[_Union[PushHeader, _Mapping]] = ..., data: _Optional[bytes] = ..., end: _Optional[_Union[PushEnd, _Mapping]] = ...) -> None: ...

class PushHeader(_message.Message):
    __slots__ = ("session", "kind", "round", "base_version", "samples", "with_buffers", "family", "offset")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    BASE_VERSION_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    WITH_BUFFERS_FIELD_NUMBER: _ClassVar[int]
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    session: str
    kind: PushKind
    round: int
    base_version: int
    samples: int
    with_buffers: bool
    family: str
    offset: int
    def __init__(self, session: _Optional[str] = ..., kind: _Optional[_Union[PushKind, str]] = ..., round: _Optional[int] = ..., base_version: _Optional[int] = ..., samples: _Optional[int] = ..., with_buffers: bool = ..., family: _Optional[str] = ..., offset: _Optional[int] = ...) -> None: ...

class StagedRequest(_message.Message):
    __slots__ = ("session", "kind", "round", "with_buffers")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    WITH_BUFFERS_FIELD_NUMBER: _ClassVar[int]
    session: str
    kind: PushKind
    round: int
    with_buffers: bool
    def __init__(self, session: _Optional[str] = ..., kind: _Optional[_Union[PushKind, str]] = ..., round: _Optional[int] = ..., with_buffers: bool = ...) -> None: ...

class StagedReply(_message.Message):
    __slots__ = ("length", "digest")
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    length: int
    digest: int
    def __init__(self, length: _Optional[int] = ..., digest: _Optional[int] = ...) -> None: ...

class Chunk(_message.Message):
    __slots__ = ("offset", "data")
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    offset: int
    data: bytes
    def __init__(self, offset: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...

class PushEnd(_message.Message):
    __slots__ = ("length", "loss", "times", "budget", "groups")
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    TIMES_FIELD_NUMBER: _ClassVar[int]
    BUDGET_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    length: int
    loss: float
    times: StepTimes
    budget: int
    groups: _containers.RepeatedCompositeFieldContainer[ParameterGroup]
    def __init__(self, length: _Optional[int] = ..., loss: _Optional[float] = ..., times: _Optional[_Union[StepTimes, _Mapping]] = ..., budget: _Optional[int] = ..., groups: _Optional[_Iterable[_Union[ParameterGroup, _Mapping]]] = ...) -> None: ...

class StepTimes(_message.Message):
    __slots__ = ("compute", "copy", "fit", "encode", "send", "wait")
    COMPUTE_FIELD_NUMBER: _ClassVar[int]
    COPY_FIELD_NUMBER: _ClassVar[int]
    FIT_FIELD_NUMBER: _ClassVar[int]
    ENCODE_FIELD_NUMBER: _ClassVar[int]
    SEND_FIELD_NUMBER: _ClassVar[int]
    WAIT_FIELD_NUMBER: _ClassVar[int]
    compute: float
    copy: float
    fit: float
    encode: float
    send: float
    wait: float
    def __init__(self, compute: _Optional[float] = ..., copy: _Optional[float] = ..., fit: _Optional[float] = ..., encode: _Optional[float] = ..., send: _Optional[float] = ..., wait: _Optional[float] = ...) -> None: ...

class Receipt(_message.Message):
    __slots__ = ("verdict", "round", "length", "digest", "version")
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    verdict: Verdict
    round: int
    length: int
    digest: int
    version: int
    def __init__(self, verdict: _Optional[_Union[Verdict, str]] = ..., round: _Optional[int] = ..., length: _Optional[int] = ..., digest: _Optional[int] = ..., version: _Optional[int] = ...) -> None: ...

class WatchRequest(_message.Message):
    __slots__ = ("session", "have_version", "held")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    HAVE_VERSION_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    session: str
    have_version: int
    held: bytes
    def __init__(self, session: _Optional[str] = ..., have_version: _Optional[int] = ..., held: _Optional[bytes] = ...) -> None: ...

class WatchMessage(_message.Message):
    __slots__ = ("header", "chunk", "end", "run_end", "whole")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    RUN_END_FIELD_NUMBER: _ClassVar[int]
    WHOLE_FIELD_NUMBER: _ClassVar[int]
    header: UpdateHeader
    chunk: Chunk
    end: UpdateEnd
    run_end: RunEnd
    whole: WholeUpdate
    def __init__(self, header: _Optional[_Union[UpdateHeader, _Mapping]] = ..., chunk: _Optional[_Union[Chunk, _Mapping]] = ..., end: _Optional[_Union[UpdateEnd, _Mapping]] = ..., run_end: _Optional[_Union[RunEnd, _Mapping]] = ..., whole: _Optional[_Union[WholeUpdate, _Mapping]] = ...) -> None: ...

class WholeUpdate(_message.Message):
    __slots__ = ("header", "data", "end")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    header: UpdateHeader
    data: bytes
    end: UpdateEnd
    def __init__(self, header: _Optional[_Union[UpdateHeader, _Mapping]] = ..., data: _Optional[bytes] = ..., end: _Optional[_Union[UpdateEnd, _Mapping]] = ...) -> None: ...

class UpdateHeader(_message.Message):
    __slots__ = ("version", "kind", "with_buffers", "groups", "left_out", "length")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    WITH_BUFFERS_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    version: int
    kind: UpdateKind
    with_buffers: bool
    groups: _containers.RepeatedCompositeFieldContainer[ParameterGroup]
    left_out: bytes
    length: int
    def __init__(self, version: _Optional[int] = ..., kind: _Optional[_Union[UpdateKind, str]] = ..., with_buffers: bool = ..., groups: _Optional[_Iterable[_Union[ParameterGroup, _Mapping]]] = ..., left_out: _Optional[bytes] = ..., length: _Optional[int] = ...) -> None: ...

class UpdateEnd(_message.Message):
    __slots__ = ("length", "digest")
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    length: int
    digest: int
    def __init__(self, length: _Optional[int] = ..., digest: _Optional[int] = ...) -> None: ...

class RunEnd(_message.Message):
    __slots__ = ("version", "reason")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    version: int
    reason: str
    def __init__(self, version: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class EvaluationReport(_message.Message):
    __slots__ = ("session", "version", "metrics")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    session: str
    version: int
    metrics: _containers.RepeatedCompositeFieldContainer[Metric]
    def __init__(self, session: _Optional[str] = ..., version: _Optional[int] = ..., metrics: _Optional[_Iterable[_Union[Metric, _Mapping]]] = ...) -> None: ...

class Metric(_message.Message):
    __slots__ = ("name", "sum", "count", "lower_is_better", "kind", "state")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SUM_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    LOWER_IS_BETTER_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    name: str
    sum: float
    count: int
    lower_is_better: bool
    kind: str
    state: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, name: _Optional[str] = ..., sum: _Optional[float] = ..., count: _Optional[int] = ..., lower_is_better: bool = ..., kind: _Optional[str] = ..., state: _Optional[_Iterable[float]] = ...) -> None: ...

class ReportReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StatusRequest(_message.Message):
    __slots__ = ("after_round",)
    AFTER_ROUND_FIELD_NUMBER: _ClassVar[int]
    after_round: int
    def __init__(self, after_round: _Optional[int] = ...) -> None: ...

class StatusReply(_message.Message):
    __slots__ = ("run", "package_version", "phase", "version", "rounds", "slots", "parameters", "workers", "records", "evaluations", "bytes_setup", "seconds", "wait", "paused", "removed", "privacy", "sampled")
    RUN_FIELD_NUMBER: _ClassVar[int]
    PACKAGE_VERSION_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ROUNDS_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    EVALUATIONS_FIELD_NUMBER: _ClassVar[int]
    BYTES_SETUP_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    WAIT_FIELD_NUMBER: _ClassVar[int]
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    PRIVACY_FIELD_NUMBER: _ClassVar[int]
    SAMPLED_FIELD_NUMBER: _ClassVar[int]
    run: str
    package_version: str
    phase: str
    version: int
    rounds: int
    slots: int
    parameters: int
    workers: _containers.RepeatedCompositeFieldContainer[WorkerStatus]
    records: _containers.RepeatedCompositeFieldContainer[RoundRecord]
    evaluations: _containers.RepeatedCompositeFieldContainer[Evaluation]
    bytes_setup: int
    seconds: float
    wait: Wait
    paused: str
    removed: _containers.RepeatedCompositeFieldContainer[Removed]
    privacy: Privacy
    sampled: int
    def __init__(self, run: _Optional[str] = ..., package_version: _Optional[str] = ..., phase: _Optional[str] = ..., version: _Optional[int] = ..., rounds: _Optional[int] = ..., slots: _Optional[int] = ..., parameters: _Optional[int] = ..., workers: _Optional[_Iterable[_Union[WorkerStatus, _Mapping]]] = ..., records: _Optional[_Iterable[_Union[RoundRecord, _Mapping]]] = ..., evaluations: _Optional[_Iterable[_Union[Evaluation, _Mapping]]] = ..., bytes_setup: _Optional[int] = ..., seconds: _Optional[float] = ..., wait: _Optional[_Union[Wait, _Mapping]] = ..., paused: _Optional[str] = ..., removed: _Optional[_Iterable[_Union[Removed, _Mapping]]] = ..., privacy: _Optional[_Union[Privacy, _Mapping]] = ..., sampled: _Optional[int] = ...) -> None: ...

class Privacy(_message.Message):
    __slots__ = ("epsilon", "delta", "noise_multiplier")
    EPSILON_FIELD_NUMBER: _ClassVar[int]
    DELTA_FIELD_NUMBER: _ClassVar[int]
    NOISE_MULTIPLIER_FIELD_NUMBER: _ClassVar[int]
    epsilon: float
    delta: float
    noise_multiplier: float
    def __init__(self, epsilon: _Optional[float] = ..., delta: _Optional[float] = ..., noise_multiplier: _Optional[float] = ...) -> None: ...

class Removed(_message.Message):
    __slots__ = ("worker_id", "reason")
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    reason: str
    def __init__(self, worker_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class WorkerStatus(_message.Message):
    __slots__ = ("worker_id", "slot", "alive", "last_round", "bytes_up", "bytes_down", "limited_up", "limited_down", "budget", "spent", "tokens_up", "tokens_down", "refused", "refused_reason", "quarantined", "missed_rounds", "left_out", "clipped", "clip_scale", "outlying", "gone", "rate_up", "rate_down", "samples", "pushes", "loss")
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    SLOT_FIELD_NUMBER: _ClassVar[int]
    ALIVE_FIELD_NUMBER: _ClassVar[int]
    LAST_ROUND_FIELD_NUMBER: _ClassVar[int]
    BYTES_UP_FIELD_NUMBER: _ClassVar[int]
    BYTES_DOWN_FIELD_NUMBER: _ClassVar[int]
    LIMITED_UP_FIELD_NUMBER: _ClassVar[int]
    LIMITED_DOWN_FIELD_NUMBER: _ClassVar[int]
    BUDGET_FIELD_NUMBER: _ClassVar[int]
    SPENT_FIELD_NUMBER: _ClassVar[int]
    TOKENS_UP_FIELD_NUMBER: _ClassVar[int]
    TOKENS_DOWN_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_REASON_FIELD_NUMBER: _ClassVar[int]
    QUARANTINED_FIELD_NUMBER: _ClassVar[int]
    MISSED_ROUNDS_FIELD_NUMBER: _ClassVar[int]
    LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    CLIPPED_FIELD_NUMBER: _ClassVar[int]
    CLIP_SCALE_FIELD_NUMBER: _ClassVar[int]
    OUTLYING_FIELD_NUMBER: _ClassVar[int]
    GONE_FIELD_NUMBER: _ClassVar[int]
    RATE_UP_FIELD_NUMBER: _ClassVar[int]
    RATE_DOWN_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    PUSHES_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    slot: int
    alive: bool
    last_round: int
    bytes_up: int
    bytes_down: int
    limited_up: float
    limited_down: float
    budget: int
    spent: int
    tokens_up: int
    tokens_down: int
    refused: int
    refused_reason: str
    quarantined: bool
    missed_rounds: int
    left_out: bool
    clipped: int
    clip_scale: float
    outlying: int
    gone: str
    rate_up: int
    rate_down: int
    samples: int
    pushes: int
    loss: float
    def __init__(self, worker_id: _Optional[str] = ..., slot: _Optional[int] = ..., alive: bool = ..., last_round: _Optional[int] = ..., bytes_up: _Optional[int] = ..., bytes_down: _Optional[int] = ..., limited_up: _Optional[float] = ..., limited_down: _Optional[float] = ..., budget: _Optional[int] = ..., spent: _Optional[int] = ..., tokens_up: _Optional[int] = ..., tokens_down: _Optional[int] = ..., refused: _Optional[int] = ..., refused_reason: _Optional[str] = ..., quarantined: bool = ..., missed_rounds: _Optional[int] = ..., left_out: bool = ..., clipped: _Optional[int] = ..., clip_scale: _Optional[float] = ..., outlying: _Optional[int] = ..., gone: _Optional[str] = ..., rate_up: _Optional[int] = ..., rate_down: _Optional[int] = ..., samples: _Optional[int] = ..., pushes: _Optional[int] = ..., loss: _Optional[float] = ...) -> None: ...

class RoundRecord(_message.Message):
    __slots__ = ("round", "contributors", "samples", "loss", "bytes_up", "bytes_down", "bits_up", "bits_down", "seconds", "server_times", "worker_times", "learning_rate", "budget", "spent", "payload_up", "payload_down", "budget_down")
    ROUND_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTORS_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    BYTES_UP_FIELD_NUMBER: _ClassVar[int]
    BYTES_DOWN_FIELD_NUMBER: _ClassVar[int]
    BITS_UP_FIELD_NUMBER: _ClassVar[int]
    BITS_DOWN_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    SERVER_TIMES_FIELD_NUMBER: _ClassVar[int]
    WORKER_TIMES_FIELD_NUMBER: _ClassVar[int]
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    BUDGET_FIELD_NUMBER: _ClassVar[int]
    SPENT_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_UP_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_DOWN_FIELD_NUMBER: _ClassVar[int]
    BUDGET_DOWN_FIELD_NUMBER: _ClassVar[int]
    round: int
    contributors: int
    samples: int
    loss: float
    bytes_up: int
    bytes_down: int
    bits_up: float
    bits_down: float
    seconds: float
    server_times: ServerTimes
    worker_times: StepTimes
    learning_rate: float
    budget: int
    spent: int
    payload_up: int
    payload_down: int
    budget_down: int
    def __init__(self, round: _Optional[int] = ..., contributors: _Optional[int] = ..., samples: _Optional[int] = ..., loss: _Optional[float] = ..., bytes_up: _Optional[int] = ..., bytes_down: _Optional[int] = ..., bits_up: _Optional[float] = ..., bits_down: _Optional[float] = ..., seconds: _Optional[float] = ..., server_times: _Optional[_Union[ServerTimes, _Mapping]] = ..., worker_times: _Optional[_Union[StepTimes, _Mapping]] = ..., learning_rate: _Optional[float] = ..., budget: _Optional[int] = ..., spent: _Optional[int] = ..., payload_up: _Optional[int] = ..., payload_down: _Optional[int] = ..., budget_down: _Optional[int] = ...) -> None: ...

class ServerTimes(_message.Message):
    __slots__ = ("decode", "step", "encode")
    DECODE_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    ENCODE_FIELD_NUMBER: _ClassVar[int]
    decode: float
    step: float
    encode: float
    def __init__(self, decode: _Optional[float] = ..., step: _Optional[float] = ..., encode: _Optional[float] = ...) -> None: ...

class Evaluation(_message.Message):
    __slots__ = ("version", "metrics")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    version: int
    metrics: _containers.RepeatedCompositeFieldContainer[Metric]
    def __init__(self, version: _Optional[int] = ..., metrics: _Optional[_Iterable[_Union[Metric, _Mapping]]] = ...) -> None: ...

class PauseRequest(_message.Message):
    __slots__ = ("paused", "reason")
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    paused: bool
    reason: str
    def __init__(self, paused: bool = ..., reason: _Optional[str] = ...) -> None: ...

class PauseReply(_message.Message):
    __slots__ = ("version",)
    VERSION_FIELD_NUMBER: _ClassVar[int]
    version: int
    def __init__(self, version: _Optional[int] = ...) -> None: ...

class CheckpointRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CheckpointReply(_message.Message):
    __slots__ = ("version",)
    VERSION_FIELD_NUMBER: _ClassVar[int]
    version: int
    def __init__(self, version: _Optional[int] = ...) -> None: ...

class RemoveRequest(_message.Message):
    __slots__ = ("worker_id", "reason")
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    reason: str
    def __init__(self, worker_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class RemoveReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class AdmitRequest(_message.Message):
    __slots__ = ("worker_id",)
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    def __init__(self, worker_id: _Optional[str] = ...) -> None: ...

class AdmitReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

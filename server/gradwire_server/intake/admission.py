"""What a worker must agree with before it may join, versions, model, settings, and before it may push."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Self

from gradwire_common import __version__
from gradwire_common.codec.frames import FRAME_VERSION
from gradwire_common.errors import ConfigError, JoinError, ModelMismatchError, UsageError, WorkerIdError
from gradwire_common.foreign_text import printable
from gradwire_common.layout.buffers import BufferSchedule
from gradwire_common.layout.manifest import Layout, Manifest
from gradwire_common.methods.frames import ENTRIES
from gradwire_common.settings.config import ServedRun
from gradwire_common.settings.names import check_name
from gradwire_common.transport.bounds import MAX_VERSION_TEXT
from gradwire_common.transport.channel import PROTOCOL_VERSION
from gradwire_common.transport.packing import digest_of, pack, parse, unpack
from gradwire_common.v1 import parameter_server_pb2 as pb

MAX_LINES = 3  # differences that a refusal names
MAX_NAMES = 10  # workers that a refusal names
MAX_CHARACTERS = 64  # of a name or value that a refusal repeats


def check_worker_id(worker_id: str) -> None:
    """Raise WorkerIdError unless the id of a worker is a name: it stands in logs, tables, labels and file names."""
    try:
        check_name("worker id", worker_id)
    except ConfigError as error:
        raise WorkerIdError(str(error)) from None


def check_versions(request: pb.JoinRequest) -> None:
    """Raise JoinError unless worker and server speak the same protocol and the same frames."""
    for what, got, want in (
        ("protocol version", request.protocol_version, PROTOCOL_VERSION),
        ("frame version", request.frame_version, FRAME_VERSION),
    ):
        if got != want:
            raise JoinError(
                f"{what}: got {got} (gradwire {printable(request.package_version, MAX_VERSION_TEXT) or 'unknown'}), "
                f"want {want} (gradwire {__version__})"
            )


@dataclass(frozen=True, slots=True)
class ReadManifest:
    """A manifest that a worker sent, checked; `packed` and `digest` are those of its serialized form."""

    manifest: Manifest
    packed: bytes
    digest: bytes

    @classmethod
    def of(cls, got: bytes, run: Manifest | None, *, is_packed: bool) -> Self:
        """Read what a worker sent, for a run of the manifest `run`, None where this one is to define it.

        Raises:
            ModelMismatchError: it is no manifest, it differs from the run's, or this server cannot train it.
        """
        data = unpack(got) if is_packed else got
        manifest = parse(data)
        if run is not None:
            check_same_model(run, manifest)
        return cls(manifest, got if is_packed else pack(data), digest_of(data))


def check_same_model(run: Manifest, worker: Manifest) -> None:
    """Raise ModelMismatchError, naming the first tensors that differ, unless both manifests are the same."""
    lines = run.differences(worker)
    if lines:
        raise ModelMismatchError(f"model differs from the run's: {_first(lines)}")


def check_same_settings(run: Mapping[str, str], worker: Mapping[str, str]) -> None:
    """Raise JoinError, naming the first settings that differ, unless both are the same."""
    if lines := _differences(run, worker):
        raise JoinError(f"settings differ from the run's: {_first(lines)}")


def check_has_joined(worker_id: str, known: Collection[str]) -> None:
    """Raise UsageError, naming the workers that have joined, unless `worker_id` is one of them."""
    if worker_id not in known:
        names = ", ".join(sorted(known)[:MAX_NAMES]) + (
            f" and {len(known) - MAX_NAMES} more" * (len(known) > MAX_NAMES)
        )
        raise UsageError(
            f"worker: got {worker_id[:MAX_CHARACTERS]!r}, want one that has joined: {names or 'none has yet'}"
        )


def check_resumed(run: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise ConfigError, naming the first settings that differ, unless a run is resumed with those it was made with."""
    if lines := _differences(run, now):
        raise ConfigError(
            f"settings differ from those of the run to resume: {_first(lines)}; another --name begins another run, and "
            "--no-resume one in its place, which sets this one aside"
        )


def check_gradient(header: pb.PushHeader, settings: ServedRun, layout: Layout, delay: int) -> None:
    """Raise UsageError, naming what differs, unless a push of a gradient is as this run wants it.

    Args:
        header: of the push.
        settings: of the run.
        layout: of its model.
        delay: versions that the weights may be older than the newest.
    """
    what = f"push for round {header.round}"
    if header.kind != pb.PUSH_KIND_GRADIENT:
        raise UsageError(f"{what}: got kind {header.kind}, want {pb.PUSH_KIND_WEIGHTS} or {pb.PUSH_KIND_GRADIENT}")
    if not 1 <= header.round - header.base_version <= 1 + delay:
        want = f", or {delay} less" if delay else ""
        raise UsageError(f"{what}: got base version {header.base_version}, want the round - 1{want}")
    if header.samples < 1:
        raise UsageError(f"{what}: got {header.samples} samples, want at least 1")
    schedule = BufferSchedule(settings.buffers_every, settings.rounds)
    if layout.n_buffers and header.with_buffers != schedule.due(header.round):
        got = "with" if header.with_buffers else "without"
        raise UsageError(f"{what}: got it {got} buffers, want them {schedule}")
    family = header.family or ENTRIES
    if family != settings.uplink.family:
        raise UsageError(f"{what}: got frames of {family!r}, want {settings.uplink.family!r}")


def _differences(want: Mapping[str, Any], got: Mapping[str, Any]) -> list[str]:
    return [
        f"{name}: got {_short(got.get(name, 'nothing'))}, want {_short(want.get(name, 'nothing'))}"
        for name in sorted({*want, *got})
        if want.get(name) != got.get(name)
    ]


def _short(value: object) -> str:
    return printable(str(value), MAX_CHARACTERS)


def _first(lines: list[str]) -> str:
    more = f"; and {len(lines) - MAX_LINES} more" if len(lines) > MAX_LINES else ""
    return "; ".join(lines[:MAX_LINES]) + more

"""What a worker says of itself when it joins."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version as package_version
from typing import Self

from gradwire_common.codec.frames import FRAME_VERSION
from gradwire_common.layout.manifest import Manifest
from gradwire_common.transport.channel import PROTOCOL_VERSION
from gradwire_common.transport.packing import INLINE_BYTES, digest_of, pack, pieces, serialize
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_worker.session.options import SessionOptions


@dataclass(frozen=True)
class Introduction:
    """A worker's request to join, and the manifest that follows where the server asks for it.

    Attributes:
        request: holds the manifest where it is short, else its digest alone.
        packed: the manifest as it travels in pieces; empty where the request holds it.
    """

    request: pb.JoinRequest
    packed: bytes

    @classmethod
    def of(cls, manifest: Manifest, options: SessionOptions) -> Self:
        """Return the introduction of a worker that trains a model of `manifest`."""
        serialized = serialize(manifest)
        inline = len(serialized) <= INLINE_BYTES
        request = pb.JoinRequest(
            worker_id=options.worker_id,
            package_version=package_version("gradwire"),
            protocol_version=PROTOCOL_VERSION,
            frame_version=FRAME_VERSION,
            manifest=pb.Manifest.FromString(serialized) if inline else None,
            manifest_digest=digest_of(serialized),
            settings=dict(options.settings),
            slot=options.slot,
            claim=options.claim,
            optimizer=None if options.optimizer is None else options.optimizer.to_message(),
        )
        return cls(request, b"" if inline else pack(serialized))

    def messages(self) -> Iterator[pb.Introduction]:
        """Yield the request, then the manifest in pieces."""
        yield pb.Introduction(join=self.request)
        for piece in pieces(self.packed):
            yield pb.Introduction(manifest=piece)

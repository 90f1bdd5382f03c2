"""A push that was cut continues after its last good chunk."""

import itertools
import zlib
from pathlib import Path

import grpc
import pytest
from numpy.testing import assert_array_equal

from gradwire_common.errors import BitstreamError, UnavailableError
from gradwire_common.methods.update import largest_update
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_server.intake.partial import Partials
from gradwire_server.intake.staging import Staging
from running import running_server
from server.plain_worker import MANIFEST, PlainWorker, gradient_of, initial_weights, plain_workers, refused, run_config
from server.test_push import stepped

CHUNK = 1000
UNITS = MANIFEST.layout.parameters


def cut(worker: PlainWorker, messages: list[pb.PushMessage], n_chunks: int) -> int:
    """Send the header and `n_chunks`, and no more; return how many bytes the server holds."""
    with pytest.raises(grpc.RpcError, match="push stops with None"):
        worker.send(messages[: 1 + n_chunks])
    return worker.staged(messages[0].header.round).length


def rest_of(messages: list[pb.PushMessage], offset: int) -> list[pb.PushMessage]:
    """Return what is left of a push of which `offset` bytes are held."""
    header = pb.PushMessage(header=messages[0].header)
    header.header.offset = offset
    return [header, *(message for message in messages[1:-1] if message.chunk.offset >= offset), messages[-1]]


def test_a_push_goes_on_where_it_was_cut_however_often(tmp_path: Path) -> None:
    with running_server(run_config(tmp_path, workers=1)) as server, plain_workers(server.address, 1) as (a,):
        a.begin()
        a.chunk_bytes = CHUNK
        messages = list(a.gradient_messages(gradient_of(0), 1))
        whole = b"".join(message.chunk.data for message in messages)
        offset = 0
        for n_chunks in (3, 1, 5):
            held = cut(a, rest_of(messages, offset), n_chunks)
            assert held == offset + n_chunks * CHUNK
            assert a.staged(1) == pb.StagedReply(length=held, digest=zlib.adler32(whole[:held]))
            offset = held
        assert a.staged(2).length == 0
        receipt = a.send(rest_of(messages, offset))
        assert (receipt.verdict, receipt.length, receipt.digest) == (
            pb.VERDICT_COUNTED,
            len(whole),
            zlib.adler32(whole),
        )
        a.receive()
        assert_array_equal(a.flat, stepped(initial_weights(), (gradient_of(0), 1)))
        assert a.staged(1).length == 0


def test_a_push_that_goes_on_elsewhere_than_it_was_cut_begins_anew(tmp_path: Path) -> None:
    with running_server(run_config(tmp_path, workers=1)) as server, plain_workers(server.address, 1) as (a,):
        a.begin()
        a.chunk_bytes = CHUNK
        messages = list(a.gradient_messages(gradient_of(0), 1))
        with refused(UnavailableError, "push for round 1: got one that continues at byte 1000, want 0"):
            a.send(rest_of(messages, CHUNK))
        cut(a, messages, 3)
        with refused(UnavailableError, "push for round 1: got one that continues at byte 2000, want 3000"):
            a.send(rest_of(messages, 2 * CHUNK))
        cut(a, messages, 3)
        with refused(BitstreamError, "chunk begins at byte 4000, want 3000"):
            a.send([*rest_of(messages, 3 * CHUNK)[:1], *rest_of(messages, 4 * CHUNK)[1:]])
        assert a.send(messages).verdict == pb.VERDICT_COUNTED
        a.receive()
        assert_array_equal(a.flat, stepped(initial_weights(), (gradient_of(0), 1)))


def test_pushes_that_were_cut_take_no_more_room_than_one_whole_one() -> None:
    """Of several too long together, the newest stay."""
    capacity = largest_update(UNITS)
    partials = Partials(capacity)
    length = capacity // 3 + 1
    for worker, round_ in itertools.product("abcd", (1, 2)):
        header = pb.PushHeader(kind=pb.PUSH_KIND_GRADIENT, round=round_)
        partial = partials.begin(worker, header, Staging(UNITS, capacity))
        partial.staging._data += bytes(length)
        partials.keep(worker, partial)
        assert partials.n_bytes <= capacity
    kind = pb.PUSH_KIND_GRADIENT
    held = [
        (worker, round_) for worker in "abcd" for round_ in (1, 2) if partials.staged(worker, (kind, round_, False))
    ]
    assert held == [("c", 2), ("d", 2)]
    partials.drop("c")
    partials.drop_closed(1)
    assert partials.n_bytes == length
    partials.drop_closed(2)
    assert partials.n_bytes == 0


@pytest.mark.parametrize("what", ["kind", "round", "with_buffers"])
def test_another_push_does_not_go_on_with_one_that_was_cut(what: str) -> None:
    partials = Partials(100)
    header = pb.PushHeader(kind=pb.PUSH_KIND_GRADIENT, round=7)
    partial = partials.begin("a", header, Staging(UNITS, 100))
    partial.staging._data += b"12345"
    partials.keep("a", partial)
    header.offset = 5
    setattr(header, what, 1)
    with pytest.raises(UnavailableError, match="continues at byte 5, want 0"):
        partials.begin("a", header, Staging(UNITS, 100))

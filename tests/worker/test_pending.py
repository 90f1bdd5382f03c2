"""A push on its way repeats the same bytes, and waits for frames that are not made yet."""

import threading
import zlib

from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_worker.session.pending import PendingPush


def pending() -> PendingPush:
    return PendingPush(pb.PUSH_KIND_GRADIENT, round=3, base_version=2, samples=64)


def data_of(messages: list[pb.PushMessage]) -> bytes:
    return b"".join(message.chunk.data for message in messages)


def test_messages_are_a_header_chunks_and_an_end():
    push = pending()
    push.append(b"abcde")
    push.append(b"fgh")
    push.close(loss=0.5)
    header, *chunks, end = push.messages("s1", chunk_bytes=lambda: 3)
    assert (header.header.session, header.header.round, header.header.samples) == ("s1", 3, 64)
    assert [(chunk.chunk.offset, chunk.chunk.data) for chunk in chunks] == [(0, b"abc"), (3, b"def"), (6, b"gh")]
    assert (end.end.length, end.end.loss) == (8, 0.5)


def test_a_repeated_push_repeats_the_same_bytes_under_the_new_session():
    push = pending()
    push.append(bytes(range(100)))
    first = push.messages("s1", chunk_bytes=lambda: 16)
    begun = [next(first) for _ in range(3)]
    push.append(bytes(50))
    push.close()
    again = list(push.messages("s2", chunk_bytes=lambda: 16))
    assert again[0].header.session == "s2"
    assert data_of(begun + list(first)) == data_of(again) == bytes(range(100)) + bytes(50)


def test_chunks_leave_before_the_last_frame_is_made():
    push = pending()
    messages = push.messages("s", chunk_bytes=lambda: 4)
    next(messages)
    push.append(b"12345")
    assert next(messages).chunk.data == b"1234"
    got: list[pb.PushMessage] = []
    rest = threading.Thread(target=lambda: got.extend(messages))
    rest.start()
    push.append(b"678")
    push.close()
    rest.join(60)
    assert data_of(got) == b"5678"


def test_a_push_goes_on_after_any_byte():
    push = pending()
    for frame in (b"first", b"", b"second", b"third"):
        push.append(frame)
    push.close()
    whole = b"firstsecondthird"
    for offset in range(len(whole) + 1):
        header, *chunks, end = push.messages("s", chunk_bytes=lambda: 4, offset=offset)
        assert header.header.offset == offset
        got = b""
        for message in chunks:
            assert message.chunk.offset == offset + len(got)
            got += message.chunk.data
        assert (got, end.end.length) == (whole[offset:], len(whole))
        assert push.begins_with(offset, zlib.adler32(whole[:offset]))
        assert offset == 0 or not push.begins_with(offset, 1 ^ zlib.adler32(whole[:offset]))
    assert not push.begins_with(len(whole) + 1, zlib.adler32(whole + b"x"))


def test_an_abandoned_push_has_no_end():
    push = pending()
    push.append(b"123")
    push.abandon()
    assert [message.WhichOneof("part") for message in push.messages("s", lambda: 4)] == ["header"]


def test_a_short_push_is_one_message_once_all_of_it_is_there():
    push = pending()
    push.append(b"abcde")
    got: list[pb.PushMessage] = []
    sending = threading.Thread(target=lambda: got.extend(push.messages("s", lambda: 4, whole_bytes=8)))
    sending.start()
    push.append(b"fgh")
    push.close(loss=0.5)
    sending.join(60)
    (message,) = got
    assert (message.whole.header.session, message.whole.data, message.whole.end.length) == ("s", b"abcdefgh", 8)
    parts = [each.WhichOneof("part") for each in push.messages("s", lambda: 4, whole_bytes=7)]
    assert parts == ["header", "chunk", "chunk", "end"]
    parts = [each.WhichOneof("part") for each in push.messages("s", lambda: 4, offset=5, whole_bytes=8)]
    assert parts == ["header", "chunk", "end"]


def test_an_abandoned_short_push_has_no_end_either():
    push = pending()
    push.append(b"123")
    push.abandon()
    assert [message.WhichOneof("part") for message in push.messages("s", lambda: 4, whole_bytes=8)] == ["header"]

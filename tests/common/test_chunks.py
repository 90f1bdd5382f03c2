import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradwire_common.errors import BitstreamError
from gradwire_common.transport.chunks import MAX_CHUNK, MIN_CHUNK, chunk_size, split
from joining import Joiner


@given(st.lists(st.binary(max_size=50)), st.integers(1, 60))
def test_join_is_the_inverse_of_split(frames, size):
    whole = b"".join(frames)
    joiner = Joiner(limit=len(whole))
    pieces = list(split(frames, lambda: size))
    for piece in pieces:
        joiner.add(joiner.length, piece)
    assert joiner.join(len(whole)) == whole
    assert all(len(piece) == size for piece in pieces[:-1])
    assert all(0 < len(piece) <= size for piece in pieces)


def test_a_chunk_leaves_before_the_next_frame_is_made():
    made = []

    def frames():
        for i in range(3):
            made.append(i)
            yield bytes(10)

    pieces = split(frames(), lambda: 10)
    next(pieces)
    assert made == [0]


def test_a_chunk_that_holds_enough_leaves_with_the_end_of_its_frame():
    frames = [bytes(MIN_CHUNK - 1), b"a", bytes(MIN_CHUNK + 5), b"b", b"c"]
    assert [len(piece) for piece in split(frames, lambda: MAX_CHUNK)] == [MIN_CHUNK, MIN_CHUNK + 5, 2]


@pytest.mark.parametrize(("rate", "size"), [(0, MAX_CHUNK), (1e3, MIN_CHUNK), (2.5e6, 250_000), (1e9, MAX_CHUNK)])
def test_a_chunk_holds_a_tenth_of_a_second_within_limits(rate, size):
    assert chunk_size(rate) == size


def test_a_gap_between_chunks_is_refused():
    joiner = Joiner(limit=100)
    joiner.add(0, b"abc")
    with pytest.raises(BitstreamError, match="begins at byte 4, want 3"):
        joiner.add(4, b"e")


def test_more_bytes_than_the_model_can_take_are_refused():
    with pytest.raises(BitstreamError, match="more than 2 bytes"):
        Joiner(limit=2).add(0, b"abc")


def test_fewer_bytes_than_announced_are_refused():
    joiner = Joiner(limit=100)
    joiner.add(0, b"abc")
    with pytest.raises(BitstreamError, match="got 3 bytes, want 4"):
        joiner.join(4)

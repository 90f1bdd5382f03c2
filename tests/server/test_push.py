"""A push counts once, wholly or not at all."""

import itertools
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from gradwire_common.codec.formats import Float32
from gradwire_common.codec.headers import FrameHeader, build_header
from gradwire_common.errors import (
    BitstreamError,
    GradwireError,
    JoinError,
    NonFiniteError,
    UnavailableError,
    UsageError,
)
from gradwire_common.methods.entropy import Entropy
from gradwire_common.methods.method import Method
from gradwire_common.methods.raw import Raw
from gradwire_common.methods.transforms.coefficients import to_coefficients
from gradwire_common.settings.config import Config
from gradwire_common.transport.chunks import WHOLE_BYTES
from gradwire_common.v1 import parameter_server_pb2 as pb
from running import eventually, running_server
from server.plain_worker import (
    MANIFEST,
    PlainWorker,
    beating,
    gradient_of,
    initial_weights,
    plain_workers,
    refused,
    run_config,
)

N = MANIFEST.layout.n_parameters
METHODS = [
    Raw(),
    Entropy(quantizer="bfloat16"),
    Entropy(quantizer="float8-1-5-2"),
    Entropy(quantizer="float4-1-2-1"),
    Entropy(quantizer="uniform", bits=1.0),
]


def stepped(weights: np.ndarray, *pushes: tuple[np.ndarray, int]) -> np.ndarray:
    """The oracle: SGD at lr 0.1 by the mean of (gradient, samples), summed in the order given."""
    total = np.zeros(N, np.float32)
    for gradient, samples in pushes:
        total += np.float32(samples) * gradient
    weights = weights.copy()
    mean = total / np.float32(sum(samples for _, samples in pushes))
    torch.from_numpy(weights[:N]).add_(torch.from_numpy(mean), alpha=-0.1)
    return weights


def test_the_sum_is_in_the_order_of_slots_whatever_the_order_of_arrival(tmp_path: Path) -> None:
    gradients = [gradient_of(i) * np.float32(10.0**i) for i in range(3)]
    want = stepped(initial_weights(), *((gradient, i + 1) for i, gradient in enumerate(gradients)))
    for order in itertools.permutations(range(3)):
        config = run_config(tmp_path, workers=3)
        with running_server(config) as server, plain_workers(server.address, 3) as workers:
            for worker in workers:
                worker.begin()
            for i in order:
                workers[i].push(gradients[i], 1, samples=i + 1)
            workers[0].receive()
            assert_array_equal(workers[0].flat, want)


def test_buffers_are_averaged_by_samples_every_so_many_rounds(tmp_path: Path) -> None:
    config = run_config(tmp_path, buffers_every=2)
    both = N + MANIFEST.layout.n_buffers
    with running_server(config) as server, plain_workers(server.address, 2) as (a, b):
        for worker in (a, b):
            worker.begin()
        before = a.flat.copy()
        with refused(UsageError, "push for round 1: got it with buffers, want them every 2 rounds"):
            a.push(gradient_of(0, both), 1)
        for worker in (a, b):
            worker.push(gradient_of(0), 1)
        for worker in (a, b):
            assert not worker.receive().with_buffers
        assert_array_equal(a.flat[N:], before[N:])
        values = gradient_of(1, both), gradient_of(2, both)
        for worker, sent, samples in ((a, values[0], 1), (b, values[1], 3)):
            worker.push(sent, 2, samples)
        total = np.float32(1) * values[0][N:]
        total += np.float32(3) * values[1][N:]
        for worker in (a, b):
            assert worker.receive().with_buffers
            assert_array_equal(worker.flat[N:both], total / np.float32(4))
            assert_array_equal(worker.flat[both:], before[both:])


def test_a_second_push_changes_nothing_and_is_told_so(tmp_path: Path) -> None:
    with running_server(run_config(tmp_path)) as server, plain_workers(server.address, 2) as (a, b):
        a.begin()
        b.begin()
        assert a.push(gradient_of(0), 1).verdict == pb.VERDICT_COUNTED
        assert a.push(gradient_of(9), 1).verdict == pb.VERDICT_DUPLICATE
        b.push(gradient_of(1), 1)
        a.receive()
        assert_array_equal(a.flat, stepped(initial_weights(), (gradient_of(0), 1), (gradient_of(1), 1)))


def test_a_push_that_is_one_message_counts_as_the_same_in_chunks_does(tmp_path: Path) -> None:
    with running_server(run_config(tmp_path)) as server, plain_workers(server.address, 2) as (a, b):
        assert a.begin().joined.limits.whole_bytes == WHOLE_BYTES
        b.begin()
        receipts = []
        for worker, seed in ((a, 0), (b, 1)):
            messages = list(worker.gradient_messages(gradient_of(seed), 1, 3 + seed))
            whole = worker.whole(messages)
            receipts += [worker.send([whole]), worker.send([whole] if worker is a else messages)]
        assert [receipt.verdict for receipt in receipts] == [pb.VERDICT_COUNTED, pb.VERDICT_DUPLICATE] * 2
        assert receipts[0].digest == receipts[1].digest != receipts[2].digest == receipts[3].digest
        a.receive()
        assert_array_equal(a.flat, stepped(initial_weights(), (gradient_of(0), 3), (gradient_of(1), 4)))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"data": bytes(WHOLE_BYTES + 1)}, UsageError, "got a push of 32769 bytes in one message, want at most 32768"),
        ({"data": b"nothing"}, BitstreamError, "push ends after 7 bytes, want"),
        ({"data": b""}, BitstreamError, "push ends after 0 bytes, want"),
        ({"header": pb.PushHeader(offset=5)}, UnavailableError, "got one that continues at byte 5, want 0"),
    ],
)
def test_one_message_that_cannot_be_right_is_refused_and_the_right_one_counts(
    tmp_path: Path, change: dict[str, Any], error: type[GradwireError], message: str
) -> None:
    with running_server(run_config(tmp_path, workers=1)) as server, plain_workers(server.address, 1) as (a,):
        a.begin()
        right = a.whole(a.gradient_messages(gradient_of(0), 1))
        wrong = pb.PushMessage.FromString(right.SerializeToString())
        if "data" in change:
            wrong.whole.data = change["data"]
        else:
            wrong.whole.header.MergeFrom(change["header"])
        with refused(error, message):
            a.send([wrong])
        assert a.send([right]).verdict == pb.VERDICT_COUNTED


def test_two_streams_of_one_push_count_once(tmp_path: Path) -> None:
    """The first is held up in the middle while the second, a repetition, arrives whole, and ends the first."""
    with running_server(run_config(tmp_path)) as server, plain_workers(server.address, 2) as (a, b):
        a.begin()
        b.begin()
        a.chunk_bytes = 1000
        go_on = threading.Event()
        messages = list(a.gradient_messages(gradient_of(0), 1))

        def slowly() -> Iterator[pb.PushMessage]:
            yield from messages[:3]
            go_on.wait()
            yield from messages[3:]

        first = a.stub.Push.future(slowly(), timeout=60)
        assert a.send(messages).verdict == pb.VERDICT_COUNTED
        go_on.set()
        with refused(UnavailableError, "push ended: worker a has begun a newer one"):
            first.result()
        assert a.send(messages).verdict == pb.VERDICT_DUPLICATE
        b.push(gradient_of(1), 1)
        a.receive()
        assert_array_equal(a.flat, stepped(initial_weights(), (gradient_of(0), 1), (gradient_of(1), 1)))


def test_the_mean_of_transformed_pushes_is_brought_back_once(tmp_path: Path) -> None:
    with (
        running_server(run_config(tmp_path, quantizer="lossless", transform="dct")) as server,
        plain_workers(server.address, 2) as (a, b),
    ):
        gradients = gradient_of(0), gradient_of(1)
        for worker in (a, b):
            worker.begin()
        for worker, gradient in zip((a, b), gradients, strict=True):
            coefficients = gradient.copy()
            to_coefficients(coefficients, worker.layout, "dct")
            assert not np.array_equal(coefficients, gradient)
            worker.push(coefficients, 1, family="dct coefficients")
        a.receive()
        want = stepped(initial_weights(), (gradients[0], 1), (gradients[1], 1))
        np.testing.assert_allclose(a.flat, want, atol=1e-6)


def test_a_repeated_push_is_a_duplicate_even_of_a_closed_round_and_one_for_a_later_round_refused(
    tmp_path: Path,
) -> None:
    with running_server(run_config(tmp_path)) as server, plain_workers(server.address, 2) as (a, b):
        a.begin()
        b.begin()
        first = a.push(gradient_of(0), 1)
        b.push(gradient_of(0), 1)
        a.receive()
        repeated = a.push(gradient_of(1), 1)
        assert (repeated.verdict, repeated.digest) == (pb.VERDICT_DUPLICATE, first.digest)
        with refused(UsageError, "push is for round 9; want one for round 2"):
            a.push(gradient_of(1), 9)
        with refused(UsageError, "push for round 2: got base version 2, want the round - 1"):
            header = pb.PushHeader(session=a.session, kind=pb.PUSH_KIND_GRADIENT, round=2, base_version=2, samples=1)
            a.send(a.messages(header, []))
        with refused(UsageError, "got 0 samples, want at least 1"):
            a.push(gradient_of(1), 2, samples=0)
        with refused(UsageError, "got frames of 'dct coefficients', want 'entries'"):
            a.push(gradient_of(1), 2, family="dct coefficients")


@pytest.mark.parametrize("n_messages", [0, 1, 2, 5, -1])
def test_a_push_that_stops_anywhere_counts_for_nothing(tmp_path: Path, n_messages: int) -> None:
    with running_server(run_config(tmp_path, workers=1)) as server, plain_workers(server.address, 1) as (a,):
        a.begin()
        a.chunk_bytes = 1000
        messages = list(a.gradient_messages(gradient_of(5), 1))[:n_messages]
        kind, match = (BitstreamError, "push stops with None") if n_messages else (UsageError, "begins with nothing")
        with refused(kind, match):
            a.send(messages)
        assert a.push(gradient_of(0), 1).verdict == pb.VERDICT_COUNTED
        a.receive()
        assert_array_equal(a.flat, stepped(initial_weights(), (gradient_of(0), 1)))


def test_a_worker_that_vanishes_in_the_middle_of_a_push_leaves_no_trace(tmp_path: Path) -> None:
    """Its connection breaks; the round continues without it after a heartbeat and a half."""
    config = run_config(tmp_path, heartbeat=1.0)
    with running_server(config) as server, plain_workers(server.address, 2) as (a, b):
        a.begin()
        b.begin()
        b.chunk_bytes = 1000
        sent, never = threading.Event(), threading.Event()

        def half() -> Iterator[pb.PushMessage]:
            yield from itertools.islice(b.gradient_messages(gradient_of(9), 1), 4)
            sent.set()
            never.wait()

        call = b.stub.Push.future(half())
        assert sent.wait(60)
        b.channel.close()
        never.set()
        call.cancel()
        with beating(a):
            a.push(gradient_of(0), 1)
            a.receive()
            assert a.version == 1
            assert_array_equal(a.flat, stepped(initial_weights(), (gradient_of(0), 1)))
            (record,) = eventually(lambda: a.status().records)  # final once the server knows what `a` has
            assert record.contributors == 1
            assert [worker.alive for worker in a.status().workers] == [True, False]


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_a_damaged_push_is_refused_by_the_name_of_the_tensor(tmp_path: Path, method: Method) -> None:
    with running_server(run_config(tmp_path, workers=1)) as server, plain_workers(server.address, 1) as (a,):
        a.begin()
        messages = list(a.gradient_messages(gradient_of(0), 1, method=method))
        whole = b"".join(message.chunk.data for message in messages[1:-1])
        rng = np.random.default_rng(0)
        for place in [*rng.integers(0, len(whole), 20), 0, len(whole) - 1]:
            damaged = bytearray(whole)
            damaged[place] ^= 1 << int(rng.integers(8))
            with refused(BitstreamError, r"frame of (dense|conv)\."):
                a.send(a.messages(messages[0].header, [bytes(damaged)]))
        assert a.send(messages).verdict == pb.VERDICT_COUNTED


@pytest.mark.parametrize(
    ("times", "less", "message"),
    [
        (1, 1, "got .* bytes, want the"),
        (2, 0, "got more than .* bytes, the most"),
        (0, 0, "frame of dense.weight: frame header"),
    ],
)
def test_too_much_and_too_little_is_refused(tmp_path: Path, times: int, less: int, message: str) -> None:
    with running_server(run_config(tmp_path, workers=1)) as server, plain_workers(server.address, 1) as (a,):
        a.begin()
        messages = list(a.gradient_messages(gradient_of(0), 1))
        whole = b"".join(part.chunk.data for part in messages[1:-1])
        with refused(BitstreamError, message):
            a.send(a.messages(messages[0].header, [(times * whole)[: times * len(whole) - less]]))


def test_chunks_out_of_place_too_long_or_miscounted_are_refused(tmp_path: Path) -> None:
    with running_server(run_config(tmp_path, workers=1)) as server, plain_workers(server.address, 1) as (a,):
        a.begin()
        header, *chunks, end = a.gradient_messages(gradient_of(0), 1)
        chunk = pb.PushMessage(chunk=pb.Chunk(data=b"".join(part.chunk.data for part in chunks)))
        moved = pb.PushMessage(chunk=pb.Chunk(offset=3, data=chunk.chunk.data))
        with refused(BitstreamError, "chunk begins at byte 3, want 0"):
            a.send([header, moved, end])
        with refused(BitstreamError, r"push ends after \d+ bytes, want 1$"):
            a.send([header, chunk, pb.PushMessage(end=pb.PushEnd(length=1))])
        long = pb.PushMessage(chunk=pb.Chunk(data=bytes((1 << 20) + 1)))
        with refused(UsageError, "got a chunk of 1048577 bytes, want at most 1048576"):
            a.send([header, long, end])
        with refused(BitstreamError, "push stops with header"):
            a.send([header, header, chunk, end])
        with refused(UsageError, "push begins with chunk, want a header"):
            a.send([chunk, end])


def raw_frame(values: np.ndarray) -> bytes:
    """Return a float32 frame as somebody would make it who checks nothing."""
    frame = build_header(FrameHeader(Float32(), len(values), values.nbytes + 4)) + values.tobytes()
    return frame + zlib.crc32(frame).to_bytes(4, "little")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_frame_that_is_not_finite_is_refused_before_it_counts(tmp_path: Path, value: float) -> None:
    with running_server(run_config(tmp_path, workers=1)) as server, plain_workers(server.address, 1) as (a,):
        a.begin()
        units = [np.zeros(len(unit), np.float32) for unit in a.layout.parameters]
        header = next(iter(a.gradient_messages(gradient_of(0), 1))).header
        units[1][7] = value
        with refused(BitstreamError, r"frame of conv.weight and 2 more: .*(NaN|infinity)"):
            a.send(a.messages(header, map(raw_frame, units)))
        assert a.status().version == 0
        units[1][7] = 0
        assert a.send(a.messages(header, map(raw_frame, units))).verdict == pb.VERDICT_COUNTED


def test_gradients_that_diverge_end_the_run_by_the_name_of_the_tensor(tmp_path: Path) -> None:
    config = run_config(tmp_path, workers=1, lr=3e38)
    with pytest.raises(NonFiniteError, match=r"weights of version 1: dense.weight: got .*; a lower lr may help"):
        _diverge(config)


def _diverge(config: Config) -> None:
    with running_server(config) as server, plain_workers(server.address, 1) as (a,):
        a.begin()
        a.push(gradient_of(0) * 100, 1)
        assert "weights of version 1" in a.receive().reason
        a.leave()
        server.join()


def test_the_push_of_an_ended_session_does_not_count(tmp_path: Path) -> None:
    with running_server(run_config(tmp_path)) as server, plain_workers(server.address, 2) as (a, b):
        a.begin()
        b.begin()
        again = PlainWorker(server.address, "a")
        messages = list(a.gradient_messages(gradient_of(0), 1))
        again.join()
        with refused(JoinError, "session ended: worker a joined again"):
            a.send(messages)
        again.watch()
        again.receive()
        again.push(gradient_of(2), 1)
        b.push(gradient_of(3), 1)
        again.receive()
        assert_array_equal(again.flat, stepped(initial_weights(), (gradient_of(2), 1), (gradient_of(3), 1)))
        again.channel.close()

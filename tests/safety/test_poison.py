"""What counts can be applied: no push ends a run, now or when it is resumed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from torch import nn

from gradwire_common.codec.formats import BFloat16, Float32, Minifloat, Quantizer, Uniform
from gradwire_common.codec.formats.minifloat import FLOAT4_1_2_1, FLOAT8_1_5_2
from gradwire_common.codec.frames import encode_frame, read_header
from gradwire_common.codec.headers import MIN_SEGMENT, build_header
from gradwire_common.errors import BitstreamError, NonFiniteError, RangeError, UsageError
from gradwire_common.layout.manifest import Manifest, Role, TensorSpec
from gradwire_common.methods.entropy import Entropy
from gradwire_common.methods.frames import encode_exact
from gradwire_common.methods.method import MAX_ENTRY, EncodeReport
from gradwire_common.methods.raw import Raw
from gradwire_common.methods.update import check_finite
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_server.aggregation.mean import WeightedMean
from gradwire_server.aggregation.push import Push
from gradwire_server.aggregation.registry import AGGREGATIONS
from gradwire_worker.remote_optimizer import RemoteOptimizer
from gradwire_worker.session import SessionOptions
from gradwire_worker.sources.during_backward import DuringBackward
from gradwire_worker.sources.frame_source import Source
from gradwire_worker.sources.in_step import InStep
from running import copy_as_killed, eventually, running_server
from safety.honest import SAMPLES, HonestPair, honest_pair, serving, undisturbed
from server.plain_worker import MANIFEST, PlainWorker, gradient_of, initial_weights, plain_workers, refused, run_config
from worker.toys import batches, loss_of, perceptron, server_config, take_step

N = MANIFEST.layout.n_parameters
LAYOUT = MANIFEST.layout
ROUNDS = 4


@contextmanager
def run_with_a_third(tmp_path: Path, **changes: Any) -> Iterator[tuple[HonestPair, PlainWorker]]:
    """An honest run, and a third worker that has joined; the honest ones must end with the undisturbed bits."""
    with serving(run_config(tmp_path, rounds=ROUNDS, **changes)) as server, honest_pair(server.address) as pair:
        pair.begin()
        pair.play()
        evil = PlainWorker(server.address, "evil")
        evil.join()
        yield pair, evil
        pair.play(ROUNDS - pair.version)
        evil.channel.close()
        assert_array_equal(pair.end(server), undisturbed(ROUNDS))


def messages(worker: PlainWorker, frames: list[bytes], end: pb.PushEnd | None = None, **header: Any) -> list[Any]:
    """Return a push of `frames` for round 2."""
    told = {"round": 2, "base_version": 1, "samples": 1, **header}
    made = list(worker.messages(pb.PushHeader(session=worker.session, kind=pb.PUSH_KIND_GRADIENT, **told), frames))
    if end is not None:
        made[-1].end.MergeFrom(end)
    return made


def frames_by(quantizer: Quantizer, value: float, *, raw: bool = False) -> list[bytes]:
    """Return frames of zeros, and of `value` at entry 5 of the dense weight."""
    values = np.zeros(N, np.float32)
    values[LAYOUT.slots["dense.weight"].start + 5] = value
    return [encode_frame(values[unit.place], quantizer, raw=raw) for unit in LAYOUT.parameters]


@pytest.mark.parametrize(
    ("quantizer", "value", "raw"),
    [
        (Float32(), 1e30, True),
        (Float32(), -3.4e38, False),
        (Float32(), 1.1e15, True),
        (BFloat16(), 3.3e38, False),
        (Uniform(2.0**126), 3e38, False),
        (Uniform(2.0**30), 1e15, False),
        (Minifloat(FLOAT8_1_5_2, 2.0**-100), -1e30, False),
        (Minifloat(FLOAT4_1_2_1, 1e-20), 1e20, True),
    ],
    ids=str,
)
def test_an_entry_whose_sum_could_overflow_is_refused_by_its_tensor(tmp_path, quantizer, value, raw):
    with run_with_a_third(tmp_path) as (pair, evil):
        for whole in (False, True):
            push = messages(evil, frames_by(quantizer, value, raw=raw), samples=2**32)
            with refused(
                RangeError, r"dense\.weight: got .* at entry 5 \(1 of 6144 .*want magnitudes of at most 1e\+15"
            ):
                evil.send([evil.whole(push)] if whole else push)
        assert pair.workers[0].status().version == 1


@pytest.mark.parametrize(
    ("header", "end", "message"),
    [
        ({"samples": 2**32 + 1}, {}, "samples: got 4294967297, want a whole number from 0 to 4294967296"),
        ({"samples": 2**62}, {}, "samples: got"),
        ({"samples": 2**64 - 1}, {}, "samples: got"),
        ({}, {"budget": 2**48}, "budget: got 281474976710656"),
        ({}, {"budget": 2**63}, "budget: got"),
        ({}, {"loss": np.inf}, "loss: got inf, want .*, or NaN for unknown"),
        ({}, {"loss": -np.inf}, "loss: got -inf"),
        ({}, {"times": {"compute": np.inf}}, "StepTimes: compute: got inf, want a number from 0 to"),
        ({}, {"times": {"wait": np.nan}}, "StepTimes: wait: got nan"),
        ({}, {"times": {"send": -1e-9}}, "StepTimes: send: got -1e-09"),
        ({}, {"times": {"copy": 1e8}}, r"StepTimes: copy: got 1e\+08"),
        ({"round": 2**63, "base_version": 2**63 - 1}, {}, "round: got"),
        ({"family": "x" * 65}, {}, "family: got 65 characters, want at most 64"),
    ],
)
def test_numbers_that_cannot_be_are_refused_before_they_count(tmp_path, header, end, message):
    with run_with_a_third(tmp_path) as (_, evil):
        for whole in (False, True):
            push = messages(evil, frames_by(Float32(), 0.0, raw=True), pb.PushEnd(**end), **header)
            with refused(RangeError, message):
                evil.send([evil.whole(push)] if whole else push)


@pytest.mark.parametrize(
    ("optimizer", "quantizer"),
    [("Adam", "float32"), ("SGD", "uniform"), ("Adagrad", "float8-1-5-2"), ("RMSprop", "bfloat16")],
)
def test_the_largest_that_may_be_pushed_can_be_applied_and_again_after_a_kill(tmp_path, optimizer, quantizer):
    runs, copy = tmp_path / "runs", tmp_path / "copy"
    changes: dict[str, Any] = {"optimizer": optimizer, "quantizer": quantizer, "lr": 10.0, "workers": 3, "rounds": 4}
    changes |= {"most_samples": 2**32 - 1, "buffers_every": 1}
    values = np.full(N + LAYOUT.n_buffers, 0.99 * MAX_ENTRY, np.float32)
    with serving(run_config(runs, **changes)) as server, plain_workers(server.address, 3) as workers:
        for worker in workers:
            worker.begin()
        for round_ in range(1, 5):
            for worker in workers:
                worker.push(values, round_, samples=2**32)
            if round_ == 3:
                copy_as_killed(runs, copy)
            for worker in workers:
                assert worker.receive().version == round_
        for worker in workers:
            worker.leave()
        server.join()
    with serving(run_config(copy, **changes, resume=True)) as server, plain_workers(server.address, 1) as (a,):
        eventually(lambda: a.status().version >= 3)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"lr": 1e4, "weight_decay": 1e4}, r"lr \* weight_decay: got 1e\+08, want at most 1"),
        ({"lr": 0.1, "momentum": 1e4}, "momentum: got 10000, want at most 1"),
        ({"lr": 0.1, "momentum": 1.5}, "momentum: got 1.5"),
        ({"lr": 1e30}, "want a number of at most 10000"),
    ],
)
def test_options_that_would_make_the_weights_grow_step_by_step_are_refused(tmp_path, options, told):
    """A worker may set them, where its settings leave that to workers: the one of the lowest slot decides."""
    with serving(run_config(tmp_path, rounds=8)) as server, plain_workers(server.address, 2) as (evil, b):
        for worker in (evil, b):
            worker.begin()
        for round_ in range(1, 9):
            push = list(evil.gradient_messages(gradient_of(round_), round_))
            push[-1].end.groups.add(options=options)
            with refused(UsageError, told):
                evil.send(push)
            for worker in (evil, b):
                worker.push(gradient_of(round_), round_)
            for worker in (evil, b):
                assert worker.receive().version == round_
        for worker in (evil, b):
            worker.leave()
        server.join()


def test_initial_weights_that_no_change_could_reach_are_refused(tmp_path):
    with serving(run_config(tmp_path)) as server, plain_workers(server.address, 2) as (a, b):
        a.join()
        weights = initial_weights()
        weights[LAYOUT.slots["conv.bias"].start] = -2e38
        with refused(RangeError, r"conv\.bias: got -.*e\+38 at entry 0"):
            a.push_weights(weights)
        assert a.push_weights(initial_weights()).verdict == pb.VERDICT_COUNTED
        assert b.begin().version == 0


# ------------------------------------------------------------------------------------------------------- buffers

MASKED = Manifest((*MANIFEST.tensors, TensorSpec("attention.mask", (4, 4), role=Role.BUFFER)))
LOWEST = float(np.finfo(np.float32).min)


def masked_weights() -> np.ndarray:
    weights = initial_weights(MASKED.layout.size)
    mask = weights[MASKED.layout.slots["attention.mask"]].reshape(4, 4)
    mask[:] = 0
    mask[np.triu_indices(4, 1)] = LOWEST
    return weights


@pytest.mark.parametrize("method", [Raw(), Entropy(quantizer="uniform", bits=2.0)], ids=["raw", "entropy"])
def test_masks_among_the_buffers_stay_as_they_are(tmp_path, method):
    layout, first = MASKED.layout, masked_weights()
    quantizer = "float32" if isinstance(method, Raw) else "uniform"
    config = run_config(tmp_path, quantizer=quantizer, buffers_every=1, rounds=3)
    with serving(config) as server, honest_pair(server.address, MASKED) as pair:
        pair.begin(first)
        for round_ in (1, 2, 3):
            for worker in pair.workers:
                update = worker.flat[: layout.n_parameters + layout.n_buffers].copy()
                update[: layout.n_parameters] = gradient_of(round_, layout.n_parameters)
                update[layout.slots["norm.mean"]] = round_
                worker.send(worker.gradient_messages(update, round_, 64, method))
            for worker in pair.workers:
                assert worker.receive().version == round_
        got = pair.end(server)
    assert_array_equal(got[layout.slots["attention.mask"]], first[layout.slots["attention.mask"]])
    assert_array_equal(got[layout.slots["norm.mean"]], 3.0)


@pytest.mark.parametrize("value", [3e38, LOWEST / 2, 1e16])
def test_buffers_that_are_no_masks_of_the_run_are_refused(tmp_path, value):
    layout = MASKED.layout
    config = run_config(tmp_path, rounds=2, buffers_every=1)
    with serving(config) as server, honest_pair(server.address, MASKED) as pair:
        pair.begin(masked_weights())
        evil = PlainWorker(server.address, "evil", MASKED)
        evil.join()
        for name in ("attention.mask", "norm.mean"):
            update = np.zeros(layout.n_parameters + layout.n_buffers, np.float32)
            update[layout.slots[name]] = value
            with refused(RangeError, rf"{name}: got .* at entry 0"):
                evil.push(update, 1, samples=8)
        evil.channel.close()
        for round_ in (1, 2):
            for worker in pair.workers:
                worker.push(worker.flat[: layout.n_parameters + layout.n_buffers], round_, SAMPLES)
            for worker in pair.workers:
                assert worker.receive().version == round_
        pair.end(server)


# ---------------------------------------------------------------------------------------- rules from outside


class Rotten(WeightedMean):
    """A mean that is not finite where a push has 13 samples."""

    def add(self, push: Push, slot: int) -> None:
        super().add(push, slot)
        if push.samples == 13:
            self._sum[7] = np.inf


@pytest.fixture
def rotten(monkeypatch):
    monkeypatch.setitem(AGGREGATIONS._siblings, "rotten", Rotten)


def test_pushes_whose_mean_is_not_finite_count_as_zero_and_the_run_continues(tmp_path, rotten, caplog):
    config = run_config(tmp_path, aggregation="rotten", rounds=3)
    with serving(config) as server, plain_workers(server.address, 2) as (a, b):
        for worker in (a, b):
            worker.begin()
        for round_, samples in ((1, 1), (2, 13), (3, 1)):
            before = a.flat.copy()
            a.push(gradient_of(round_), round_, samples)
            b.push(gradient_of(round_), round_)
            assert a.receive().version == b.receive().version == round_
            assert np.array_equal(before, a.flat) == (round_ == 2)
        told = [worker.refused_reason for worker in a.status().workers]
        assert all("round 2: dense.weight: got inf at entry 7" in reason for reason in told)
        for worker in (a, b):
            worker.leave()
        server.join()
    assert "the pushes of a, b are dropped and count as zero" in caplog.text


def test_a_worker_whose_push_alone_makes_the_mean_infinite_is_quarantined(tmp_path, rotten):
    config = run_config(tmp_path, aggregation="rotten", mode="asynchronous", workers=1, rounds=3)
    with serving(config) as server, plain_workers(server.address, 2) as (a, b):
        for worker in (a, b):
            worker.begin()
        a.push(gradient_of(1), 1, 13)
        assert a.receive().version == 1
        with refused(UsageError, r"worker a is quarantined .*round 1: dense\.weight: got inf at entry 7"):
            a.push(gradient_of(1), 2)
        b.receive()
        for round_ in (2, 3):
            b.push(gradient_of(1), round_)
            assert b.receive().version == round_
        a_status, b_status = a.status().workers
        assert (a_status.quarantined, b_status.quarantined) == (True, False)


# ------------------------------------------------------------------------------------------------- the worker's side


@pytest.mark.parametrize(
    "method", [Raw(), Entropy(quantizer="bfloat16"), Entropy(bits=2.0), Entropy(quantizer="lossless")]
)
def test_an_encoder_refuses_what_a_server_would_before_the_first_frame(method):
    values = gradient_of(1)
    values[LAYOUT.slots["dense.bias"].start + 3] = 2e15
    memory = np.zeros(N, np.float32)
    encoder = method.encoder(LAYOUT, memory)
    with pytest.raises(RangeError, match=r"dense\.bias: got .* at entry 3 .*; a lower lr may help"):
        next(encoder.encode(values, EncodeReport(most=MAX_ENTRY)))
    assert not memory.any()
    next(encoder.encode(values, EncodeReport()))  # without a bound, as the server codes changes of the weights


def test_what_is_not_finite_and_what_is_too_large_are_told_by_name():
    values = np.zeros(LAYOUT.size, np.float32)
    values[LAYOUT.slots["conv.bias"].start + 2] = 1e20
    units = [unit for unit in LAYOUT.parameters if check_finite(values, unit)]
    with pytest.raises(RangeError, match=r"conv\.bias: got 1\.0\d*e\+20 at entry 2"):
        check_finite(values, units[0], 1e15)
    values[LAYOUT.slots["conv.bias"].start + 2] = np.inf
    with pytest.raises(NonFiniteError, match=r"conv\.bias: got inf at entry 2 \(1 of 8 entries"):
        check_finite(values, units[0], 1e15)


@pytest.mark.parametrize("segment", [0, 1, 2, MIN_SEGMENT - 1])
def test_segments_that_cost_more_than_their_entries_are_refused_at_the_header(segment):
    """Two entries a segment cost a decoder 0.4 s a million entries, in place of 0.001."""
    values = gradient_of(2)[: LAYOUT.parameters[0].stop]
    header = read_header(encode_frame(values, Uniform(0.5)))
    assert header.segment_entries >= MIN_SEGMENT
    short = build_header(replace(header, segment_entries=segment)) + bytes(64)
    with pytest.raises(BitstreamError, match=f"has segments of {segment} entries, want {MIN_SEGMENT} to"):
        read_header(short)
    few = replace(header, n_entries=3, segment_entries=3)  # all in one segment
    assert read_header(build_header(few) + bytes(64)).segment_entries == 3


def test_frames_of_any_kind_say_what_they_hold_at_the_most():
    unit = LAYOUT.parameters[0]
    values = gradient_of(3)[unit.place]
    for method in (Raw(), Entropy(quantizer="bfloat16"), Entropy(bits=3.0), Entropy(quantizer="float8-1-4-3")):
        frame = next(iter(method.encoder(LAYOUT).encode(gradient_of(3), EncodeReport())))
        assert np.abs(values).max() * 0.9 <= method.check(frame, unit) <= MAX_ENTRY
    assert next(encode_exact(values, [unit]))


def diverging(tmp_path: Path, source: Source) -> None:
    """Take a good step, and one whose gradients are 1e20 times as large."""
    model, (first, second) = perceptron(), batches(2)
    with (
        running_server(server_config(tmp_path), grace=0.2) as server,
        RemoteOptimizer(model, server.address, source=source, session=SessionOptions(worker_id="a")) as optimizer,
    ):
        take_step(model, optimizer, first)
        optimizer.zero_grad()
        (loss_of(model, second) * 1e20).backward()
        with pytest.raises(RangeError, match=r"0\.weight: got .* at entry \d+ .*; a lower lr may help"):
            optimizer.step()
        assert optimizer.version == 1
        take_step(model, optimizer, second)  # nothing was pushed, and nothing of it is left
        assert optimizer.version == 2
        assert all(torch.isfinite(each).all() and each.abs().max() < 100 for each in model.parameters())


@pytest.mark.parametrize("source", [InStep(), DuringBackward()], ids=lambda source: type(source).__name__)
def test_a_worker_is_told_by_the_name_of_its_tensor_before_anything_is_sent(tmp_path, source):
    diverging(tmp_path, source)


class Masked(nn.Module):
    """A layer, and a causal mask among the buffers, as attention has them."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(80, 4)
        self.register_buffer("mask", torch.full((3, 3), torch.finfo(torch.float32).min).triu(1))
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen += 1
        return self.layer(x)


def test_a_model_with_a_mask_of_the_lowest_numbers_trains(tmp_path):
    model = Masked()
    mask = model.mask.clone()
    with running_server(server_config(tmp_path, buffers_every=1, rounds=3), grace=0.2) as server:
        with RemoteOptimizer(model, server.address, session=SessionOptions(worker_id="a")) as optimizer:
            for batch in batches(3):
                take_step(model, optimizer, batch, samples=64)
        server.join()
    assert torch.equal(model.mask, mask)
    assert model.seen == 3

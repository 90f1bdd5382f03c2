"""A rule of one's own: the coordinate-wise median of all pushes, which one liar among three cannot move."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest
from numpy.testing import assert_allclose

from gradwire_common.errors import ConfigError
from gradwire_common.layout.manifest import Layout, Manifest, TensorSpec
from gradwire_common.methods.entropy import Entropy
from gradwire_common.methods.method import Method
from gradwire_common.methods.update import split_frames
from gradwire_server.aggregation.push import Push
from gradwire_server.aggregation.registry import AGGREGATIONS
from gradwire_server.aggregation.rule import Mean
from running import running_server
from seams.played import ROUNDS, play
from server.plain_worker import gradient_of, initial_weights, plain_workers, refused, run_config

N = len(gradient_of(0))
LARGE = Manifest((TensorSpec("dense.weight", (256, 1024)),))  # 1 MiB of float32


class Median:
    """Keeps a round's frames, and decodes them unit by unit."""

    streams = False

    def __init__(self, layout: Layout, method: Method):
        self.layout, self.method = layout, method
        self.pushes: list[Push] = []

    def add(self, push: Push, slot: int) -> None:
        self.pushes.append(push)

    def finish(self) -> Mean:
        units, pushes = self.layout.parameters, self.pushes
        self.pushes = []
        entries = np.zeros(self.layout.n_parameters + self.layout.n_buffers, np.float32)
        for frames in zip(*(split_frames(push.data, units, self.method) for push in pushes), strict=True):
            unit = frames[0][0]
            decoded = np.empty((len(frames), len(unit)), np.float32)
            for (_, frame), row in zip(frames, decoded, strict=True):
                self.method.decode(frame, unit, row)
            entries[unit.place] = np.median(decoded, axis=0)
        return Mean(entries, with_buffers=False)


AGGREGATIONS.register("middle", Median)


def honest(worker: int, round_: int) -> np.ndarray:
    return gradient_of(10 * round_ + worker)


def of_one_liar(worker: int, round_: int) -> np.ndarray:
    return np.full(N, 1e6, np.float32) if worker == 1 else honest(worker, round_)


def test_a_median_of_three_is_not_moved_by_a_liar_and_survives_a_kill(tmp_path: Path) -> None:
    got = play(tmp_path / "runs", of_one_liar, workers=3, aggregation="middle")
    expected = initial_weights()[:N]
    for round_ in range(1, ROUNDS + 1):
        expected -= np.float32(0.1) * np.maximum(honest(0, round_), honest(2, round_))  # the liar is above both
    assert_allclose(got[:N], expected, rtol=1e-5, atol=1e-6)


def test_pushes_are_decoded_for_it_by_the_method_of_the_run(tmp_path: Path) -> None:
    got = play(tmp_path / "runs", of_one_liar, 3, Entropy(), aggregation="middle", quantizer="uniform")
    assert np.abs(got[:N]).max() < 10


def test_a_rule_that_is_not_registered_is_refused_by_name(tmp_path: Path) -> None:
    with (
        pytest.raises(
            ConfigError,
            match="aggregation: got 'mode', want one of krum, mean, median, middle, multi_krum, radial_mean, "
            "senders_mean, trimmed_mean",
        ),
        running_server(run_config(tmp_path, aggregation="mode")),
    ):
        pass


def test_a_round_that_does_not_fit_in_memory_is_refused_at_join_with_the_numbers(tmp_path: Path) -> None:
    with (
        running_server(run_config(tmp_path, workers=3, aggregation="middle", memory="4 MiB")) as server,
        plain_workers(server.address, 1, manifest=LARGE) as (a,),
        refused(ConfigError, "memory: 3.00 MiB for pushes is too little, since aggregation 'middle' keeps all 3 of"),
    ):
        a.join()


def test_a_run_ends_with_the_reason_where_more_workers_join_than_fit_in_memory(tmp_path: Path) -> None:
    """There is memory for the pushes of four workers, and five have joined."""
    config = run_config(tmp_path, workers=3, aggregation="middle", memory="6 MiB")
    with (
        running_server(config) as server,
        plain_workers(server.address, 5, manifest=LARGE) as them,
        ThreadPoolExecutor(5) as pool,
    ):
        for worker in them:
            worker.begin(np.zeros(1 << 18, np.float32))
        pushes = [pool.submit(worker.push, gradient_of(0, 1 << 18), 1) for worker in them]
        refusals = [str(error) for push in pushes if isinstance(error := push.exception(), grpc.RpcError)]
        assert any("is too little for those of round 1" in refusal for refusal in refusals)
        for worker in them:
            worker.leave()
        with pytest.raises(
            ConfigError, match=r"memory: 4.50 MiB for pushes is too little for those of round 1, all of"
        ):
            server.join()

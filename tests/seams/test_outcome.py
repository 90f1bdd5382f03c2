"""Outcomes of one's own: one publishes a running average of what it steps, one passes the mean on without stepping."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_server.aggregation.rule import Mean
from gradwire_server.outcome.optimizers.optimizer import OptimizerSettings
from gradwire_server.outcome.outcome import ClosedRound, Draft, Kind, Model, State, Version
from gradwire_server.outcome.registry import OUTCOMES
from gradwire_server.outcome.step import coded_version
from running import running_server
from seams.played import ROUNDS, play
from server.plain_worker import gradient_of, initial_weights, plain_workers, run_config

N = len(gradient_of(0))


class Average:
    """Steps weights that nobody sees; what workers get moves half of the way towards them."""

    def __init__(self, model: Model, settings: OptimizerSettings):
        self.model, self.learning_rate = model, settings.lr
        self.ahead: np.ndarray | None = None

    async def version_of(self, closed: ClosedRound, mean: Mean, draft: Draft) -> Version:
        await draft.compute(self.move, mean.entries[:N])
        return await coded_version(self.model, closed, mean, draft)

    def move(self, mean: np.ndarray) -> None:
        weights = self.model.weights.values[:N]
        self.ahead = weights.copy() if self.ahead is None else self.ahead
        self.ahead -= np.float32(self.learning_rate) * mean
        weights += (self.ahead - weights) / 2

    def state(self) -> State:
        ahead = {} if self.ahead is None else {"ahead": torch.from_numpy(self.ahead)}
        return ahead, self.model.downlink.state()

    def load_state(self, tensors: Mapping[str, torch.Tensor], meta: Mapping[str, Any]) -> None:
        self.ahead = tensors["ahead"].numpy().copy() if "ahead" in tensors else None
        self.model.downlink.load_state(meta)


class Relay:
    """Adds the mean to the weights, and is heard of only once all frames are there."""

    learning_rate = 0.0

    def __init__(self, model: Model, settings: OptimizerSettings):
        self.model = model

    async def version_of(self, closed: ClosedRound, mean: Mean, draft: Draft) -> Version:
        if closed.round > ROUNDS:
            raise RuntimeError("there is nothing above")
        self.model.weights.values[:N] += mean.entries[:N]
        frames = tuple(self.model.downlink.frames(mean.entries, with_buffers=False))
        return Version(closed.round, Kind.WEIGHTS, frames, self.model.downlink.digest)

    def state(self) -> State:
        return {}, {}

    def load_state(self, tensors: Mapping[str, torch.Tensor], meta: Mapping[str, Any]) -> None:
        pass


OUTCOMES.register("average", Average)
OUTCOMES.register("relay", Relay)


def gradient(worker: int, round_: int) -> np.ndarray:
    return gradient_of(10 * round_ + worker)


def mean(round_: int) -> np.ndarray:
    return (gradient(0, round_) + gradient(1, round_)) / 2


def test_an_outcome_may_publish_a_running_average_and_survives_a_kill(tmp_path: Path) -> None:
    got = play(tmp_path / "runs", gradient, outcome="average")
    weights = initial_weights()[:N]
    ahead = weights.copy()
    for round_ in range(1, ROUNDS + 1):
        ahead -= np.float32(0.1) * mean(round_)
        weights += (ahead - weights) / 2
    assert_allclose(got[:N], weights, rtol=1e-5, atol=1e-6)


def test_its_versions_are_coded_like_any_other(tmp_path: Path) -> None:
    play(tmp_path / "runs", gradient, outcome="average", quantizer="uniform", bits_down=3.0)


def test_an_outcome_may_pass_the_mean_on_and_say_nothing_before_all_is_there(tmp_path: Path) -> None:
    got = play(tmp_path / "runs", gradient, outcome="relay")
    assert_allclose(got[:N], initial_weights()[:N] + sum(map(mean, range(1, ROUNDS + 1))), rtol=1e-5, atol=1e-5)


def test_an_outcome_that_fails_ends_the_run_with_its_reason(tmp_path: Path) -> None:
    config = run_config(tmp_path, workers=1, rounds=0, outcome="relay")
    with running_server(config) as server, plain_workers(server.address, 1) as (a,):
        a.begin()
        for round_ in range(1, ROUNDS + 1):
            a.push(gradient(0, round_), round_)
            a.receive()
        a.push(gradient(0, ROUNDS + 1), ROUNDS + 1)
        end = a.receive()
        assert isinstance(end, pb.RunEnd)
        assert "there is nothing above" in end.reason
        a.leave()
        with pytest.raises(Exception, match="there is nothing above"):
            server.join()

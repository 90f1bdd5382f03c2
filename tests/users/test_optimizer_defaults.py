"""Defaults of one optimizer never reach another."""

from pathlib import Path

import pytest
import torch

from gradwire_common.settings.config import Config
from gradwire_server.checks import check_settings
from gradwire_server.outcome.optimizers.optimizer import OptimizerSettings


def settled(**given: object) -> OptimizerSettings:
    config = Config.load(None, given)
    check_settings(config)
    return OptimizerSettings.of(config)


@pytest.mark.parametrize("name", ["AdamW", "Adam", "RMSprop", "Adagrad", "NAdam", "RAdam", "Adadelta"])
def test_an_optimizer_that_is_only_named_has_torchs_own_options(name: str) -> None:
    kind = getattr(torch.optim, name)
    assert settled(optimizer=name) == OptimizerSettings(name, kind([torch.zeros(1)]).defaults["lr"], {}, rounds=200)


@pytest.mark.parametrize("name", ["AdamW", "Adagrad", "ASGD"])
def test_a_rate_beside_a_name_brings_no_momentum(name: str) -> None:
    assert settled(optimizer=name, lr="1e-3") == OptimizerSettings(name, 1e-3, {}, rounds=200)


def test_sgd_keeps_its_own_defaults_named_or_not() -> None:
    expected = OptimizerSettings("SGD", 0.1, {"momentum": 0.9}, rounds=200)
    assert settled() == settled(optimizer="SGD") == expected
    assert settled(lr=0.5).optimizer_options == {"momentum": 0.9}


def test_options_given_beside_a_name_are_all_there_are() -> None:
    given = {"betas": [0.8, 0.99]}
    assert settled(optimizer="AdamW", optimizer_options=given).optimizer_options == given


def test_settings_are_written_and_read_back_without_a_rate(tmp_path: Path) -> None:
    config = Config.load(None, {"optimizer": "AdamW"})
    (tmp_path / "config.toml").write_text(config.to_toml())
    assert OptimizerSettings.of(Config.load(tmp_path / "config.toml")) == OptimizerSettings.of(config)

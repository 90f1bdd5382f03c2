from pathlib import Path

import pytest

from gradwire_common.errors import ConfigError
from gradwire_common.settings.config import Config
from gradwire_common.settings.handed import handed


def test_flags_win_over_the_environment_and_the_environment_over_the_file(tmp_path, monkeypatch):
    file = tmp_path / "run.toml"
    file.write_text("bits = 1.0\nlr = 0.5\nseed = 3\noptimizer_options = { momentum = 0.5 }\n")
    monkeypatch.setenv("GRADWIRE_LR", "0.25")
    monkeypatch.setenv("GRADWIRE_SEED", "4")
    config = Config.load(file, {"seed": 5})
    assert (config.bits, config.lr, config.seed) == (1.0, 0.25, 5)
    assert config.optimizer_options == {"momentum": 0.5}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"bits": 30}, "bits: got 30, want a number from 0.01 to 8, or auto"),
        ({"rate_up": "20 Mbyte"}, "rate_up: got '20 Mbyte', want a rate such as '20 Mbit/s' or '3 MB/s'"),
        ({"quantizer": "int3"}, "quantizer: got 'int3', want 'uniform', 'float8-1-5-2'"),
        ({"rounds": "many"}, "rounds: got 'many', want a valid integer"),
    ],
)
def test_a_wrong_value_is_answered_with_name_got_and_want(flags, message):
    with pytest.raises(ConfigError) as caught:
        Config.load(None, flags)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_an_unknown_setting_in_a_file_is_named(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text("bitz = 1\n")
    with pytest.raises(ConfigError, match=r"unknown setting 'bitz'; did you mean 'bits'\?"):
        Config.load(file)


def test_bad_toml_is_answered_with_the_place(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text("bits = = 1\n")
    with pytest.raises(ConfigError, match=r"run.toml: bad TOML: .*line 1"):
        Config.load(file)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none.toml: No such file or directory"):
        Config.load(tmp_path / "none.toml")


def test_a_broken_environment_variable_is_named(monkeypatch):
    monkeypatch.setenv("GRADWIRE_OPTIMIZER_OPTIONS", "{momentum")
    with pytest.raises(ConfigError, match="optimizer_options"):
        Config.load()


def test_the_broadcast_takes_the_bits_of_the_pushes_when_it_has_none_of_its_own():
    assert Config.load(None, {"bits": 0.5}).downlink.bits == 0.5
    assert Config.load(None, {"bits": 0.5, "bits_down": 1.5}).downlink.bits == 1.5
    assert Config.load(None, {"quantizer": "float32"}).downlink.exact
    assert Config.load(None, {"bits_down": "auto"}).downlink.auto
    assert not Config.load(None, {"bits_down": "auto", "quantizer": "bfloat16"}).downlink.auto
    assert not Config.load(None, {"bits": "auto"}).downlink.auto


def test_settings_written_as_toml_are_read_back(tmp_path):
    file = tmp_path / "config.toml"
    settings = Config(
        model="é",
        lr=1e-05,
        patience=0.1,
        optimizer_options={"betas": [0.9, 0.99], "fused": True},
        bits_down=0.5,
        data=Path('a "b"'),
    )
    file.write_text(settings.to_toml())
    assert Config.load(file) == settings


def test_a_recipe_stands_for_a_server_optimizer() -> None:
    avg = Config.load(None, {"optimizer": "FedAvg"})
    assert (avg.optimizer, avg.lr, avg.optimizer_options) == ("SGD", 1.0, {})
    adam = Config.load(None, {"optimizer": "FedAdam", "lr": 0.02})
    assert (adam.optimizer, adam.lr) == ("Adam", 0.02)
    assert adam.optimizer_options == {"betas": [0.9, 0.99], "eps": 1e-3}


def test_local_steps_ask_for_fed_avg_unless_told_otherwise() -> None:
    assert Config.load(None, {"local_steps": "8"}).lr == 1.0
    assert Config.load(None, {"local_steps": 8, "lr": 0.5}).optimizer_options == {"momentum": 0.9}
    assert Config.load(None, {"local_steps": 0}).lr == 0.1


def test_a_recipe_is_written_down_as_what_it_stands_for(tmp_path: Path) -> None:
    config = Config.load(None, {"local_steps": 8, "optimizer": "DiLoCo"})
    (tmp_path / "c.toml").write_text(config.to_toml())
    assert Config.load(tmp_path / "c.toml") == config


@pytest.mark.parametrize("on", [True, "true"])
def test_a_pipeline_is_a_delay_with_the_momentum_that_bears_it(on: object) -> None:
    config = Config.load(None, {"pipeline": on})
    assert (config.delay, config.optimizer_options, config.lr) == (1, {"momentum": 0.5}, 0.1)
    assert handed(config)["delay"] == "1"  # workers need not be told
    given = Config.load(None, {"pipeline": on, "optimizer_options": {"momentum": 0.9}})
    assert (given.delay, given.optimizer_options) == (1, {"momentum": 0.9})
    adam = Config.load(None, {"pipeline": on, "optimizer": "AdamW"})
    assert (adam.delay, adam.optimizer_options) == (1, {})
    assert Config.load(None, {"pipeline": False}).delay == 0

"""Settings of any contents are taken, or refused in one line that names file, setting, got and want."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gradwire.local import lifeline
from gradwire_common.errors import ConfigError
from gradwire_common.settings.config import Config
from gradwire_server.checks import check_settings

VALUES = [
    "true",
    "false",
    str(10**20),
    str(10**400),
    "9" * 4000,
    "-1",
    "1e308",
    "-1e400",
    "inf",
    "nan",
    '""',
    '"x"',
    r'"\u0000"',
    r'"\u001b[2J"',
    '"' + "x" * 10_000 + '"',
    '"' + "[" * 50_000 + '"',
    "'''a\nb'''",
    "[]",
    "[1]",
    "{}",
    "{a = {b = 1}}",
    "{momentum = inf}",
    "{betas = [0.9, nan]}",
    r'"{\"momentum\": NaN}"',
    "1979-05-27",
    "07:32:00",
    '"auto"',
    '"none"',
]


@pytest.fixture
def load(tmp_path, monkeypatch):
    def load(text: str | bytes, **variables: str) -> Config:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        file = tmp_path / "run.toml"
        file.write_bytes(text.encode() if isinstance(text, str) else text)
        return Config.load(file)

    return load


def refusal(make: Callable[[], object]) -> str:
    """Return what `make` is refused with; nothing where it is not."""
    try:
        make()
    except ConfigError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", Config.model_fields)
def test_a_value_of_any_kind_is_taken_and_written_back_or_refused_in_one_line(load, name):
    for value in VALUES:
        text = f"{name} = {value}\n"
        if refused := refusal(lambda text=text: load(text)):
            assert refused.isprintable()
            assert len(refused) < 800
            assert f"run.toml: {name}" in refused
            assert "want" in refused
        else:
            config = load(text)
            assert load(config.to_toml()) == config
            assert "\n" not in refusal(lambda config=config: check_settings(config))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rounds = true", "rounds: got True, want a whole number"),
        ("lr = false", "lr: got False, want a number"),
        ("bits = true", "bits: got True, want a number"),
        ("slot = true", "slot: got True, want a whole number"),
        ("name = true", "name: got True, want a text"),
        (f"rounds = {10**20}", f"rounds: got {10**20}, want a whole number of at most {2**32 - 1}"),
        (f"seed = {2**63}", f"seed: got {2**63}, want a whole number of at most {2**63 - 1}"),
        ("lr = inf", "lr: got inf, want a finite number"),
        ("lr = nan", "lr: got nan, want a finite number"),
        ("[server]\nlistn = '127.0.0.1:1'", "server.listn: unknown setting; did you mean 'listen'?"),
        ("[server]\nbits = 2", "server.bits: unknown setting; it belongs in [coding]"),
        ("[servers]\nbits = 2", "unknown setting 'servers'; did you mean 'server'?"),
        ("[rounds]\nbits = 2", "rounds: got {'bits': 2}, want "),
        ("bits = 1\n[coding]\nbits = 2", "bits: got it in [coding] and outside of it, want it in one place"),
        ("[coding]\nbits = 30", "bits: got 30, want a number from 0.01 to 8, or auto"),
        ("bits = 1\nbits = 2", "bad TOML: Cannot overwrite a value"),
        ("bitz = 1", "unknown setting 'bitz'; did you mean 'bits'?"),
        ("Rounds = 1", "unknown setting 'Rounds'; did you mean 'rounds'?"),
        ("learning-rate = 1", "unknown setting 'learning-rate'; want one of aggregation, "),
        ("batch-size = 1", "unknown setting 'batch-size'; did you mean 'batch_size'?"),
        ("optimiser = 'SGD'", "unknown setting 'optimiser'; did you mean 'optimizer'?"),
        ("name = 'a/b'", "name: got 'a/b', want 1 to 64 of the characters"),
        ("x = " + "[" * 5000 + "]" * 5000, "bad TOML: "),
        (b"name = 'caf\xe9'", "bad TOML: got byte 0xe9 at 11, want text in UTF-8"),
        ("name = 'run'".encode("utf-16"), "bad TOML: got byte 0xff at 0, want text in UTF-8"),
        (b"\0\0\0", "bad TOML: "),
    ],
)
def test_a_wrong_file_is_answered_with_its_name_the_setting_got_and_want(load, text, message):
    with pytest.raises(ConfigError) as caught:
        load(text)
    assert f"run.toml: {message}" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["\ufeffrounds = 7\n", "rounds = 7\r\n", "\ufeff# caf\u00e9\r\nrounds = 7"])
def test_a_file_as_other_systems_write_it_is_read(load, text):
    assert load(text).rounds == 7


def test_a_wrong_flag_or_variable_is_not_said_to_be_the_files(load, monkeypatch, tmp_path):
    with pytest.raises(ConfigError, match=r"^rounds: got 'ten', want"):
        load("rounds = 7", GRADWIRE_ROUNDS="ten")
    monkeypatch.delenv("GRADWIRE_ROUNDS")
    with pytest.raises(ConfigError, match=r"^rounds: got 'nine', want"):
        Config.load(tmp_path / "run.toml", {"rounds": "nine"})


@pytest.mark.parametrize(
    ("variable", "message"),
    [
        ("GRADWIRE_BITZ", "did you mean 'GRADWIRE_BITS'?"),
        ("GRADWIRE_WORKER", "did you mean 'GRADWIRE_WORKERS'?"),
        ("GRADWIRE_BATCHSIZE", "did you mean 'GRADWIRE_BATCH_SIZE'?"),
        ("GRADWIRE_LOGLEVEL", "did you mean 'GRADWIRE_LOG_LEVEL'?"),
        ("GRADWIRE_bits", "did you mean 'GRADWIRE_BITS'?"),
        ("GRADWIRE_SOMETHING_ELSE_ALTOGETHER", "want one of GRADWIRE_AGGREGATION, "),
    ],
)
def test_a_variable_that_is_no_setting_is_an_error(load, variable, message):
    with pytest.raises(ConfigError, match=f"^environment: {variable} is no setting; ") as caught:
        load("", **{variable: "1"})
    assert message in str(caught.value)
    assert "unset it or give it another name" in str(caught.value)


@pytest.mark.parametrize(
    "variable",
    [
        "GRADWIRE_PORT",
        "GRADWIRE_SERVICE_HOST",
        "GRADWIRE_SERVICE_PORT_GRPC",
        "GRADWIRE_PORT_50051_TCP_ADDR",
        "GRADWIRE_SERVER_SERVICE_PORT",
        "GRADWIRE_SERVER_PORT_50051_TCP",
        "GRADWIRE_PORTABLE",
        lifeline.PARENT,
        lifeline.LOCK,
        "GRADWIRES",
    ],
)
def test_variables_of_services_called_gradwire_are_not_taken_for_settings(load, variable):
    assert load("", **{variable: "tcp://10.0.0.1:50051"}) == Config()


def test_an_empty_variable_sets_nothing(load):
    assert load("rounds = 7", GRADWIRE_ROUNDS="", GRADWIRE_BITZ="").rounds == 7


@pytest.mark.parametrize("path", ["a\udcff", "a\0b"])
def test_a_path_that_no_file_can_have_is_refused(path):
    with pytest.raises(ConfigError, match=r"^runs: got .*, want a text in Unicode without NUL"):
        Config.load(None, {"runs": Path(path)})

"""A setting is one field: its type, default and description give it a flag, a variable, a key and a line of help."""

import re
from typing import Annotated, ClassVar

import pytest
import typer
from pydantic import Field
from typer.testing import CliRunner

from gradwire.options import with_settings
from gradwire_common.errors import ConfigError
from gradwire_common.settings import config as settings
from gradwire_common.settings.config import Config
from gradwire_common.settings.server import ServerSettings
from gradwire_common.settings.types import read_by


class Celsius(float):
    """A kind of value that gradwire does not have."""

    def __str__(self) -> str:
        return f"{float(self):g} C"


def parse_celsius(text: object) -> Celsius:
    if match := re.fullmatch(r"(-?[0-9.]+) C", str(text)):
        return Celsius(match[1])
    raise ConfigError(f"got {text!r}, want a temperature such as '65 C'")


class WarmServer(ServerSettings):
    """The server's section with one more setting."""

    max_heat: Annotated[Celsius, read_by(parse_celsius, Celsius)] = Field(Celsius(65), description="most heat")


class WarmConfig(WarmServer, Config):
    sections: ClassVar = {**Config.sections, "server": WarmServer}


@pytest.fixture
def command(monkeypatch):
    """Return what runs a command with the server's settings and prints the configuration."""
    monkeypatch.setattr(settings, "Config", WarmConfig)
    monkeypatch.setattr("sys.argv", ["gradwire", "serve"])

    @with_settings("server")
    def serve(config: WarmConfig) -> None:
        print(config.to_toml())

    app = typer.Typer(rich_markup_mode="rich")
    app.command()(serve)
    return lambda *arguments: CliRunner().invoke(app, arguments, env={"COLUMNS": "120"})


def test_it_is_a_flag(command):
    assert 'max_heat = "80 C"\n' in command("--max-heat", "80 C").output


def test_it_is_a_line_of_the_help_with_its_default_in_the_panel_of_its_section(command):
    out = command("--help").output
    assert re.search(r"─ Server ─.*--max-heat +CELSIUS +most heat \[65 C\]", out, re.DOTALL)


def test_it_is_a_key_of_its_sections_table_and_is_written_back(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text("[server]\nmax_heat = '70 C'\n")
    config = WarmConfig.load(file)
    assert config.max_heat == 70
    file.write_text(config.to_toml())
    assert WarmConfig.load(file) == config


def test_it_is_a_variable_that_wins_over_the_file_and_loses_to_a_flag(tmp_path, monkeypatch):
    file = tmp_path / "run.toml"
    file.write_text("max_heat = '70 C'\n")
    monkeypatch.setenv("GRADWIRE_MAX_HEAT", "75 C")
    assert WarmConfig.load(file).max_heat == 75
    assert WarmConfig.load(file, {"max_heat": "80 C"}).max_heat == 80


def test_a_wrong_value_and_a_slip_of_its_name_are_answered_as_for_any_other(tmp_path):
    file = tmp_path / "run.toml"
    for text, message in [
        ("[server]\nmax_heat = 'hot'", "max_heat: got 'hot', want a temperature such as '65 C'"),
        ("[server]\nmaxheat = '70 C'", "server.maxheat: unknown setting; did you mean 'max_heat'?"),
        ("[run]\nmax_heat = '70 C'", "run.max_heat: unknown setting; it belongs in [server]"),
    ]:
        file.write_text(text)
        with pytest.raises(ConfigError, match=re.escape(f"run.toml: {message}")):
            WarmConfig.load(file)


def test_every_setting_is_in_one_section():
    names = [name for section in Config.sections.values() for name in section.model_fields]
    assert sorted(names) == sorted(Config.model_fields)

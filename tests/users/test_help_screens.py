"""`--help` fits the terminal, names every flag in full, and shows what is used most first."""

import re

import pytest

from cli.conftest import run_to_the_end

COMMANDS = ["", "train", "server", "worker", "status", "limit", "inspect", "certs", "certs issue"]
FIRST = {"train": "--task", "server": "--listen", "worker": "--server"}


@pytest.fixture(scope="module")
def screens(tmp_path_factory):
    """The help of a command at a width, each asked for once."""
    known = {}

    def screen(command: str, columns: int) -> str:
        if (command, columns) not in known:
            folder = tmp_path_factory.getbasetemp()
            ended = run_to_the_end(*command.split(), "--help", folder=folder, COLUMNS=str(columns))
            assert ended.code == 0, ended.err
            known[command, columns] = ended.out
        return known[command, columns]

    return screen


@pytest.mark.parametrize("columns", [60, 80, 120])
@pytest.mark.parametrize("command", COMMANDS)
def test_no_line_of_the_help_is_longer_than_the_terminal(screens, command, columns):
    out = screens(command, columns)
    assert max(map(len, out.splitlines())) <= columns
    assert "…" not in out


@pytest.mark.parametrize("command", ["train", "server", "worker"])
def test_flags_are_whole_at_every_width(screens, command):
    flags = [set(re.findall(r"^  (--[a-z-]+)", screens(command, columns), re.MULTILINE)) for columns in (60, 80, 120)]
    assert flags[0] == flags[1] == flags[2]
    assert "--log-level" in flags[0]
    assert command == "server" or "--local-optimizer-options" in flags[0]


@pytest.mark.parametrize("command", FIRST)
def test_the_flags_used_most_come_first(screens, command):
    out = screens(command, 80)
    first = out.split("\nMost used:\n")[1].split("\n\n")[0]
    assert first.lstrip().startswith(FIRST[command])
    assert 10 <= len(re.findall(r"^  --", first, re.MULTILINE)) <= 11
    assert out.index("Most used:") < out.index("\nRun:")


@pytest.mark.parametrize("arguments", [["--version"], ["version"]], ids=" ".join)
def test_the_version_is_one_line(run, arguments):
    ended = run(*arguments)
    assert (ended.code, ended.err) == (0, "")
    assert re.fullmatch(r"gradwire \d+\.\d+\.\S+\n", ended.out)


def test_no_command_at_all_shows_the_commands(run):
    ended = run(COLUMNS="60")
    assert ended.code == 2
    assert "Commands:" in ended.out + ended.err


def test_a_misspelt_command_is_told_what_may_have_been_meant(run):
    ended = run("trian")
    assert (ended.code, ended.error) == (2, "error: No such command 'trian'. Did you mean 'train'?")

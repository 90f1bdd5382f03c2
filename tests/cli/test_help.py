import json
import subprocess
import sys
from resource import RUSAGE_CHILDREN, getrusage

import pytest

from gradwire_common.settings.config import Config

HEAVY = ("torch", "numba", "matplotlib", "grpc", "scipy", "numpy", "sklearn")
COMMANDS = ("train", "server", "worker", "status", "inspect", "version")


def test_help_takes_well_under_half_a_second(run):
    spent = []
    for _ in range(3):
        before = getrusage(RUSAGE_CHILDREN)
        assert run("--help").code == 0
        after = getrusage(RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(spent) < 0.4  # seconds of processor time; the clock on the wall depends on who else is at work


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["version"]])
def test_nothing_heavy_is_imported_for_help(arguments):
    program = f"""
import json, sys
sys.argv = ["gradwire", *{arguments}]
from gradwire.main import main
try:
    main()
except SystemExit:
    print(json.dumps([name for name in {HEAVY} if name in sys.modules]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == []


def test_the_public_door_is_lazy():
    program = (
        "import sys, gradwire\n"
        "assert 'torch' not in sys.modules\n"
        "from gradwire import RemoteOptimizer, Config, __version__\n"
        "assert 'torch' in sys.modules\n"
        "assert RemoteOptimizer.__name__ in dir(gradwire)\n"
        "print(__version__)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip()


def test_the_help_lists_every_command(run):
    out = run("--help").out
    for command in COMMANDS:
        assert f"\n  {command} " in out


def test_the_help_of_train_groups_its_flags_and_shows_defaults(run):
    out = run("train", "--help", COLUMNS="160").out
    for panel in ("Most used", "Run", "Coding", "Server", "Worker", "Task", "Options"):
        assert f"\n{panel}:\n" in out
    assert "--bits " in out
    assert "bits per gradient entry, 0.01 to 8, or auto: what the link allows (uniform) [2.0]" in out
    assert "uniform, float8-1-5-2," in out
    for internal in ("--listen", "--worker-id", "--slot"):
        assert internal not in out


def test_every_setting_is_a_flag_of_some_command(run):
    out = "".join(run(command, "--help", COLUMNS="200").out for command in ("train", "server", "worker"))
    missing = [name for name in Config.model_fields if f"--{name.replace('_', '-')} " not in out]
    assert missing == []

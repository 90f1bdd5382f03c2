"""The server as a process: ports, signals, what it leaves behind."""

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from numpy.testing import assert_array_equal
from safetensors.numpy import load_file

from gradwire_common.errors import ConfigError
from gradwire_common.settings.config import Config
from running import running_server
from server.plain_worker import MANIFEST, PlainWorker, gradient_of, plain_workers, run_config

PROGRAM = """
import sys
from pathlib import Path
from gradwire_common.settings.config import Config
from gradwire_server.app import serve
config = Config(runs=Path(sys.argv[1]), listen="127.0.0.1:0", workers=1, quantizer="float32", buffers_every=0)
serve(config, ready=lambda port: print(port, flush=True))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_the_server(tmp_path: Path, number: signal.Signals) -> None:
    """Watchers are told, the committed round is kept, the process ends with 0 and no traceback."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        worker = PlainWorker(f"127.0.0.1:{int(server.stdout.readline())}", "a")
        worker.begin()
        worker.push(gradient_of(0), 1)
        worker.receive()
        server.send_signal(number)
        assert worker.receive().reason == "the server was stopped"
        worker.leave()
        _, log = server.communicate(timeout=120)
        worker.channel.close()
    assert server.returncode == 0, log
    assert "Traceback" not in log
    saved = load_file(tmp_path / "run" / "weights.safetensors")
    assert_array_equal(saved["conv.weight"].ravel(), worker.flat[MANIFEST.layout.slots["conv.weight"]])
    (line,) = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(line)["round"] == 1
    assert Config.load(tmp_path / "run" / "config.toml").quantizer == "float32"


def test_a_port_that_is_taken_is_one_clear_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        with (
            pytest.raises(ConfigError, match=f"cannot listen on {listen}: Address already in use; want a free port"),
            running_server(run_config(tmp_path, listen=listen)),
        ):
            pass


def test_an_address_of_another_machine_cannot_be_listened_on(tmp_path: Path) -> None:
    message = r"listen: cannot listen on 192\.0\.2\.1:0: Cannot assign requested address"
    with pytest.raises(ConfigError, match=message), running_server(run_config(tmp_path, listen="192.0.2.1:0")):
        pass


def test_settings_that_cannot_work_are_refused_before_the_port_is_taken(tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigError, match="optimizer: got 'Magic', want one of"),
        running_server(run_config(tmp_path, optimizer="Magic")),
    ):
        pass
    assert not (tmp_path / "run").exists()


def test_the_server_ends_once_all_have_left_or_the_grace_is_over(tmp_path: Path) -> None:
    with (
        running_server(run_config(tmp_path, rounds=1, workers=1), grace=0.1) as server,
        plain_workers(server.address, 1) as (a,),
    ):
        a.begin()
        a.push(gradient_of(0), 1)
        assert a.receive().version == 1
        server.join()
    assert (tmp_path / "run" / "weights.safetensors").exists()

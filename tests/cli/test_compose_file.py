"""docker-compose.yml: what its containers run works as processes. `make compose-test` plays it on a real engine."""

import re
import socket
import tomllib
from pathlib import Path

import pytest

from gradwire_common.settings.config import Config

ROOT = Path(__file__).parents[2]
COMPOSE = (ROOT / "docker-compose.yml").read_text("utf-8")
SETTINGS = COMPOSE[COMPOSE.index("x-settings:") : COMPOSE.index("x-gradwire:")]
ROLE = str(ROOT / "deploy" / "compose" / "role.sh")
OF_CONTAINERS = {"listen", "server", "metrics_listen", "runs", "state"}  # settled by the file or the image
OF_PROOFS = {"insecure", "certs", "tokens", "token_file", "worker_id", "slot"}  # settled by role.sh
PROGRAM = ("-c", "import os, sys; os.execvp(sys.argv[1], sys.argv[1:])")


def test_every_setting_of_the_shell_reaches_the_containers():
    passed = dict(re.findall(r"^  GRADWIRE_(\w+):(.*)$", SETTINGS, re.MULTILINE))
    wanted = {name.upper() for name in Config.model_fields.keys() - OF_CONTAINERS - OF_PROOFS}
    assert passed.keys() == wanted, f"want lines such as '  GRADWIRE_LR:' for {wanted ^ passed.keys()}, and no others"
    for name, value in passed.items():
        assert value == "" or value.startswith(f" ${{GRADWIRE_{name}:-"), f"{name} of the shell is overruled"


def test_the_image_has_every_source_root():
    roots = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["dev-mode-dirs"]
    copied = re.findall(r"^COPY (\w+) \1$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert set(roots) == set(copied)


@pytest.fixture
def role(start, tmp_path):
    """Start what a container does, in a folder that has the volumes; `container` has the files in its memory."""
    with socket.socket() as probe:  # health is asked at a port that is known, as in the file
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    for volume in ("runs", "state", "certs", "authority"):
        (tmp_path / volume).mkdir()
    settings = dict(re.findall(r"^  (GRADWIRE_\w+): \$\{\w+:-(.*)\}$", SETTINGS, re.MULTILINE))
    settings |= {"GRADWIRE_LISTEN": address, "GRADWIRE_SERVER": address, "GRADWIRE_WORKERS": "1"}

    def start_role(name: str, container: str, **changes: str):
        (tmp_path / container).mkdir(exist_ok=True)
        return start(ROLE, name, program=PROGRAM, **settings | {"TMPDIR": str(tmp_path / container)} | changes)

    return start_role


def test_containers_are_healthy_while_they_work_and_workers_have_an_id_each(role, tmp_path):
    server = role("server", "first", GRADWIRE_ROUNDS="0")
    server.wait_for("^listening on")
    assert role("health", "first").wait() == 0
    worker = role("worker", "second")
    worker.wait_for(" worker-1 INFO: joined run")
    assert role("health", "second").wait() == 0
    assert role("worker", "third", GRADWIRE_BATCH_SIZE="0").wait() == 2
    assert (tmp_path / "third" / "gradwire-worker-id").read_text() == "worker-2\n"
    worker.process.terminate()  # as `docker compose stop` does
    assert worker.wait() == 130
    assert role("health", "second").wait() == 1
    server.process.terminate()
    assert server.wait() == 0
    assert "worker worker-1 left: interrupted" in server.said


@pytest.mark.long
def test_with_certificates_a_run_trains_and_once_it_is_finished_says_so_to_all(role, tmp_path):
    for _ in range(2):
        assert role("certs", "first").wait() == 0
    assert not (tmp_path / "certs" / "ca").exists()
    for finished in (False, True):
        server = role("server", "first", GRADWIRE_ROUNDS="2")
        worker = role("worker", "second", GRADWIRE_ROUNDS="2")
        assert (worker.wait(), server.wait()) == (0, 0), server.said + worker.said
        assert "worker-1 INFO: the run ended at version 2" in worker.said
        assert ("run 'compose' is finished: all of its 2 rounds are done" in server.said) == finished
        assert 'gradwire.load_weights(model, "runs/compose/weights.safetensors")' in server.said.splitlines()[-1]

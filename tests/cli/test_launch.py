"""Two processes or nodes by the launchers that people have, for real: torchrun, submitit on this machine, Ray."""

import json
import os
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

import pytest
from torch.distributed import TCPStore

from gradwire.views.invitation import invitation
from gradwire_common.identity import kits
from gradwire_common.settings.config import Config
from gradwire_common.transport.address import parse_address
from running import eventually

TORCHRUN = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--no-python", "gradwire")
RIGHT = 0.97
needs_submitit = pytest.mark.skipif(find_spec("submitit") is None, reason="submitit is not installed")
needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def last_lines(runs: Path, kind: str) -> dict[str, object]:
    lines = map(json.loads, (runs / "metrics.jsonl").read_text().splitlines())
    return [line for line in lines if line["kind"] == kind][-1]


def torchrun() -> tuple[str, ...]:
    """Torchrun at a port of its own, as people give it who run several at once."""
    return (*TORCHRUN[:2], "--master-port", str(free_port()), *TORCHRUN[2:])


def test_two_processes_of_torchrun_are_one_worker_that_pushes_once_and_learns(start, tmp_path):
    launched = start("launch", "--listen", "127.0.0.1:0", "--rounds", 100, program=torchrun())
    assert launched.wait() == 0, launched.said
    evaluation, round_ = (last_lines(tmp_path / "runs/run", kind) for kind in ("evaluation", "round"))
    assert evaluation["version"] == 100
    assert evaluation["metrics"]["accuracy"]["mean"] >= RIGHT
    assert (round_["contributors"], round_["samples"]) == (1, 2 * 64)


@pytest.mark.parametrize("killed", [pytest.param(0, marks=pytest.mark.long), 1])
def test_a_process_that_dies_ends_its_node_with_one_line(start, server, killed):
    address = server("--workers", 1, "--rounds", 0)
    place = {
        "TORCHELASTIC_RUN_ID": "none",
        "GROUP_RANK": "0",
        "GROUP_WORLD_SIZE": "1",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
    }
    with hosted_store() as port:
        processes = [
            start("worker", "--server", address, **place, MASTER_PORT=str(port), LOCAL_RANK=str(rank))
            for rank in range(2)
        ]
        processes[0].wait_for("joined run")
        os.kill(processes[killed].process.pid, signal.SIGKILL)
        other = processes[1 - killed]
        assert other.wait() == 1
    [error] = [line for line in other.said.splitlines() if line.startswith("error: ")]
    assert f"process {1 - killed} of the 2 of this node ends, since process {killed} has ended" in error
    assert "Traceback" not in other.said


@contextmanager
def hosted_store() -> Iterator[int]:
    """Have what torchrun's agent has at MASTER_PORT; yield the port."""
    store = TCPStore("127.0.0.1", 0, None, True, wait_for_workers=False)
    yield store.port


@pytest.mark.long
def test_tasks_of_a_slurm_node_meet_without_a_store(start, server):
    address = server("--workers", 1, "--rounds", 20)
    step = {
        "SLURM_JOB_ID": str(free_port()),
        "SLURM_STEP_ID": "0",
        "SLURM_NODEID": "0",
        "SLURM_STEP_NUM_NODES": "1",
        "SLURM_STEP_TASKS_PER_NODE": "2",
        "SLURM_STEP_NODELIST": "gpu[01]",
    }
    tasks = [start("worker", "--server", address, **step, SLURM_LOCALID=str(task)) for task in range(2)]
    assert [task.wait() for task in tasks] == [0, 0], [task.said for task in tasks]
    assert "joined run" in tasks[0].said
    assert "joined run" not in tasks[1].said


def test_what_cannot_be_launched_is_said_in_one_line(run):
    assert run("launch").error.startswith("error: launch: no launcher has started this process")
    assert run("launch", "--on", "ssh").error == "error: on: got 'ssh', want one of local, slurm, ray"
    assert run("launch", "--on", "ray", "--option", "num_gpus").error.startswith(
        "error: option: got 'num_gpus', want KEY"
    )
    lost = run("worker", GRADWIRE_NODE="3", GRADWIRE_NODES="2")
    assert (lost.code, lost.error[:41]) == (2, "error: environment: GRADWIRE_NODE: got '3")
    overlapping = run("worker", "--overlap", TORCHELASTIC_RUN_ID="none", **NODE_OF_TWO)
    assert overlapping.error.startswith("error: overlap: got it in a node of 2 processes")


NODE_OF_TWO = {
    "GROUP_RANK": "0",
    "GROUP_WORLD_SIZE": "1",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "1",
}


def test_the_server_prints_the_command_of_a_worker_elsewhere(start):
    served = start("server", "--listen", "0.0.0.0:0", "--insecure")
    command = served.wait_for(r"^a worker: (.+)$")
    assert re.fullmatch(r"gradwire worker --server (?!0\.)[\w.-]+:\d+", command)


def test_that_command_names_the_host_of_the_certificate_and_what_a_worker_shows(tmp_path):
    kits.init(tmp_path / "certs", ["train.example.org", "127.0.0.1"], datetime.now(UTC))
    anywhere = parse_address("0.0.0.0:6000")
    certified = Config(certs=tmp_path / "certs/server")
    assert invitation(certified, anywhere) == "gradwire worker --server train.example.org:6000 --certs KIT"
    assert invitation(certified, parse_address("127.0.0.1")).endswith("--server 127.0.0.1:50051 --certs KIT")
    kits.init(tmp_path / "numbered", ["10.77.0.1"], datetime.now(UTC))
    numbered = invitation(Config(certs=tmp_path / "numbered/server"), anywhere)
    assert numbered == "gradwire worker --server 10.77.0.1:6000 --certs KIT"
    token = invitation(Config(tokens=tmp_path / "tokens.txt"), parse_address("unix:/run/gradwire"))
    assert token == "gradwire worker --server unix:/run/gradwire --token-file NAME.token"


@needs_submitit
def test_two_tasks_of_submitit_on_this_machine_learn(run, tmp_path):
    ended = run("launch", "--on", "local", "--listen", f"127.0.0.1:{free_port()}", "--rounds", 100)
    assert ended.code == 0, ended.err
    assert_two_learned(tmp_path)


@needs_submitit
def test_a_task_of_submitit_that_fails_ends_the_others(run):
    ended = run(
        "launch", "--on", "local", "--listen", f"127.0.0.1:{free_port()}", "--data", "nowhere", "--task", "cifar10"
    )
    assert ended.code == 2
    assert re.match(r"error: node \d: .*nowhere", ended.error)


@needs_ray
def test_two_actors_of_ray_learn(run, tmp_path):
    ended = run("launch", "--on", "ray", "--listen", f"127.0.0.1:{free_port()}", "--rounds", 100, OMP_NUM_THREADS="1")
    assert ended.code == 0, ended.err
    assert_two_learned(tmp_path)


def assert_two_learned(folder: Path) -> None:
    round_ = eventually(lambda: last_lines(folder / "runs/run", "round"))
    assert round_["contributors"] == 2
    assert last_lines(folder / "runs/run", "evaluation")["metrics"]["accuracy"]["mean"] >= RIGHT

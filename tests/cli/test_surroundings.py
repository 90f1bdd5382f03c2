"""What each launcher sets, and what a worker and a server make of it."""

import pytest

from gradwire.surroundings import Surroundings, first_host, read_surroundings, server_settings, worker_settings
from gradwire_common.errors import ConfigError
from gradwire_common.settings.config import Config

TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "none",
    "GROUP_RANK": "1",
    "GROUP_WORLD_SIZE": "3",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "RANK": "3",
    "WORLD_SIZE": "6",
    "MASTER_ADDR": "10.0.0.1",
    "MASTER_PORT": "29500",
}
SLURM = {
    "SLURM_JOB_ID": "4711",
    "SLURM_STEP_ID": "0",
    "SLURM_PROCID": "5",
    "SLURM_NODEID": "2",
    "SLURM_LOCALID": "1",
    "SLURM_STEP_NUM_NODES": "3",
    "SLURM_STEP_TASKS_PER_NODE": "1(x2),4",
    "SLURM_STEP_NODELIST": "gpu[03-04,09]",
}
SKYPILOT = {"SKYPILOT_NODE_RANK": "1", "SKYPILOT_NUM_NODES": "2", "SKYPILOT_NODE_IPS": "10.1.0.4\n10.1.0.7\n"}
KUBERNETES = {"JOB_COMPLETION_INDEX": "3"}
OWN = {"GRADWIRE_NODE": "4", "GRADWIRE_NODES": "8", "GRADWIRE_HEAD": "head"}


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, Surroundings()),
        (TORCHRUN, Surroundings(("torchrun",), 1, 3, 1, 2, "10.0.0.1", ("10.0.0.1", 29500), hosted=True)),
        (SLURM, Surroundings(("Slurm",), 2, 3, 1, 4, "gpu03", ("127.0.0.1", 24711))),
        (SLURM | {"SLURM_NODEID": "1", "SLURM_LOCALID": "0"}, Surroundings(("Slurm",), 1, 3, head="gpu03")),
        (SKYPILOT, Surroundings(("SkyPilot",), 1, 2, head="10.1.0.4")),
        (KUBERNETES, Surroundings(("Kubernetes",), 3)),
        (OWN, Surroundings(("GRADWIRE_NODE",), 4, 8, head="head")),
    ],
)
def test_each_launcher_says_which_node_of_how_many_and_which_process_of_the_node_this_is(variables, expected):
    assert read_surroundings(variables) == expected


def test_a_batch_script_of_slurms_is_no_task_and_a_local_rank_of_somebody_elses_means_nothing():
    batch = {name: value for name, value in SLURM.items() if name != "SLURM_STEP_ID"}
    assert read_surroundings(batch) == Surroundings()
    assert read_surroundings({"LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "10.0.0.1"}) == Surroundings()


def test_a_launcher_of_one_node_does_not_know_which_node_of_a_run_this_is():
    """Three machines that each run torchrun by itself would all be node 0."""
    alone = TORCHRUN | {"GROUP_RANK": "0", "GROUP_WORLD_SIZE": "1"}
    got = read_surroundings(alone)
    assert (got.node, got.nodes, got.head, got.process, got.processes) == (None, None, "", 1, 2)
    inside = read_surroundings(SLURM | alone)
    assert (inside.node, inside.nodes, inside.head) == (2, 3, "gpu03")
    assert (inside.process, inside.processes, inside.meeting) == (1, 2, ("10.0.0.1", 29500))


def test_what_is_nearer_wins():
    both = read_surroundings(SKYPILOT | TORCHRUN | KUBERNETES)
    assert both.launchers == ("torchrun", "SkyPilot", "Kubernetes")
    assert (both.node, both.nodes, both.head) == (1, 3, "10.0.0.1")
    assert read_surroundings(TORCHRUN | OWN).node == 4


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        (TORCHRUN | {"GROUP_RANK": "3"}, "GROUP_RANK"),
        (TORCHRUN | {"LOCAL_RANK": "2"}, "LOCAL_RANK"),
        (TORCHRUN | {"LOCAL_WORLD_SIZE": ""}, "LOCAL_WORLD_SIZE"),
        (TORCHRUN | {"MASTER_PORT": "http"}, "MASTER_PORT"),
        (SLURM | {"SLURM_STEP_TASKS_PER_NODE": "2(x"}, "SLURM_STEP_TASKS_PER_NODE"),
        (SKYPILOT | {"SKYPILOT_NODE_RANK": "-1"}, "SKYPILOT_NODE_RANK"),
        (KUBERNETES | {"JOB_COMPLETION_INDEX": "9" * 400}, "JOB_COMPLETION_INDEX"),
        (OWN | {"GRADWIRE_NODES": "٣"}, "GRADWIRE_NODES"),
    ],
)
def test_a_variable_that_no_launcher_sets_so_is_named(variables, name):
    with pytest.raises(ConfigError, match=f"^environment: {name}: got ") as raised:
        read_surroundings(variables)
    assert len(str(raised.value)) < 400


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("gpu[03-05,09],login", "gpu03"),
        ("a", "a"),
        ("a,b", "a"),
        ("n[7,9]-ib", "n7-ib"),
        ("10.0.0.1", "10.0.0.1"),
        ("", ""),
    ],
)
def test_the_first_host_of_slurms_list(nodes, first):
    assert first_host(nodes) == first


def test_a_worker_takes_server_slot_and_id_from_its_launcher_unless_they_are_given(tmp_path, monkeypatch):
    around = read_surroundings(SKYPILOT)
    got = worker_settings(Config(), around)
    assert (str(got.server), got.slot, got.worker_id) == ("10.1.0.4:50051", 1, "worker-1")

    monkeypatch.setenv("GRADWIRE_SERVER", "elsewhere:6000")
    file = tmp_path / "settings.toml"
    file.write_text("[worker]\nslot = 7\n")
    got = worker_settings(Config.load(file, {"worker_id": "mine"}), around)
    assert (str(got.server), got.slot, got.worker_id) == ("elsewhere:6000", 7, "mine")


def test_the_id_of_a_certificate_or_token_is_left_alone(tmp_path):
    around = read_surroundings(KUBERNETES)
    assert worker_settings(Config(certs=tmp_path), around).worker_id is None
    assert worker_settings(Config(token_file=tmp_path / "token"), around).worker_id is None
    assert str(worker_settings(Config(), around).server) == str(Config().server)


def test_a_server_expects_a_worker_of_every_node_unless_it_is_told_another_number():
    around = read_surroundings(TORCHRUN)
    assert server_settings(Config(), around).workers == 3
    assert server_settings(Config(workers=5), around).workers == 5
    assert server_settings(Config(), read_surroundings(KUBERNETES)).workers == 2

"""A run's length may be given as epochs or samples; it comes to rounds, which everybody is told."""

import json

import pytest

from gradwire.local.checking import checked
from gradwire.local.length import served_rounds, with_rounds
from gradwire_common.errors import UsageError
from gradwire_common.settings.config import Config


def settled(**given) -> tuple[int, list[str]]:
    told: list[str] = []
    config = with_rounds(Config.load(None, given), lambda: 1437, told.append)
    assert (config.epochs, config.total_samples) == (None, None)
    return config.rounds, told


@pytest.mark.parametrize(
    ("given", "rounds"),
    [
        ({}, 200),
        ({"epochs": 1, "workers": 2, "batch_size": 64}, 12),  # 1437 / 128, rounded up
        ({"epochs": "0.5", "workers": 2, "batch_size": 64}, 6),
        ({"epochs": 3, "workers": 1, "batch_size": 2000}, 3),  # of a batch, however many samples it has
        ({"total_samples": 1, "workers": 2}, 1),
        ({"total_samples": 5120, "workers": 4, "batch_size": 16, "local_steps": 8}, 10),
        ({"total_samples": 5120, "workers": 4, "batch_size": 16, "local_steps": 8, "sampled": 2}, 20),
        ({"total_samples": 5120, "workers": 4, "batch_size": 16, "mode": "asynchronous"}, 320),
        ({"total_samples": 1280, "rounds": 3, "resume": True, "workers": 2}, 10),  # the file's rounds give way
    ],
)
def test_epochs_and_samples_come_to_rounds(given, rounds):
    assert settled(**given)[0] == rounds


def test_what_they_come_to_is_told():
    assert settled(epochs=2, workers=2, batch_size=64)[1] == ["2 epochs: 23 rounds of 128 samples"]
    assert settled(total_samples=12_800, workers=2, batch_size=64)[1] == ["12,800 samples: 100 rounds of 128 samples"]
    assert settled(rounds=7) == (7, [])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"epochs": 3, "rounds": 9}, "rounds: got epochs 3 and rounds 9, want one of rounds, epochs and total_samples"),
        ({"epochs": 3, "total_samples": 9}, "rounds: got epochs 3 and total_samples 9"),
    ],
)
def test_one_length_is_enough(given, message):
    with pytest.raises(UsageError, match=message):
        settled(**given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"total_samples": 9}, "total_samples: want batch_size too"),
        ({"epochs": 9}, "epochs: want task too, whose samples are counted"),
        ({"epochs": 9, "task": "nonsense"}, "task: got 'nonsense'"),
    ],
)
def test_a_server_by_itself_says_what_it_must_be_told(given, message):
    with pytest.raises(UsageError, match=message):
        served_rounds(Config.load(None, given), lambda _: None)


def test_the_check_of_a_run_counts_the_samples_of_its_task(tmp_path):
    with checked(Config.load(None, {"runs": tmp_path, "rounds": 1})) as found:
        assert found.training_samples == 0
    assert found.training_samples == 1437


@pytest.mark.long
def test_a_server_tells_the_rounds_that_epochs_come_to(run, server):
    address = server("--workers", 3, "--task", "digits", "--batch-size", 479, "--epochs", 5)
    assert json.loads(run("status", address, "--format", "json").out)["rounds"] == 5

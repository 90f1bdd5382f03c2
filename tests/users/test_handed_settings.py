"""Settings in one place: the server hands them to its workers, and who says otherwise is told by name."""

import json
import logging

import pytest
import torch

from gradwire import LocalSteps, RemoteOptimizer, SessionOptions, server_settings
from gradwire_common.errors import ConfigError, JoinError, UsageError
from gradwire_common.settings.config import Config
from gradwire_common.settings.handed import handed, with_handed
from gradwire_worker.runner import run_worker
from running import running_server
from worker.toys import batches, perceptron, server_config, state_of, take_step


@pytest.fixture(autouse=True)
def deterministic():
    """Put back what a worker process settles for good."""
    yield
    torch.use_deterministic_algorithms(False)


def test_a_worker_that_says_nothing_trains_what_the_server_was_given(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    given = {"task": "digits", "model": "cnn", "batch_size": 24, "local_steps": 2, "local_lr": 0.05, "seed": 3}
    with running_server(server_config(tmp_path, rounds=2, lr=1.0, **given)) as server:
        told = server_settings(server.address)
        assert told == {name: str(value) for name, value in given.items()}
        run_worker(Config.load(None, {"server": server.address, "device": "cpu", "batch_size": 99}))
        server.join()
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["samples"] for line in lines if line["kind"] == "round"] == [48, 48]
    assert "the server's settings win: batch_size: got 99, the server's settings say 24" in caplog.text


def test_what_all_must_have_alike_is_an_error_that_names_both(tmp_path):
    with running_server(server_config(tmp_path, local_steps=4, task="digits")) as server:
        for own in ({"local_steps": 2}, {"task": "synthetic"}):
            (name, value), want = next(iter(own.items())), {"local_steps": "4", "task": "digits"}
            with pytest.raises(UsageError, match=f"{name}: got {value}, the server's settings say {want[name]}; leave"):
                run_worker(Config.load(None, {"server": server.address, "device": "cpu", **own}))


def test_a_loop_of_one_s_own_that_pushes_gradients_is_refused_where_the_server_wants_local_steps(tmp_path):
    with running_server(server_config(tmp_path, local_steps=4)) as server:
        with pytest.raises(JoinError, match="local_steps: got 0, the server's settings say 4"):
            RemoteOptimizer(perceptron(), server.address)
        with pytest.raises(JoinError, match="local_steps: got 3, the server's settings say 4"):
            RemoteOptimizer(perceptron(), server.address, source=LocalSteps(3))
        with RemoteOptimizer(perceptron(), server.address, source=LocalSteps(4)) as optimizer:
            assert optimizer.steps_taken == 0


def after_local_steps(tmp_path, **given):
    """Train with local steps at a server by itself; return the weights, and those of a local optimizer alone."""
    settings = {"runs": tmp_path, "listen": "127.0.0.1:0", "workers": 1, "rounds": 2, "quantizer": "float32", **given}
    model, alone = perceptron(), perceptron()
    local = torch.optim.SGD(alone.parameters(), lr=0.05)
    with (
        running_server(Config.load(None, settings)) as server,
        RemoteOptimizer(model, server.address, source=LocalSteps(3, lr=0.05)) as optimizer,
    ):
        for batch in batches(6):
            take_step(model, optimizer, batch, samples=8)
            take_step(alone, local, batch)
        rates = [group["lr"] for group in optimizer.local.param_groups]
    assert rates == [0.05]
    return state_of(model), state_of(alone)


def test_a_server_that_was_told_nothing_steps_as_fedavg_where_workers_take_local_steps(tmp_path):
    got, expected = after_local_steps(tmp_path)
    for name, tensor in expected.items():
        torch.testing.assert_close(got[name], tensor, msg=name)


def test_a_server_that_was_told_something_does_that(tmp_path):
    got, expected = after_local_steps(tmp_path, optimizer="DiLoCo")
    assert any((got[name] - tensor).abs().max() > 1e-3 for name, tensor in expected.items())


def test_a_worker_s_own_settings_stay_where_the_server_says_nothing():
    config = Config.load(None, {"batch_size": 7, "threads": 3})
    assert with_handed(config, {}) == (config, [])
    told, lines = with_handed(config, {"local_steps": "2", "of_another_age": "1"})
    assert (told.local_steps, told.batch_size, told.threads, lines) == (2, 7, 3, [])


def test_what_a_server_hands_out_reads_back_as_it_was():
    given = {"local_optimizer_options": {"momentum": 0.5, "nesterov": True}, "overlap": False, "dirichlet_alpha": 0.3}
    config = Config.load(None, {**given, "local_steps": 3})
    told, _ = with_handed(Config.load(None, {}), handed(config))
    assert {name: getattr(told, name) for name in given} == given
    assert handed(Config.load(None, {"rounds": 5, "lr": 0.5})) == {}


def test_a_value_that_cannot_be_beside_the_worker_s_own_says_where_it_comes_from():
    with pytest.raises(ConfigError, match="with what the server's settings say of workers: overlap: got it together"):
        with_handed(Config.load(None, {"overlap": True}), {"local_steps": "2"})


def test_settings_of_a_loop_of_one_s_own_are_compared_with_the_server_s(tmp_path):
    with running_server(server_config(tmp_path, seed=5)) as server:
        with pytest.raises(JoinError, match="seed: got 4, the server's settings say 5"):
            RemoteOptimizer(perceptron(), server.address, session=SessionOptions(settings={"seed": "4"}))
        with RemoteOptimizer(perceptron(), server.address, session=SessionOptions(settings={"seed": "5"})):
            pass
    assert "task = " not in (tmp_path / "run" / "config.toml").read_text()

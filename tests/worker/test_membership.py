"""Joining, joining late or again, leaving, the end of the run, transient errors."""

import random
import socket
from pathlib import Path

import pytest
import torch

from gradwire.links.forwarder import Forwarder
from gradwire_common.errors import (
    ConfigError,
    JoinError,
    ModelMismatchError,
    NonFiniteError,
    RunEndedError,
    UnavailableError,
    UsageError,
)
from gradwire_worker.coding import Coding
from gradwire_worker.compute.flat_model import manifest_of
from gradwire_worker.remote_optimizer import RemoteOptimizer
from gradwire_worker.session import SessionOptions
from gradwire_worker.session.client import Client
from running import running_server
from worker.toys import assert_same_state, batches, loss_of, perceptron, run_together, server_config, state_of


def step(model: torch.nn.Module, optimizer: RemoteOptimizer, seed: int = 0) -> None:
    optimizer.zero_grad()
    loss = loss_of(model, batches(1, seed=seed)[0])
    loss.backward()
    optimizer.step(samples=8, loss=loss)


def test_the_first_workers_weights_count_and_later_ones_load_them(tmp_path):
    first, second = perceptron(seed=1), perceptron(seed=2)
    with (
        running_server(server_config(tmp_path)) as server,
        RemoteOptimizer(first, server.address),
        RemoteOptimizer(second, server.address) as optimizer,
    ):
        assert_same_state(state_of(second), state_of(perceptron(seed=1)))
        assert (optimizer.version, optimizer.slot, optimizer.slots) == (0, 1, 1)


def test_weights_are_asked_of_another_when_the_first_worker_is_gone(tmp_path):
    model = perceptron(seed=3)
    with running_server(server_config(tmp_path, heartbeat=0.2)) as server:
        silent = Client(server.address, manifest_of(model), SessionOptions(worker_id="silent"))
        assert silent.join().weights_wanted
        with RemoteOptimizer(model, server.address, session=SessionOptions(worker_id="heard")) as optimizer:
            assert optimizer.version == 0
            assert_same_state(state_of(model), state_of(perceptron(seed=3)))
        silent.close()


def test_a_replica_that_differs_is_put_right_by_a_snapshot(tmp_path):
    model, other = perceptron(), perceptron()
    with (
        running_server(server_config(tmp_path, workers=2, quantizer="uniform")) as server,
        RemoteOptimizer(model, server.address, session=SessionOptions(patience=60)) as optimizer,
        RemoteOptimizer(other, server.address, session=SessionOptions(patience=60)) as second,
    ):
        with optimizer._place.session.held() as replica:
            replica.values[7] += 1
        run_together(lambda: step(model, optimizer), lambda: step(other, second, seed=1))
        assert replica.snapshot_version == 1
        assert_same_state(state_of(model), state_of(other))


def test_a_worker_that_joins_late_gets_the_newest_weights_and_takes_part(tmp_path):
    first, late = perceptron(), perceptron(seed=5)
    with running_server(server_config(tmp_path)) as server, RemoteOptimizer(first, server.address) as optimizer:
        step(first, optimizer)
        step(first, optimizer)
        with RemoteOptimizer(late, server.address) as second:
            assert second.version == 2
            assert_same_state(state_of(late), state_of(first))
            run_together(lambda: step(first, optimizer), lambda: step(late, second, seed=1))
            assert (optimizer.version, second.version) == (3, 3)
            assert_same_state(state_of(late), state_of(first))


def test_the_end_of_one_workers_data_does_not_stop_the_other(tmp_path):
    short, long = perceptron(), perceptron()
    with running_server(server_config(tmp_path, workers=2)) as server:

        def train(model: torch.nn.Module, n: int) -> None:
            with RemoteOptimizer(model, server.address, session=SessionOptions(patience=60)) as optimizer:
                for i in range(n):
                    step(model, optimizer, seed=i)
                assert optimizer.version == n

        run_together(lambda: train(short, 2), lambda: train(long, 6))


def test_a_worker_that_joins_again_takes_its_old_place_and_ends_the_older_session(tmp_path):
    model = perceptron()
    with running_server(server_config(tmp_path)) as server:
        older = RemoteOptimizer(model, server.address, session=SessionOptions(worker_id="w", slot=3, patience=60))
        step(model, older)
        again = perceptron(seed=9)
        with RemoteOptimizer(again, server.address, session=SessionOptions(worker_id="w", patience=60)) as newer:
            assert (newer.slot, newer.version) == (3, 1)
            step(again, newer)
            with pytest.raises(JoinError, match="session ended: worker w joined again"):
                step(model, older)
        older.leave()


def test_the_run_ends_quietly_and_further_steps_are_refused(tmp_path):
    model = perceptron()
    with running_server(server_config(tmp_path, rounds=2)) as server:
        with RemoteOptimizer(model, server.address) as optimizer:
            done = []
            for i in range(5):
                step(model, optimizer)
                done.append(i)
        assert done == [0, 1]
        assert optimizer.ended
        assert optimizer.rounds == 2
        with pytest.raises(RunEndedError, match=r"run 'run' ended at version 2.*want no further step"):
            step(model, optimizer)
        server.join()


def test_a_server_that_stops_ends_the_run_for_who_waits(tmp_path):
    model, other = perceptron(), perceptron()
    with (
        running_server(server_config(tmp_path, workers=2)) as server,
        RemoteOptimizer(model, server.address),
        RemoteOptimizer(other, server.address) as optimizer,
    ):
        loss_of(other, batches(1)[0]).backward()

        def push_and_wait() -> None:
            with pytest.raises(RunEndedError, match="the server was stopped"):
                optimizer.step()

        server.stop()
        run_together(push_and_wait)


def test_nothing_is_pushed_of_a_gradient_that_is_not_finite(tmp_path):
    model = perceptron()
    with (
        running_server(server_config(tmp_path, quantizer="uniform")) as server,
        RemoteOptimizer(model, server.address) as optimizer,
    ):
        step(model, optimizer)
        held = optimizer.state_dict()["residual"]
        loss_of(model, batches(1)[0]).backward()
        model[2].bias.grad[3] = float("nan")
        with pytest.raises(NonFiniteError, match=r"2\.bias: got nan at entry 3"):
            optimizer.step()
        assert torch.equal(optimizer.state_dict()["residual"], held)
        step(model, optimizer)
        assert optimizer.version == 2


def test_a_push_for_a_closed_round_is_kept_whole_for_the_next(tmp_path):
    ahead, behind = perceptron(), perceptron()
    with (
        running_server(server_config(tmp_path, quantizer="uniform", heartbeat=1.0)) as server,
        Forwarder(server.address) as link,
        RemoteOptimizer(ahead, server.address) as optimizer,
        RemoteOptimizer(behind, link.address, session=SessionOptions(patience=60)) as late,
    ):
        link.retarget("127.0.0.1:1")
        link.cut()
        step(ahead, optimizer)  # waits until the other worker is taken for dead
        link.retarget(server.address)
        step(behind, late)
        assert (late.last_step.round, late.last_step.counted, late.version) == (1, False, 1)
        kept = late.state_dict()["residual"]
        assert torch.equal(kept[: 64 * 80], behind[0].weight.grad.ravel())
        assert_same_state(state_of(behind), state_of(ahead))
        run_together(lambda: step(ahead, optimizer), lambda: step(behind, late))
        assert late.last_step.counted


def test_a_link_cut_at_any_byte_repeats_the_same_bytes(tmp_path):
    """Before, in and after the initial weights and each push, which with all that is around it takes some 22,500."""
    rounds = 40

    def train(runs: Path, cuts: list[int]) -> dict[str, torch.Tensor]:
        model = perceptron()
        with running_server(server_config(runs, rounds=rounds)) as server, Forwarder(server.address) as link:
            link.cut_after(cuts[0])
            with RemoteOptimizer(model, link.address, session=SessionOptions(patience=60)) as optimizer:
                for i, cut in enumerate(cuts[1:]):
                    link.cut_after(cut)
                    step(model, optimizer, seed=i)
            assert len(link.connections) >= sum(cut <= 22_000 for cut in cuts)
        return state_of(model)

    undisturbed = train(tmp_path / "whole", [1 << 40] * (rounds + 1))
    rng = random.Random(5)
    cuts = [12_000, 1, 9, 10, 70, 22_000, 22_400, *(rng.randint(1, 22_300) for _ in range(rounds - 6))]
    assert_same_state(train(tmp_path / "cut", cuts), undisturbed)


def test_a_long_push_that_is_cut_goes_on_after_its_last_good_chunk(tmp_path):
    model = torch.nn.Linear(1000, 1000, bias=False)
    n_bytes = 4 * 1_000_000
    with (
        running_server(server_config(tmp_path, rate_up="1 Gbit/s")) as server,
        Forwarder(server.address) as link,
        RemoteOptimizer(model, link.address, session=SessionOptions(patience=60)) as optimizer,
    ):
        before = link.total_up()
        link.cut_after(n_bytes * 9 // 10)
        model.weight.grad = torch.randn(model.weight.shape, generator=torch.Generator().manual_seed(0))
        optimizer.step()
        assert len(link.connections) == 2
        assert optimizer.last_step.counted
        assert link.total_up() - before < 1.5 * n_bytes  # and not 1.9


def test_a_server_that_began_anew_is_not_trained_on(tmp_path):
    model = perceptron()
    with running_server(server_config(tmp_path)) as server, Forwarder(server.address) as link:
        optimizer = RemoteOptimizer(model, link.address, session=SessionOptions(patience=60))
        step(model, optimizer)
        with running_server(server_config(tmp_path, name="again")) as another:
            link.retarget(another.address)
            link.cut()
            with pytest.raises(JoinError, match=r"came back with version 0 of run 'again', want at least 1"):
                step(model, optimizer)
            optimizer.leave()


def test_a_server_that_cannot_be_reached_is_one_line(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(
        UnavailableError, match=rf"server 127\.0\.0\.1:{port} cannot be reached: .*\(tried for 0.2 s\)"
    ) as e:
        RemoteOptimizer(perceptron(), f"127.0.0.1:{port}", session=SessionOptions(patience=0.2))
    assert "\n" not in str(e.value)


def test_a_model_of_another_shape_is_refused_with_the_difference(tmp_path):
    wrong = torch.nn.Sequential(torch.nn.Linear(80, 64), torch.nn.ReLU(), torch.nn.Linear(64, 5))
    with (
        running_server(server_config(tmp_path)) as server,
        RemoteOptimizer(perceptron(), server.address),
        pytest.raises(ModelMismatchError, match=r"got 2\.weight \[5, 64\].*want 2\.weight \[4, 64\]"),
    ):
        RemoteOptimizer(wrong, server.address)


def test_settings_that_differ_are_refused_by_name(tmp_path):
    with (
        running_server(server_config(tmp_path)) as server,
        RemoteOptimizer(perceptron(), server.address, session=SessionOptions(settings={"seed": "0"})),
        pytest.raises(JoinError, match="seed: got 1, want 0"),
    ):
        RemoteOptimizer(perceptron(), server.address, session=SessionOptions(settings={"seed": "1"}))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"bits": lambda: 9.0}, ConfigError, r"bits: got 9\.0, want a number from 0.01 to 8"),
        ({"coding": lambda: Coding(quantizer="float2")}, ConfigError, "quantizer: got 'float2', want 'uniform'"),
        ({"coding": lambda: Coding(gamma=-1.0)}, ConfigError, "gamma: got -1.0"),
    ],
)
def test_a_method_that_cannot_be_is_refused_before_joining(options, error, message):
    with pytest.raises(error, match=message):
        RemoteOptimizer(perceptron(), "127.0.0.1:1", **{name: give() for name, give in options.items()})


def test_parameters_instead_of_a_model_are_refused():
    with pytest.raises(UsageError, match=r"model: got generator, want the torch\.nn\.Module itself"):
        RemoteOptimizer(perceptron().parameters(), "127.0.0.1:1")


def test_it_is_a_torch_optimizer_whose_rate_is_the_servers_where_that_is_set(tmp_path, caplog):
    model = perceptron()
    with running_server(server_config(tmp_path)) as server, RemoteOptimizer(model, server.address) as optimizer:
        assert isinstance(optimizer, torch.optim.Optimizer)
        assert optimizer.param_groups[0]["lr"] == 0.1
        with pytest.raises(UsageError, match="add_param_group: the run's tensors are settled at joining"):
            optimizer.add_param_group({"params": [torch.nn.Parameter(torch.zeros(1))]})
        optimizer.param_groups[0]["lr"] = 0.5
        step(model, optimizer)
        assert optimizer.param_groups[0]["lr"] == 0.1
    assert "lr: got 0.5 from this worker's loop; the server's own setting wins: 0.1" in caplog.text


@pytest.mark.parametrize("samples", [0, -1, 1.5, True])
def test_a_weight_that_is_no_count_is_refused(tmp_path, samples):
    model = perceptron()
    with (
        running_server(server_config(tmp_path)) as server,
        RemoteOptimizer(model, server.address) as optimizer,
        pytest.raises(UsageError, match=f"samples: got {samples}, want a whole number from 1"),
    ):
        optimizer.step(samples=samples)


def test_the_residual_memory_travels_in_the_state(tmp_path):
    model = perceptron()
    with running_server(server_config(tmp_path)) as server:
        with RemoteOptimizer(model, server.address, bits=1.0, session=SessionOptions(worker_id="w")) as optimizer:
            step(model, optimizer)
            state = optimizer.state_dict()
            assert state["version"] == 1
            assert state["residual"].abs().max() > 0
        with RemoteOptimizer(model, server.address, bits=1.0, session=SessionOptions(worker_id="w")) as again:
            again.load_state_dict(state)
            assert torch.equal(again.state_dict()["residual"], state["residual"])
            with pytest.raises(UsageError, match=r"residual has shape \[3\], want \[5444\]"):
                again.load_state_dict({"residual": torch.zeros(3)})


def test_the_split_of_a_step_is_kept(tmp_path):
    model = perceptron()
    with running_server(server_config(tmp_path)) as server, RemoteOptimizer(model, server.address) as optimizer:
        step(model, optimizer)
        last = optimizer.last_step
        assert (last.round, last.version, last.counted, last.samples) == (1, 1, True, 8)
        assert 16 < last.bits_per_entry < 34
        assert min(last.compute, last.copy, last.encode, last.send, last.wait) > 0

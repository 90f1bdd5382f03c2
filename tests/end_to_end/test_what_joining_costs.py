"""What a worker has of the weights does not travel when it joins; what travels is coded, and told while it does."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from safetensors.torch import save_file
from torch import nn

from gradwire.links.forwarder import Forwarder
from gradwire.local.monitor import Monitor
from gradwire_common.errors import ConfigError, DataError, ModelMismatchError
from gradwire_common.layout.manifest import Manifest, TensorSpec
from gradwire_common.methods.frames import encode_exact
from gradwire_server.checks import check_server
from gradwire_worker.remote_optimizer import RemoteOptimizer
from gradwire_worker.session import Session, SessionOptions
from running import running_server
from server.plain_worker import plain_workers, refused
from worker.toys import assert_same_state, batches, normalized, server_config, state_of, take_step

CALLS = 6000  # bytes of joins, heartbeats and headers that two workers cost


@contextmanager
def counted(address: str) -> Iterator[Callable[[], int]]:
    """Give what tells the bytes of initial weights, joins and snapshots since."""
    with Monitor(address, 60) as monitor:
        before = monitor.poll().bytes_setup
        yield lambda: monitor.poll().bytes_setup - before


def wide(seed: int) -> nn.Sequential:
    """A network whose weights outweigh the calls of joining."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(80, 400), nn.ReLU(), nn.Linear(400, 4))


def parameters_of(model: nn.Module) -> int:
    return sum(each.numel() for each in model.parameters())


def test_a_worker_of_the_same_seed_downloads_nothing(tmp_path: Path) -> None:
    first, second = wide(7), wide(7)
    with (
        running_server(server_config(tmp_path, workers=2)) as server,
        RemoteOptimizer(first, server.address),
        counted(server.address) as bytes_since,
        RemoteOptimizer(second, server.address) as optimizer,
    ):
        assert bytes_since() < CALLS < parameters_of(second)
        assert optimizer.version == 0
        assert_same_state(state_of(second), state_of(first))


def test_a_worker_of_another_seed_gets_the_servers_bits_coded(tmp_path: Path) -> None:
    first, second = wide(1), wide(2)
    with (
        running_server(server_config(tmp_path, workers=2)) as server,
        RemoteOptimizer(first, server.address),
        counted(server.address) as bytes_since,
        RemoteOptimizer(second, server.address),
    ):
        assert 3 * parameters_of(second) < bytes_since() < 3.5 * parameters_of(second) + CALLS
        assert_same_state(state_of(second), state_of(first))


def test_only_what_differs_travels_to_a_worker_that_joins_in_mid_run(tmp_path: Path) -> None:
    """The frozen tensors are the same as at the beginning; those that are trained are not."""

    def model() -> nn.Sequential:
        built = nn.Sequential(wide(3), nn.Linear(4, 40_000))
        built[1].requires_grad_(False)
        return built

    first, late = model(), model()
    with running_server(server_config(tmp_path)) as server, RemoteOptimizer(first, server.address) as optimizer:
        for batch in batches(3):
            take_step(first, optimizer, batch)
        with counted(server.address) as bytes_since, RemoteOptimizer(late, server.address) as joined:
            trained = parameters_of(late[0])
            assert 3 * trained < bytes_since() < 4 * trained + CALLS < parameters_of(late)
            assert joined.version == 3
            assert_same_state(state_of(late), state_of(first))


def test_buffers_and_integers_that_are_the_same_are_left_out_and_right(tmp_path: Path) -> None:
    first, late = normalized(3), normalized(3)
    batch = batches(1, (1, 8, 8))[0]
    config = server_config(tmp_path, buffers_every=1)
    with running_server(config) as server, RemoteOptimizer(first, server.address) as optimizer:
        take_step(first, optimizer, batch)
        with RemoteOptimizer(late, server.address) as joined:
            assert joined.version == 1
            assert_same_state(state_of(late), state_of(first))
            assert int(late[1].num_batches_tracked) == 1


def test_weights_that_no_run_could_begin_with_are_replaced_as_usual(tmp_path: Path) -> None:
    first, empty = wide(1), wide(1)
    with torch.no_grad():
        empty[0].weight.fill_(float("nan"))
    with (
        running_server(server_config(tmp_path)) as server,
        RemoteOptimizer(first, server.address),
        RemoteOptimizer(empty, server.address),
    ):
        assert_same_state(state_of(empty), state_of(first))


def test_bfloat16_by_choice_halves_what_travels_and_all_hold_the_same(tmp_path: Path) -> None:
    rounded = SessionOptions(initial_precision="bfloat16")
    first, same, other = wide(1), wide(1), wide(2)
    with (
        running_server(server_config(tmp_path)) as server,
        counted(server.address) as bytes_since,
        RemoteOptimizer(first, server.address, session=rounded) as optimizer,
    ):
        uploaded = bytes_since()
        assert uploaded < 1.7 * parameters_of(first) + CALLS
        for name, tensor in state_of(first).items():
            assert torch.equal(tensor, tensor.bfloat16().float()), name
            torch.testing.assert_close(tensor, state_of(wide(1))[name], rtol=2**-8, atol=0)
        with RemoteOptimizer(same, server.address, session=SessionOptions(initial_precision="bfloat16")):
            assert bytes_since() - uploaded < CALLS
            assert_same_state(state_of(same), state_of(first))
        with RemoteOptimizer(other, server.address):
            assert bytes_since() - uploaded < 1.7 * parameters_of(first) + 2 * CALLS
            assert_same_state(state_of(other), state_of(first))
        take_step(first, optimizer, batches(1)[0])
        with RemoteOptimizer(other, server.address):  # a later version is exact again
            assert_same_state(state_of(other), state_of(first))


def test_a_snapshot_that_was_cut_continues_with_the_tensors_that_are_missing(tmp_path: Path) -> None:
    manifest = Manifest(tuple(TensorSpec(f"layer{n}", (50_000,)) for n in range(8)))
    ours, theirs = (np.random.default_rng(n).normal(size=400_000).astype(np.float32) for n in (1, 2))
    whole = sum(map(len, encode_exact(ours, manifest.layout.units)))
    lines: list[str] = []
    with (
        running_server(server_config(tmp_path, rate_down="4 Mbit/s")) as server,
        Forwarder(server.address) as link,
        Session.join(server.address, manifest, lambda: ours),
        counted(server.address) as bytes_since,
    ):

        def show(line: str) -> None:
            lines.append(line)
            if len(lines) == 2:  # half has come
                link.cut()

        with Session.join(link.address, manifest, lambda: theirs, show=show) as late:
            assert_array_equal(late.replica.values, ours)
        assert whole < bytes_since() < 1.4 * whole  # 1.5 times and more, were it begun again
    assert lines[0].startswith("weights of version 0 from the server: ")
    assert re.search(r"iB of 1.27 MiB, [0-9.]+ Mbit/s, 0:0[0-9] left$", lines[0]), lines


def test_digests_of_another_model_are_refused(tmp_path: Path) -> None:
    with running_server(server_config(tmp_path)) as server, plain_workers(server.address, 2) as (a, b):
        a.begin()
        b.join()
        b.watch(held=bytes(8 * (len(b.layout.units) + 1)))
        with refused(DataError, "held: got .* bytes, want"):
            b.receive()


def test_a_run_that_begins_with_a_file_asks_nobody_for_weights(tmp_path: Path) -> None:
    source = wide(5)
    save_file(source.state_dict(), tmp_path / "first.safetensors")
    first, second, other = wide(5), wide(5), wide(6)
    config = server_config(tmp_path, initial_weights=tmp_path / "first.safetensors")
    with running_server(config) as server, counted(server.address) as bytes_since:
        with RemoteOptimizer(first, server.address), RemoteOptimizer(second, server.address):
            assert bytes_since() < 2 * CALLS < parameters_of(source)
            assert_same_state(state_of(first), state_of(source))
            assert_same_state(state_of(second), state_of(source))
        with RemoteOptimizer(other, server.address) as optimizer:
            assert_same_state(state_of(other), state_of(source))
            take_step(other, optimizer, batches(1)[0])
            assert optimizer.version == 1


def test_a_file_of_another_model_refuses_the_worker_by_the_tensors(tmp_path: Path) -> None:
    save_file(nn.Sequential(nn.Linear(80, 9)).state_dict(), tmp_path / "first.safetensors")
    config = server_config(tmp_path, initial_weights=tmp_path / "first.safetensors")
    with running_server(config) as server:
        with pytest.raises(ModelMismatchError, match=r"initial weights do not fit the model: 2.weight \[4, 400\] is"):
            RemoteOptimizer(wide(5), server.address)
        fitting = nn.Sequential(nn.Linear(80, 9))
        with RemoteOptimizer(fitting, server.address) as optimizer:
            assert optimizer.version == 0


def test_a_file_that_cannot_be_read_is_refused_before_the_server_begins(tmp_path: Path) -> None:
    path = tmp_path / "first.safetensors"
    path.write_bytes(b"weights")
    with pytest.raises(ConfigError, match=r"initial_weights: .* cannot be read as safetensors"):
        check_server(server_config(tmp_path, initial_weights=path))


def test_a_resumed_run_has_its_own_weights(tmp_path: Path) -> None:
    path = tmp_path / "first.safetensors"
    save_file(wide(5).state_dict(), path)
    trained, late = wide(5), wide(5)
    begun = server_config(tmp_path, initial_weights=path)
    with running_server(begun) as server, RemoteOptimizer(trained, server.address) as optimizer:
        take_step(trained, optimizer, batches(1)[0])
    resumed = server_config(tmp_path, initial_weights=path, resume=True)
    with running_server(resumed) as server, RemoteOptimizer(late, server.address):
        assert_same_state(state_of(late), state_of(trained))

"""Who joins, leaves or lags holds nobody up, and all hold the same bits as the server in the end."""

import threading
import zlib
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from gradwire.links.forwarder import Forwarder
from gradwire.links.profile import Link
from gradwire.local.monitor import Monitor
from gradwire_common.errors import GradwireError
from gradwire_worker.remote_optimizer import RemoteOptimizer
from gradwire_worker.session import SessionOptions
from running import running_server
from worker.toys import assert_same_state, perceptron, run_together, server_config, state_of

LARGE = 10_000_000  # parameters
SNAPSHOT = 4 * LARGE  # bytes, at the most and nearly
ROUNDS = 200
GRACE = 240.0  # seconds for the slowest to hear of the end


def gradients(model: torch.nn.Module, generator: torch.Generator) -> None:
    """Give every parameter a random gradient."""
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator) * 0.01


def digest_of(model: torch.nn.Module) -> int:
    """CRC-32 of all tensors' bits."""
    return zlib.crc32(b"".join(tensor.numpy().tobytes() for tensor in state_of(model).values()))


@pytest.mark.long
def test_joining_a_large_run_takes_one_snapshot_and_costs_the_others_no_round(tmp_path: Path) -> None:
    class Large(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.randn(LARGE, generator=torch.Generator().manual_seed(1)))

    joined, stop = threading.Event(), threading.Event()
    first, late = Large(), Large()
    at_join: list[int] = []
    config = server_config(tmp_path, quantizer="uniform", bits=1.0, bits_down=0.5, checkpoint_every=0)
    with (
        running_server(config) as server,
        Forwarder(server.address, Link(rate_up=0, rate_down=10e6)) as thin,  # the snapshot takes seconds
        RemoteOptimizer(first, server.address) as optimizer,
    ):

        def go_on() -> None:
            generator = torch.Generator().manual_seed(0)
            while not stop.is_set():
                gradients(first, generator)
                optimizer.step()
                assert optimizer.last_step is not None
                assert optimizer.last_step.counted
                if not joined.is_set():
                    at_join.append(optimizer.version)

        def come_later() -> None:
            with Monitor(server.address, 60) as monitor:
                before = monitor.poll().bytes_setup
                try:
                    with RemoteOptimizer(late, thin.address) as joiner:
                        began = len(at_join)
                        joined.set()
                        assert began >= 2, "no round was made while the other joined"
                        taken = monitor.poll().bytes_setup - before
                        assert 0.5 * SNAPSHOT < taken < 1.05 * SNAPSHOT
                        assert joiner.version >= 0
                finally:
                    joined.set()
                    stop.set()

        run_together(go_on, come_later)


@pytest.mark.long
def test_all_hold_the_servers_bits_after_many_rounds_with_joins_leaves_and_slow_watchers(tmp_path: Path) -> None:
    config = server_config(
        tmp_path, workers=2, rounds=ROUNDS, quantizer="uniform", bits=1.0, quorum=1, deadline="0.1", buffers_every=0
    )
    over = threading.Event()
    seen: dict[int, set[int]] = defaultdict(set)  # digests of the models that held each version
    final: list[torch.nn.Module] = []
    with (
        running_server(config, grace=GRACE) as server,
        Forwarder(server.address, Link(rate_up=0, rate_down=10e3)) as thin,  # less than the updates take
    ):

        def step(model: torch.nn.Module, optimizer: RemoteOptimizer, generator: torch.Generator) -> int:
            gradients(model, generator)
            optimizer.step()
            seen[optimizer.version].add(digest_of(model))
            return optimizer.version

        def stay(slot: int, address: str) -> list[int]:
            """Step until the run ends; return the versions that the steps ended with."""
            versions = []
            model, generator = perceptron(slot), torch.Generator().manual_seed(slot)
            try:
                with RemoteOptimizer(model, address, session=SessionOptions(slot=slot)) as optimizer:
                    while not optimizer.ended:
                        versions.append(step(model, optimizer, generator))
            finally:
                over.set()
            if versions[-1] == ROUNDS:  # not where the run ended while a late push was on its way
                final.append(model)
            return versions

        def come_and_go() -> int:
            """Join for five steps again and again; return how often that was done."""
            generator = torch.Generator().manual_seed(9)
            visits = 0
            while not over.is_set():
                model = perceptron(9)
                try:
                    with RemoteOptimizer(
                        model, server.address, session=SessionOptions(worker_id="guest", slot=3, patience=5)
                    ) as optimizer:
                        for _ in range(5):
                            step(model, optimizer, generator)
                        visits += 1
                except GradwireError:
                    if not over.wait(GRACE):  # only the end of the run may turn a guest away
                        raise
            return visits

        with ThreadPoolExecutor() as threads:
            stays = [threads.submit(stay, slot, address) for slot, address in enumerate([server.address] * 2)]
            lagging, guest = threads.submit(stay, 2, thin.address), threads.submit(come_and_go)
        assert all(each.result() for each in stays)
        assert any(after > before + 1 for before, after in pairwise(lagging.result())), "nothing went on without it"
        assert guest.result() > 3
        server.join()
    assert all(len(digests) == 1 for digests in seen.values())
    held = load_file(tmp_path / "run" / "weights.safetensors")
    assert final  # the worker whose push the last round closed with
    for model in final:
        assert_same_state(dict(sorted(state_of(model).items())), dict(sorted(held.items())))

"""Who joins a large run holds nobody up."""

import threading
from pathlib import Path

import pytest
import torch

from gradwire.links.forwarder import Forwarder
from gradwire.links.profile import Link
from gradwire.monitor import Monitor
from gradwire_worker.remote_optimizer import RemoteOptimizer
from running import running_server
from worker.toys import run_together, server_config

LARGE = 10_000_000  # parameters
SNAPSHOT = 4 * LARGE  # bytes, at the most and nearly


def gradients(model: torch.nn.Module, generator: torch.Generator) -> None:
    """Give every parameter a random gradient."""
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator) * 0.01


@pytest.mark.long
def test_joining_a_large_run_takes_one_snapshot_and_costs_the_others_no_round(tmp_path: Path) -> None:
    class Large(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.randn(LARGE, generator=torch.Generator().manual_seed(1)))

    joined, stop = threading.Event(), threading.Event()
    first, late = Large(), Large()
    at_join: list[int] = []
    config = server_config(tmp_path, quantizer="uniform", bits=1.0, checkpoint_every=0)
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

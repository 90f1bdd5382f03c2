"""What a push may take, and that it takes no more."""

import itertools
from pathlib import Path

import pytest

from gradwire_common.errors import UsageError
from gradwire_common.transport.transfer import frames_budget, most_useful, transfer_bytes
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_worker.remote_optimizer import RemoteOptimizer
from gradwire_worker.session.budget import push_budget
from gradwire_worker.session.pending import PendingPush
from running import running_server
from worker.toys import batches, loss_of, perceptron, server_config


@pytest.mark.parametrize("n_bytes", [1, 500, 16_384, 16_385, 100_000, 1 << 20])
def test_a_push_takes_no_more_on_the_wire_than_is_said_before(n_bytes: int) -> None:
    push = PendingPush(pb.PUSH_KIND_GRADIENT, 10**6, 10**6, 10**6, True, "none")
    push.append(bytes(n_bytes))
    push.close(1.0, pb.StepTimes(compute=1, copy=1, fit=1, encode=1, send=1, wait=1), 2**40)
    list(push.messages("0123456789abcdef" * 2, lambda: 16_384))  # as long as a session is
    assert push.wire_bytes <= transfer_bytes(n_bytes, 16_384) <= push.wire_bytes + 64 + n_bytes // 1000
    assert frames_budget(transfer_bytes(n_bytes, 16_384), 16_384) <= n_bytes


def test_a_budget_is_what_passes_in_the_wanted_seconds_or_flowed_in_while_computing() -> None:
    limits = pb.Limits(share_up=1000, burst=300, transfer_seconds=2)
    for compute, want in [(0, 2000), (1.9, 2000), (2.1, 2100), (2.3, 2300), (60, 2300)]:
        assert push_budget(limits, compute) == want
    assert push_budget(pb.Limits(burst=300, transfer_seconds=2), 1.0) == 0


def test_bits_auto_spends_the_budget_that_the_server_states(tmp_path: Path) -> None:
    config = server_config(tmp_path, quantizer="uniform", bits="auto", rate_up="40 kbit/s", transfer_seconds=0.2)
    with running_server(config) as server, RemoteOptimizer(perceptron(), server.address) as optimizer:
        model = optimizer._place.flat.model
        for batch in itertools.islice(batches(6), 6):
            optimizer.zero_grad()
            loss_of(model, batch).backward()
            optimizer.step(samples=8)
            step = optimizer.last_step
            assert step is not None
            assert 0.9 * 1000 < step.wire_bytes <= step.budget
        from gradwire.local.monitor import Monitor

        with Monitor(server.address, 5.0) as monitor:
            reply = monitor.poll()
    (worker,) = reply.workers
    assert (worker.budget, worker.spent) == (step.budget, step.wire_bytes)
    assert [record.budget >= record.spent > 0 for record in reply.records] == [True] * len(reply.records)


def test_bits_auto_without_a_rate_is_refused(tmp_path: Path) -> None:
    with running_server(server_config(tmp_path)) as server, pytest.raises(UsageError, match="sets no rate_up"):
        RemoteOptimizer(perceptron(), server.address, bits="auto")


def test_no_budget_asks_for_more_bits_than_the_quantiser_has() -> None:
    assert most_useful(10_000, 0) == 9375
    assert most_useful(10_000, 50) == 9575

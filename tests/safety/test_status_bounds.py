"""Status and reports stay small and whole, whoever joined and whatever was reported."""

import pytest

from gradwire_common.metrics import MAX_COUNT, MAX_SUM
from gradwire_common.settings.config import ServedRun
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_server.rounds.member import Member
from gradwire_server.rpc.status import status_reply
from gradwire_server.run.run import Run
from gradwire_server.store.records import Records
from running import eventually
from safety.honest import serving
from server.plain_worker import gradient_of, plain_workers, run_config

GRPC_BYTES = 4 << 20  # gRPC's default limit of a message
WIDE = "\N{CJK UNIFIED IDEOGRAPH-4E00}"


def test_a_status_is_below_what_any_client_takes_and_those_that_are_alive_are_in_it(tmp_path):
    run = Run(ServedRun(), Records(tmp_path / "metrics.jsonl"))
    for n in range(6000):
        member = Member(f"{n:064d}", n, f"s{n}", 1.0, 1.0, alive=n >= 5000)
        member.refuse(WIDE * 5000)
        run.membership.members._by_id[member.worker_id] = member
    for n in range(1, 1501):
        run.books.records.rounds.append(pb.RoundRecord(round=n, loss=0.5, seconds=1.5, bits_up=0.25, samples=2**40))
        metrics = [pb.Metric(name=f"{WIDE * 60}{m}", sum=0.1, count=2**50) for m in range(32)]
        run.books.records.evaluations.append(pb.Evaluation(version=n, metrics=metrics))
    reply = status_reply(run, 0)
    assert reply.ByteSize() < GRPC_BYTES
    assert [worker.slot for worker in reply.workers] == [*range(1000), *range(5000, 6000)]
    assert [evaluation.version for evaluation in reply.evaluations] == list(range(1401, 1501))
    run.books.records.close()
    run.numbers.close()


@pytest.mark.parametrize("n", [1, 3])
def test_the_largest_reports_of_all_workers_make_an_evaluation_and_the_silent_are_noticed(tmp_path, n):
    config = run_config(tmp_path, rounds=0, workers=n, evaluate_every=1, heartbeat=0.3)
    with serving(config) as server, plain_workers(server.address, n) as workers:
        for worker in workers:
            worker.begin()
        for worker in workers:
            worker.push(gradient_of(1), 1)
        for worker in workers:
            worker.receive()
        metric = pb.Metric(name="loss", sum=MAX_SUM, count=MAX_COUNT)
        for worker in workers:
            report = pb.EvaluationReport(session=worker.session, version=1, metrics=[metric])
            worker.stub.Report(report, timeout=60)
        (evaluation,) = eventually(lambda: workers[0].status().evaluations)
        assert evaluation.metrics[0].count == n * MAX_COUNT
        eventually(lambda: not any(worker.alive for worker in workers[0].status().workers))

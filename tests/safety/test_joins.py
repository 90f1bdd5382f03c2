"""A stranger's join costs little, breaks nothing for others, and is told little."""

import errno
import resource
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import pytest
from numpy.testing import assert_array_equal

from gradwire_common.errors import JoinError, ModelMismatchError, RangeError, UsageError
from gradwire_common.layout.manifest import Manifest, TensorSpec
from gradwire_common.transport.packing import digest_of, pack, parse, pieces
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_server.limits import machine
from gradwire_server.rounds.member import Member
from gradwire_server.rounds.members import Members
from gradwire_server.store.journal import Segment
from running import RunningServer
from safety.honest import honest_pair, serving, undisturbed
from server.plain_worker import PlainWorker, plain_workers, refused, run_config

TRAINED = {"dtype": "float32", "role": pb.ROLE_PARAMETER}


def manifest_of(*tensors: dict[str, object], groups: int = 1, options: dict[str, float] | None = None) -> pb.Manifest:
    message = pb.Manifest(tensors=[{"name": f"w{n}", **TRAINED, **told} for n, told in enumerate(tensors)])
    for _ in range(groups):
        message.groups.add(options=options or {})
    return message


@pytest.mark.parametrize(
    ("manifest", "told"),
    [
        (manifest_of({"shape": [2**63] * 60_000}), "JoinRequest: got .* bytes, want at most 524288"),
        (manifest_of({"shape": [2**63] * 64}), "has 64 dimensions, .*want at most 64, and at most 1,099,511,627,776"),
        (manifest_of({"shape": [2**39]}, {"shape": [2**39]}, {"shape": [1]}), "got 1,099,511,627,777 entries in all"),
        (manifest_of({"shape": [2**35]}), "model: got 34,359,738,368 entries, want at most"),
        (manifest_of({"shape": [2], "dtype": "bits8"}), "got dtype 'bits8', want one of float64, float32"),
        (manifest_of({"shape": [2], "dtype": "quint8"}), "got dtype 'quint8'"),
        (manifest_of({"shape": [2], "dtype": "float8_e4m3fnuz"}), "got dtype 'float8_e4m3fnuz'"),
        (manifest_of({"shape": [2], "dtype": "__class__"}), "got dtype '__class__'"),
        (manifest_of({"shape": [2], "name": "__metadata__"}), "named '__metadata__', which weights files use"),
        (manifest_of({"shape": [2]}, options={"lr": float("nan")}), "parameter group 0: lr: got nan, want a number"),
        (manifest_of({"shape": [2]}, options={"lr": 1e300}), r"lr: got 1e\+300"),
        (manifest_of({"shape": [2]}, options={"weight_decay": 1e9}), r"group 0: lr \* weight_decay: got 1e\+08"),
        (
            manifest_of({"shape": [2]}, options={"momentum": 3.0}),
            "momentum: got 3, want at most 1, or the weights would",
        ),
        (manifest_of({"shape": [2]}, groups=50_000), "got 50,000 parameter groups, want at most 1"),
        (manifest_of({"shape": [2], "group": 2**31}), "is in group 2147483648, but there are 1 groups"),
    ],
    ids=lambda each: "" if isinstance(each, pb.Manifest) else each,
)
def test_a_first_model_that_cannot_be_is_refused_and_the_honest_one_trains(tmp_path, manifest, told):
    with serving(run_config(tmp_path, rounds=1)) as server, honest_pair(server.address) as pair:
        evil = PlainWorker(server.address, "evil")
        before = _peak_memory()
        with pytest.raises(grpc.RpcError, match=told) as caught:
            evil.join(manifest=manifest)
        assert caught.value.code() in (grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.INVALID_ARGUMENT)
        assert len(caught.value.details()) <= 450
        assert _peak_memory() - before < 64 << 20
        evil.channel.close()
        pair.begin()
        pair.play()
        assert_array_equal(pair.end(server), undisturbed(1))


def _peak_memory() -> int:
    """Bytes of memory that this process, which the server is a thread of, has had at the most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def test_a_model_of_more_entries_than_the_setting_allows_is_refused(tmp_path):
    config = run_config(tmp_path, most_parameters=1000)
    with serving(config) as server, plain_workers(server.address, 1) as (a,):
        with refused(ModelMismatchError, r"model: got 6,\d\d\d entries, want at most 1,000 \(most_parameters\)"):
            a.join()
        a.manifest = Manifest((TensorSpec("w", (1000,)),))
        assert a.join().weights_wanted


def test_the_memory_of_the_machine_is_that_of_its_container_where_that_is_less(tmp_path, monkeypatch):
    whole = machine.machine_memory()
    assert 1 << 28 < whole < 1 << 46
    limits = [tmp_path / name for name in ("none", "max", "limit")]
    limits[1].write_text("max\n")
    limits[2].write_text(f"{1 << 20}\n")
    monkeypatch.setattr(machine, "_CGROUP_LIMITS", limits)
    assert machine.machine_memory() == 1 << 20


@pytest.mark.parametrize(
    "data",
    [
        b"\x0a\x00" * (4 << 20),
        b"\x12\x00" * (4 << 20),
        b"\x0a\xff\xff\x03" + bytes(65_535),
        b"\x08\x01" * 1000,
        b"\x0a",
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\xff" * 100,
    ],
    ids=["tensors", "groups", "one long", "number", "cut", "length", "noise"],
)
def test_bytes_that_would_become_many_objects_are_refused_before_they_do(data):
    began = time.perf_counter()
    with pytest.raises(ModelMismatchError, match="manifest: got"):
        parse(data)
    assert time.perf_counter() - began < 5.0


# ----------------------------------------------------------------------------------------------- what stays usable


def test_the_highest_slot_leaves_slots_for_others_and_status_answers(tmp_path):
    with serving(run_config(tmp_path, rounds=2)) as server, honest_pair(server.address) as pair:
        pair.begin()
        with plain_workers(server.address, 4) as (_, _, c, d):
            with refused(RangeError, "slot: got 4294967295, want a whole number from 0 to 65535"):
                c.join(slot=2**32 - 1)
            assert c.join(slot=2**16 - 1).slot == 2**16 - 1
            assert d.join().slot == 2
            assert len(c.status().workers) == 4
            pair.play(2)
            for worker in (c, d):
                worker.leave()
        assert_array_equal(pair.end(server), undisturbed(2))


def test_members_run_out_of_slots_and_say_so():
    members = Members(2, 1.0, iter(map(str, range(10))).__next__)
    members._by_id = {f"w{n}": Member(f"w{n}", n, f"s{n}", 1.0, 1.0) for n in range(2**16) if n != 500}
    assert members.join("last", None, 0.0).slot == 500
    with pytest.raises(JoinError, match="all 65536 slots are held by workers that are alive"):
        members.join("one more", None, 0.0)


@pytest.mark.parametrize(
    "changes",
    [
        {"rate_up": 2**64 - 1, "burst": 2**64 - 1},
        {"burst": 2**63},
        {"shared_down": 2**53 + 1},
        {"window": 2**60},
    ],
)
def test_limits_that_no_status_could_tell_are_refused_and_it_answers(tmp_path, changes):
    with serving(run_config(tmp_path, rounds=2)) as server, honest_pair(server.address) as pair:
        pair.begin()
        with refused(RangeError, "LimitChanges: .*: got"):
            pair.workers[0].stub.Limit(pb.LimitRequest(changes=changes), timeout=60)
        pair.workers[0].stub.Limit(pb.LimitRequest(changes={"burst": 2**53, "rate_up": 2**53}), timeout=60)
        assert pair.workers[0].status().workers[0].tokens_up <= 2**53
        pair.play(2)
        assert_array_equal(pair.end(server), undisturbed(2))


# ---------------------------------------------------------------------------------------------- what it costs


@contextmanager
def stall(server: RunningServer) -> Iterator[list[float]]:
    """Measure by one call of Status after the other how long the event loop does not answer; the list has the worst."""
    worst, over = [0.0], threading.Event()
    watcher = PlainWorker(server.address, "watcher")
    watcher.status()

    def look() -> None:
        while not over.wait(0.01):
            began = time.perf_counter()
            watcher.status()
            worst[0] = max(worst[0], time.perf_counter() - began)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield worst
    finally:
        over.set()
        thread.join()
        watcher.channel.close()


def huge_joins(worker: PlainWorker) -> list[pb.JoinRequest]:
    """Requests as long as a join may be and as a message may be, of every kind of bulk."""
    tensors = pb.Manifest(tensors=[pb.TensorSpec(name=f"{n:08d}", shape=[2], **TRAINED) for n in range(120_000)])
    return [
        worker.join_request(manifest=tensors),
        worker.join_request(manifest=pb.Manifest.FromString(b"\x0a\x00" * 1_900_000)),
        worker.join_request(manifest=pb.Manifest.FromString(b"\x0a\x00" * 261_000)),
        worker.join_request(settings={f"{n:08d}": "x" for n in range(200_000)}),
        worker.join_request(settings={f"{n:08d}": "x" for n in range(34_000)}),
        worker.join_request(worker_id="w" * 3_900_000),
        worker.join_request(package_version="v" * 3_900_000, protocol_version=99),
    ]


def test_joins_as_long_as_a_message_may_be_are_refused_cheaply(tmp_path):
    with serving(run_config(tmp_path, rounds=2)) as server, honest_pair(server.address) as pair:
        pair.begin()
        evil = PlainWorker(server.address, "evil")
        requests = huge_joins(evil)
        with stall(server) as worst:
            for request in requests:
                for _ in range(2):
                    with pytest.raises(grpc.RpcError) as caught:
                        evil.stub.Join(request, timeout=60)
                    assert caught.value.code() not in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN)
        evil.channel.close()
        pair.play(2)
        assert_array_equal(pair.end(server), undisturbed(2))
        assert worst[0] < 0.5  # of a machine that others use; 0.1 s alone


# ---------------------------------------------------------------------------------------------- what it is told


def test_a_session_is_not_repeated_and_settings_and_models_only_in_part(tmp_path):
    with serving(run_config(tmp_path)) as server, plain_workers(server.address, 2) as (a, b):
        a.join(settings={"task": "x" * 1000, "seed": "0"})
        b.session = "guess"
        with pytest.raises(grpc.RpcError) as caught:
            b.heartbeat()
        assert "guess" not in caught.value.details()
        with refused(JoinError, r"task: got y{64}\.\.\. \(900 characters\), want x{64}\.\.\. \(1000 characters\)$"):
            b.join(settings={"task": "y" * 900, "seed": "0"})
        b.manifest = Manifest(tuple(TensorSpec(f"{'n' * 400}{n}", (2,)) for n in range(50)))
        with pytest.raises(grpc.RpcError) as caught:
            b.join(settings={"task": "x" * 1000, "seed": "0"})
        assert len(caught.value.details()) < 450


def test_where_the_server_keeps_its_files_is_told_to_nobody(tmp_path, monkeypatch):
    def full(self: Segment, records: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(self.path))

    with serving(run_config(tmp_path, workers=1)) as server, plain_workers(server.address, 1) as (a,):
        a.begin()
        monkeypatch.setattr(Segment, "append", full)
        with pytest.raises(grpc.RpcError) as caught:
            a.push(a.flat[: a.layout.n_parameters], 1)
        monkeypatch.undo()
        assert "No space left on device" in caught.value.details()
        assert str(tmp_path) not in caught.value.details()


def test_bytes_that_are_no_message_are_refused_in_one_line(tmp_path, caplog):
    with serving(run_config(tmp_path, rounds=1)) as server, honest_pair(server.address) as pair:
        pair.begin()
        channel = pair.workers[0].channel
        for name, stream in (("Join", False), ("Status", False), ("Limit", False), ("Push", True), ("Introduce", True)):
            make = channel.stream_unary if stream else channel.unary_unary
            call = make(f"/gradwire.v1.ParameterServer/{name}", None, None)
            for data in (b"\xff\xff\xff", b"\x0a\x7f", b"\x00" * 1000):
                with pytest.raises(grpc.RpcError, match=r"got .* bytes that are no such message") as caught:
                    call(iter([data]) if stream else data, timeout=60)
                assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        with pytest.raises(grpc.RpcError, match="no such message"):
            next(channel.unary_stream("/gradwire.v1.ParameterServer/Watch", None, None)(b"\xff", timeout=60))
        pair.play()
        assert_array_equal(pair.end(server), undisturbed(1))
    assert "Traceback" not in caplog.text


def test_an_introduction_holds_to_the_bounds_of_a_join(tmp_path):
    with serving(run_config(tmp_path)) as server, plain_workers(server.address, 1) as (a,):
        data = manifest_of({"shape": [2]}).SerializeToString()
        request = a.join_request(manifest=None, manifest_digest=digest_of(data), slot=2**20)
        parts = [pb.Introduction(join=request), *(pb.Introduction(manifest=each) for each in pieces(pack(data)))]
        with refused(RangeError, "slot: got 1048576"):
            a.stub.Introduce(iter(parts), timeout=60)
        with refused(UsageError, "introduction begins with nothing"):
            a.stub.Introduce(iter([]), timeout=60)

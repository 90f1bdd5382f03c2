"""A model of any number of tensors joins, or is refused with the numbers; what is no manifest costs little."""

import zlib
from collections.abc import Iterator

import grpc
import pytest
import torch
from torch import nn

from gradwire import RemoteOptimizer
from gradwire_common.errors import JoinError, ModelMismatchError, UsageError
from gradwire_common.layout.manifest import MAX_NAME, MAX_TENSORS, Manifest, Role, TensorSpec
from gradwire_common.transport import packing
from gradwire_common.transport.packing import (
    INLINE_BYTES,
    MAX_SERIALIZED,
    digest_of,
    pack,
    parse,
    pieces,
    serialize,
    unpack,
)
from gradwire_common.transport.wire import manifest_to_message
from gradwire_common.v1 import parameter_server_pb2 as pb
from gradwire_worker.session import SessionOptions
from running import running_server
from server.plain_worker import PlainWorker, refused, run_config
from worker.toys import server_config


def wide(n: int, name: str = "tower.blocks.{}.experts.attention.projection.weight") -> Manifest:
    """A manifest of `n` small tensors with long names."""
    return Manifest(tuple(TensorSpec(name.format(number), (2,)) for number in range(n)))


MANY = wide(12_000)  # about 800 KB


def introduce(worker: PlainWorker, packed: bytes, **changes: object) -> pb.JoinReply:
    """Join with a manifest in pieces."""
    data = serialize(worker.manifest)
    request = worker.join_request(manifest=None, manifest_digest=digest_of(data), **changes)

    def parts() -> Iterator[pb.Introduction]:
        yield pb.Introduction(join=request)
        for piece in pieces(packed):
            yield pb.Introduction(manifest=piece)

    return worker.stub.Introduce(parts(), timeout=60)


@pytest.mark.parametrize(
    "model",
    [
        lambda: nn.ParameterDict({f"{'backbone_layer_' * 10}{n}": nn.Parameter(torch.ones(1)) for n in range(2_000)}),
        lambda: nn.ModuleDict({"tower" * 40: nn.ParameterList([nn.Parameter(torch.ones(1)) for _ in range(1_500)])}),
        lambda: nn.ModuleDict({"expert" * 40: nn.ModuleList([nn.LayerNorm(2) for _ in range(700)])}),
    ],
    ids=["long names", "many parameters", "many modules"],
)
def test_a_model_of_many_tensors_joins_trains_and_resumes_from_its_checkpoint(tmp_path, model):
    config = server_config(tmp_path, rounds=2, checkpoint_every=1)
    trained = model()
    assert len(
        serialize(Manifest(tuple(TensorSpec(name, tuple(p.shape)) for name, p in trained.named_parameters())))
    ) > (INLINE_BYTES)
    with running_server(config, grace=0.1) as server:
        with RemoteOptimizer(trained, server.address, session=SessionOptions(worker_id="a")) as optimizer:
            sum(parameter.sum() for parameter in list(trained.parameters())[:3]).backward()
            optimizer.step()
            with RemoteOptimizer(model(), server.address, session=SessionOptions(worker_id="b", slot=1)) as another:
                assert another.version == 1
        server.stop()
    with running_server(config.replaced(resume=True), grace=0.1) as server:
        again = model()
        with RemoteOptimizer(again, server.address, session=SessionOptions(worker_id="a")) as optimizer:
            assert optimizer.version == 1
    for got, want in zip(again.parameters(), trained.parameters(), strict=True):
        assert torch.equal(got, want)


def test_sixty_thousand_tensors_with_names_of_eighty_characters_join(tmp_path):
    manifest = wide(60_000, "backbone_layer_" * 5 + "{}")
    data = serialize(manifest)
    assert len(data) > 4 << 20
    assert len(pack(data)) < 1 << 20
    with running_server(run_config(tmp_path)) as server:
        for name in ("a", "b"):
            worker = PlainWorker(server.address, name, manifest)
            known = worker.stub.Join(worker.join_request(manifest=None, manifest_digest=digest_of(data)), timeout=60)
            assert known.manifest_wanted == (name == "a")  # the second is known by the digest alone
            assert known.ByteSize() < 500
            if known.manifest_wanted:
                assert not known.session
                assert introduce(worker, pack(data)).session
            assert worker.status().ByteSize() < 2_000
            worker.channel.close()


def test_what_differs_in_a_long_manifest_is_named_in_a_short_line(tmp_path):
    others = [
        Manifest((*MANY.tensors[:-1], TensorSpec("another", (2,)))),
        Manifest(tuple(TensorSpec(spec.name, (3,)) for spec in MANY.tensors)),
        wide(12_000, "x" * 400 + "{}"),
    ]
    with running_server(run_config(tmp_path)) as server:
        first = PlainWorker(server.address, "a", MANY)
        introduce(first, pack(serialize(MANY)))
        for other in others:
            worker = PlainWorker(server.address, "b", other)
            with refused(ModelMismatchError, "^model differs from the run's: .{30,1400}$"):
                introduce(worker, pack(serialize(other)))
            worker.channel.close()
        worker = PlainWorker(server.address, "b", MANY)
        with refused(JoinError, "settings differ from the run's: seed: got 7, want 0"):
            introduce(worker, b"never read", settings={"task": "test", "seed": "7"})
        worker.channel.close()
        first.channel.close()


def bomb() -> bytes:
    deflate = zlib.compressobj()
    return deflate.compress(bytes(MAX_SERIALIZED + 2)) + deflate.flush()


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        (bomb, "manifest takes 16.00 MiB or more, want at most 16.00 MiB"),
        (lambda: b"no zlib", "7 compressed bytes cannot be read"),
        (lambda: pack(serialize(MANY))[:-20], "compressed bytes are cut short"),
        (lambda: b"", "0 compressed bytes are cut short"),
        (lambda: pack(b"\xff" * 100), "100 bytes that are no manifest"),
        (lambda: pack(b""), "want at least one"),
        (lambda: bytes(9 << 20), "manifest, compressed, takes 8.0. MiB or more, want at most 8.00 MiB"),
    ],
)
def test_what_is_no_manifest_is_refused_and_the_next_worker_joins(tmp_path, packed, message):
    with running_server(run_config(tmp_path)) as server:
        worker = PlainWorker(server.address, "a", MANY)
        with refused(ModelMismatchError, message):
            introduce(worker, packed())
        assert introduce(worker, pack(serialize(MANY))).session
        worker.channel.close()


def test_an_introduction_without_a_join_or_with_two_is_refused(tmp_path):
    with running_server(run_config(tmp_path)) as server:
        worker = PlainWorker(server.address, "a", MANY)
        join = pb.Introduction(join=worker.join_request(manifest=None))
        for parts, message in (
            ([], "introduction begins with nothing, want a join"),
            ([pb.Introduction(manifest=b"x")], "introduction begins with manifest, want a join"),
            ([join, join], "introduction continues with join, want the manifest"),
        ):
            with refused(UsageError, message):
                worker.stub.Introduce(iter(parts), timeout=60)
        long = worker.join_request(manifest=manifest_to_message(wide(5_000)))
        assert long.manifest.ByteSize() > INLINE_BYTES
        with refused(UsageError, f"got a manifest of {long.manifest.ByteSize()} bytes, want at most {INLINE_BYTES}"):
            worker.stub.Join(long, timeout=60)
        worker.channel.close()


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (lambda: (TensorSpec("w", (1,) * 60_000),), "has 60000 dimensions"),
        (lambda: (TensorSpec("w", (2**63,) * 60),), "at most 1,099,511,627,776 entries"),
        (lambda: (TensorSpec("w", (2**30, 2**30)),), "at most 1,099,511,627,776 entries"),
        (lambda: (TensorSpec("n" * 100_000, (1,)),), f"a name of 100,000 characters, want at most {MAX_NAME}"),
        (lambda: [TensorSpec("w", ())] * (MAX_TENSORS + 1), "got 100,001 tensors, want at most 100,000"),
    ],
)
def test_a_manifest_larger_than_any_models_is_refused_with_the_numbers_before_anything_is_built(tensors, message):
    with pytest.raises(ModelMismatchError, match=message) as told:
        Manifest(tuple(tensors()))
    assert len(str(told.value)) < 400


def test_more_groups_than_tensors_are_refused_and_as_many_are_no_trouble(tmp_path):
    tensors = tuple(TensorSpec(f"w{n}", (1,), group=n) for n in range(3_000))
    with pytest.raises(ModelMismatchError, match="got 3,001 parameter groups, want at most 3,000"):
        Manifest(tensors, ({},) * 3_001)
    with pytest.raises(ModelMismatchError, match="got 65 options in one parameter group, want at most 64"):
        Manifest(tensors, ({f"o{n}": 1.0 for n in range(65)},) * 3_000)
    with running_server(run_config(tmp_path)) as server:
        worker = PlainWorker(server.address, "a", Manifest(tensors, ({"lr": 0.1},) * 3_000))
        assert worker.join().session
        worker.channel.close()


def test_a_manifest_that_is_too_long_is_refused_at_the_worker(monkeypatch):
    monkeypatch.setattr(packing, "MAX_SERIALIZED", 1000)
    with pytest.raises(
        ModelMismatchError, match=r"manifest of 12000 tensors takes .* KiB or more, want at most 1000 B"
    ):
        serialize(MANY)


@pytest.mark.parametrize(
    "manifest", [MANY, Manifest((TensorSpec("", ()), TensorSpec("b", (0, 3), "int64", Role.BUFFER)))]
)
def test_a_manifest_survives_packing(manifest):
    data = serialize(manifest)
    assert parse(unpack(b"".join(pieces(pack(data))))) == manifest
    assert serialize(parse(data)) == data
    assert manifest_to_message(manifest).SerializeToString(deterministic=True) == data


def test_a_refusal_fits_the_metadata_of_a_call_whatever_a_worker_sent(tmp_path):
    with running_server(run_config(tmp_path)) as server:
        worker = PlainWorker(server.address, "a", MANY)
        request = worker.join_request(manifest=None, settings={"\N{PILE OF POO}" * 64: "\N{PILE OF POO}" * 1_000})
        first = PlainWorker(server.address, "b")
        first.join()
        with pytest.raises(grpc.RpcError) as told:
            worker.stub.Join(request, timeout=60)
        assert "settings differ from the run's" in told.value.details()
        worker.channel.close()
        first.channel.close()

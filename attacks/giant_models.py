"""Joins with models that would take a server's processor or memory before anybody trains.

    python attacks/giant_models.py

Answers:
    60,000 dimensions of 2**63, in a join: INVALID_ARGUMENT: JoinRequest: got 540068 bytes, want at most 524288
    60,000 dimensions of 2**63, in pieces: FAILED_PRECONDITION: manifest: got a tensor or group of 540,018 bytes, w...
    2**40 entries, in a join: FAILED_PRECONDITION: model differs from the run's: missing conv.weight [8, 3, 3, 3] f...
    2**40 entries, in pieces: FAILED_PRECONDITION: model differs from the run's: missing conv.weight [8, 3, 3, 3] f...
    100,000 tensors, in a join: INVALID_ARGUMENT: JoinRequest: got 2388939 bytes, want at most 524288
    100,000 tensors, in pieces: FAILED_PRECONDITION: model differs from the run's: missing conv.weight [8, 3, 3, 3]...
    a million empty groups, in a join: INVALID_ARGUMENT: JoinRequest: got 2044936 bytes, want at most 524288
    a million empty groups, in pieces: FAILED_PRECONDITION: manifest: got more tensors and groups than 200,000, wan...
    a dtype that no file can hold, in a join: FAILED_PRECONDITION: manifest: tensor 'dense.weight': got dtype 'bits...
    a dtype that no file can hold, in pieces: FAILED_PRECONDITION: manifest: tensor 'dense.weight': got dtype 'bits...
    a tensor called __metadata__, in a join: FAILED_PRECONDITION: manifest: a tensor is named '__metadata__', which...
    a tensor called __metadata__, in pieces: FAILED_PRECONDITION: manifest: a tensor is named '__metadata__', which...
"""

from gradwire_common.transport.packing import PIECE_BYTES, pack
from gradwire_common.v1 import parameter_server_pb2 as pb
from stage import PlainWorker, Stage, perform


def attack(on: Stage) -> None:
    """Join with models that nobody has."""
    huge = pb.TensorSpec(name="x", shape=[2**63 - 1] * 60_000, dtype="float32", role=pb.ROLE_PARAMETER)
    many = [pb.TensorSpec(name=f"t{i}", shape=[1], dtype="float32", role=pb.ROLE_PARAMETER) for i in range(100_000)]
    groups = pb.Manifest(tensors=many[:2000], groups=[pb.ParameterGroup() for _ in range(1_000_000)])
    models = {
        "60,000 dimensions of 2**63": pb.Manifest(tensors=[huge]),
        "2**40 entries": one((2**40,)),
        "100,000 tensors": pb.Manifest(tensors=many, groups=[pb.ParameterGroup()]),
        "a million empty groups": groups,
        "a dtype that no file can hold": one((4,), dtype="bits8"),
        "a tensor called __metadata__": one((4,), name="__metadata__"),
    }
    for what, manifest in models.items():
        on.tell(f"{what}, in a join", lambda manifest=manifest: on.peer("evil").join(manifest=manifest))
        on.tell(f"{what}, in pieces", lambda manifest=manifest: introduced(on.peer("evil"), manifest))


def introduced(evil: PlainWorker, manifest: pb.Manifest) -> pb.JoinReply:
    """Join with a manifest that comes by itself, in pieces."""
    request = evil.join_request()
    request.ClearField("manifest")
    packed = pack(manifest.SerializeToString())
    pieces = [packed[start : start + PIECE_BYTES] for start in range(0, len(packed), PIECE_BYTES)]
    messages = [pb.Introduction(join=request), *(pb.Introduction(manifest=piece) for piece in pieces)]
    return evil.stub.Introduce(iter(messages), timeout=60)


def one(shape: tuple[int, ...], dtype: str = "float32", name: str = "dense.weight") -> pb.Manifest:
    """Return a model of one tensor."""
    spec = pb.TensorSpec(name=name, shape=shape, dtype=dtype, role=pb.ROLE_PARAMETER)
    return pb.Manifest(tensors=[spec], groups=[pb.ParameterGroup()])


if __name__ == "__main__":
    perform(attack)

import pytest

from gradwire_common.errors import ConfigError, ModelMismatchError
from gradwire_common.layout.manifest import Manifest, Role, TensorSpec
from gradwire_common.methods.entropy import Entropy
from gradwire_common.methods.raw import Raw
from gradwire_common.transport.wire import (
    manifest_from_message,
    manifest_to_message,
    method_from_message,
    method_to_message,
)
from gradwire_common.v1 import parameter_server_pb2 as pb

MANIFEST = Manifest(
    (
        TensorSpec("weight", (3, 4), "bfloat16", group=1),
        TensorSpec("count", (), "int64", role=Role.BUFFER),
        TensorSpec("table", (5,), role=Role.FROZEN),
    ),
    groups=({}, {"lr": 0.5, "weight_decay": 0.0}),
)


def test_a_manifest_survives_the_wire():
    data = manifest_to_message(MANIFEST).SerializeToString()
    assert manifest_from_message(pb.Manifest.FromString(data)) == MANIFEST


@pytest.mark.parametrize(
    "method",
    [
        Raw(),
        Entropy(quantizer="float8-1-5-2", bits=0.3, allocation="per-tensor", gamma=0.7, transform="dct"),
        Entropy(bits="auto"),
    ],
    ids=str,
)
def test_a_method_survives_the_wire(method):
    data = method_to_message(method).SerializeToString()
    assert method_from_message(pb.Method.FromString(data)) == method


def test_a_role_that_does_not_exist_is_refused():
    message = pb.Manifest(tensors=[pb.TensorSpec(name="weight", shape=[3])])
    with pytest.raises(ModelMismatchError, match="'weight' has role 0, want 1, 2 or 3"):
        manifest_from_message(message)


@pytest.mark.parametrize(
    ("message", "want"),
    [
        (pb.Method(name="wavelets", options="{}"), "method: got 'wavelets', want one of co3, cocktail,"),
        (pb.Method(name="entropy", options="[]"), r"method 'entropy': got options '\[\]', want a JSON object"),
        (pb.Method(name="entropy", options='{"bits": 99}'), "bits: got 99, want a number from 0.01 to 8, or auto"),
        (pb.Method(name="raw", options='{"bits": 2}'), "method raw: got the option 'bits', but it has none"),
    ],
)
def test_a_method_that_is_not_known_here_is_refused(message, want):
    with pytest.raises(ConfigError, match=want):
        method_from_message(message)

import pytest

from gradwire_common.errors import ModelMismatchError
from gradwire_common.layout.manifest import BUNDLE_BELOW, BUNDLE_ENTRIES, Manifest, Role, TensorSpec

MODEL = Manifest(
    (
        TensorSpec("conv.weight", (64, 64, 3, 3)),
        TensorSpec("norm.weight", (64,)),
        TensorSpec("norm.mean", (64,), role=Role.BUFFER),
        TensorSpec("table", (100, 100), role=Role.FROZEN),
        TensorSpec("norm.bias", (64,)),
        TensorSpec("head.weight", (10, 640)),
        TensorSpec("scale", ()),
    )
)


def test_units_tile_the_vector_with_parameters_first():
    layout = MODEL.layout
    assert [(unit.start, unit.stop) for unit in layout.units] == [
        (0, 36864),
        (36864, 43264),
        (43264, 43393),
        (43393, 43457),
        (43457, 53457),
    ]
    assert [spec.name for spec in layout.order] == [
        "conv.weight",
        "head.weight",
        "norm.weight",
        "norm.bias",
        "scale",
        "norm.mean",
        "table",
    ]
    assert (layout.n_parameters, layout.n_buffers, layout.size) == (43393, 64, 53457)
    assert layout.slots["norm.bias"] == slice(43328, 43392)


def test_small_tensors_are_bundled_up_to_a_limit():
    entries = BUNDLE_BELOW - 1
    layout = Manifest(tuple(TensorSpec(f"t{i}", (entries,)) for i in range(100))).layout
    assert max(map(len, layout.parameters)) <= BUNDLE_ENTRIES
    assert sum(map(len, layout.parameters)) == 100 * entries


@pytest.mark.parametrize("with_buffers", [False, True])
def test_a_push_holds_parameters_and_the_buffers_that_are_due(with_buffers):
    pushed = sum(map(len, MODEL.layout.pushed(with_buffers)))
    assert pushed == MODEL.layout.n_parameters + with_buffers * MODEL.layout.n_buffers


def test_differences_name_every_tensor_that_differs():
    kept = [spec for spec in MODEL.tensors if spec.name not in ("head.weight", "scale")]
    other = Manifest((*kept, TensorSpec("head.weight", (11, 640)), TensorSpec("extra", (3,))))
    assert MODEL.differences(other) == [
        "missing scale [] float32 (parameter)",
        "unknown extra [3] float32 (parameter)",
        "got head.weight [11, 640] float32 (parameter), want head.weight [10, 640] float32 (parameter)",
    ]
    assert MODEL.differences(MODEL) == []


def test_groups_that_differ_are_differences():
    ours, theirs = (Manifest(MODEL.tensors, groups=({"lr": lr},)) for lr in (0.1, 0.2))
    assert ours.differences(theirs) == ["parameter group 0: got {'lr': 0.2}, want {'lr': 0.1}"]


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ((TensorSpec("a", (1,)), TensorSpec("a", (2,))), "named twice"),
        ((TensorSpec("a", (1,), group=1),), "is in group 1, but there are 1 groups"),
        ((TensorSpec("a", (1,), role=Role.BUFFER),), "no trainable parameter"),
    ],
)
def test_a_manifest_that_cannot_be_is_refused(tensors, message):
    with pytest.raises(ModelMismatchError, match=message):
        Manifest(tensors)

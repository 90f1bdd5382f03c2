from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from safetensors.torch import load_file

from gradwire_common.errors import BitstreamError
from gradwire_common.layout.manifest import Manifest, Role, TensorSpec
from gradwire_common.methods.frames import encode_exact
from gradwire_common.methods.update import decode_update
from gradwire_server.outcome.weights import Weights
from server.plain_worker import MANIFEST, digest, initial_weights

N = MANIFEST.layout.n_parameters


def loaded(*, exact: bool) -> Weights:
    weights = Weights(MANIFEST.layout, exact=exact)
    weights.load(memoryview(b"".join(encode_exact(initial_weights(), MANIFEST.layout.units))))
    return weights


@pytest.mark.parametrize("exact", [True, False])
def test_a_snapshot_is_the_replica_and_everything_else(exact: bool) -> None:
    weights = loaded(exact=exact)
    assert_array_equal(weights.values, initial_weights())
    weights.replica += 1
    weights.values[N:] += 2
    got = np.zeros(MANIFEST.layout.size, np.float32)
    decode_update(b"".join(weights.snapshot()), MANIFEST.layout.units, got)
    want = initial_weights()
    want[:N] += 1
    want[N:] += 2
    assert_array_equal(got, want)
    assert weights.digest() == digest(want[:N])


def test_where_updates_are_exact_the_replica_costs_no_memory() -> None:
    for exact in (True, False):
        weights = loaded(exact=exact)
        assert np.shares_memory(weights.replica, weights.values) == exact


def test_damaged_weights_are_refused() -> None:
    frames = bytearray(b"".join(encode_exact(initial_weights(), MANIFEST.layout.units)))
    frames[100] ^= 1
    with pytest.raises(BitstreamError, match="checksum"):
        Weights(MANIFEST.layout, exact=True).load(memoryview(frames))


def test_saved_weights_have_the_names_shapes_and_dtypes_of_the_model(tmp_path: Path) -> None:
    manifest = Manifest(
        (
            TensorSpec("half", (2, 3), "bfloat16"),
            TensorSpec("count", (), "int64", Role.BUFFER),
            TensorSpec("mask", (4,), "bool", Role.FROZEN),
        )
    )
    weights = Weights(manifest.layout, exact=True)
    weights.values[:] = [1, 2, 3, 4, 5, 6, 123456, 0, 1, 1, 0]
    weights.save(tmp_path / "weights.safetensors", manifest)
    saved = load_file(tmp_path / "weights.safetensors")
    assert (saved["half"].dtype, tuple(saved["half"].shape)) == (torch.bfloat16, (2, 3))
    assert (saved["count"].dtype, int(saved["count"])) == (torch.int64, 123456)
    assert saved["mask"].tolist() == [False, True, True, False]
    assert [path.name for path in tmp_path.iterdir()] == ["weights.safetensors"]

"""The replica applies what the server sends, and notices when it differs."""

import zlib
from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from coding import encoded
from gradwire_common.codec.frames import read_header
from gradwire_common.errors import BitstreamError, DataError, DigestError
from gradwire_common.layout.manifest import Layout, Role, TensorSpec
from gradwire_common.methods.entropy import Entropy
from gradwire_common.methods.frames import encode_exact
from gradwire_worker.session.heading import Heading, UpdateKind
from gradwire_worker.session.replica import NO_VERSION, Replica


@dataclass(frozen=True)
class Update:
    """One version's update, whole."""

    version: int
    kind: UpdateKind
    with_buffers: bool
    frames: bytes
    digest: int

    def apply_to(self, replica: Replica, *, piece: int = 1000) -> None:
        replica.begin(Heading(self.version, self.kind, self.with_buffers))
        for start in range(0, len(self.frames), piece):
            replica.add(start, self.frames[start : start + piece])
        replica.finish(len(self.frames), self.digest)


LAYOUT = Layout(
    [
        TensorSpec("weight", (4200,)),
        TensorSpec("bias", (3,)),
        TensorSpec("mean", (3,), role=Role.BUFFER),
        TensorSpec("fixed", (2,), role=Role.FROZEN),
    ]
)
N = LAYOUT.n_parameters


def weights(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=LAYOUT.size).astype(np.float32)


def digest(values: np.ndarray) -> int:
    return zlib.crc32(values[:N].tobytes())


def snapshot(values: np.ndarray, version: int) -> Update:
    return Update(version, UpdateKind.SNAPSHOT, True, b"".join(encode_exact(values, LAYOUT.units)), digest(values))


def change(values: np.ndarray, version: int, seed: int) -> tuple[Update, np.ndarray]:
    """A coded change of the parameters with new buffers, and what they make of `values`."""
    step = weights(seed)
    lost = np.zeros(N, np.float32)
    frames = encoded(Entropy(bits=3), LAYOUT, step, lost, with_buffers=True)
    data = b"".join(frames)
    expected = values.copy()
    expected[:N] += step[:N] - lost
    buffers = slice(N, N + LAYOUT.n_buffers)
    expected[buffers] = step[buffers]
    return Update(version, UpdateKind.CHANGE, True, data, digest(expected)), expected


def test_a_snapshot_sets_everything():
    replica, values = Replica(LAYOUT), weights()
    snapshot(values, 7).apply_to(replica)
    assert_array_equal(replica.values, values)
    assert (replica.version, replica.buffers_version, replica.snapshot_version) == (7, 7, 7)


def test_changes_add_to_the_parameters_and_replace_the_buffers():
    replica, values = Replica(LAYOUT), weights()
    replica.set(values, 0)
    for version in (1, 2, 3):
        update, values = change(values, version, seed=version)
        update.apply_to(replica)
        assert_array_equal(replica.values, values)
    assert (replica.version, replica.buffers_version, replica.snapshot_version) == (3, 3, 0)


def test_weights_replace_the_parameters():
    replica, values = Replica(LAYOUT), weights(1)
    replica.set(weights(0), 4)
    frames = b"".join(encode_exact(values, LAYOUT.parameters))
    Update(5, UpdateKind.WEIGHTS, False, frames, digest(values)).apply_to(replica)
    assert_array_equal(replica.values[:N], values[:N])
    assert_array_equal(replica.values[N:], weights(0)[N:])
    assert (replica.version, replica.buffers_version) == (5, 4)


@pytest.mark.parametrize("version", [0, 2, 5])
def test_a_change_that_does_not_follow_is_refused(version):
    replica = Replica(LAYOUT)
    replica.set(weights(), 0)
    with pytest.raises(DataError, match=f"got the change of version {version}, want version 1"):
        change(weights(), version, 1)[0].apply_to(replica)
    assert replica.version == 0


def test_a_digest_that_differs_leaves_no_version_until_a_snapshot():
    replica = Replica(LAYOUT)
    replica.set(weights(), 0)
    update, values = change(weights(), 1, 1)
    with pytest.raises(DigestError, match="weights of version 1: got digest"):
        replace(update, digest=update.digest ^ 1).apply_to(replica)
    assert replica.version == NO_VERSION
    snapshot(values, 1).apply_to(replica)
    assert replica.version == 1


def test_a_damaged_frame_leaves_no_version():
    replica = Replica(LAYOUT)
    replica.set(weights(), 0)
    update, _ = change(weights(), 1, 1)
    damaged = bytearray(update.frames)
    damaged[len(damaged) // 2] ^= 1
    with pytest.raises(BitstreamError):
        replace(update, frames=bytes(damaged)).apply_to(replica)
    assert replica.version == NO_VERSION


def test_frames_are_applied_as_they_come():
    replica, values = Replica(LAYOUT), weights()
    replica.set(values, 0)
    update, expected = change(values, 1, 1)
    first = read_header(update.frames).frame_length
    replica.begin(Heading(1, UpdateKind.CHANGE, with_buffers=True))
    replica.add(0, update.frames[: first + 5])
    unit = LAYOUT.parameters[0]
    assert_array_equal(replica.values[unit.place], expected[unit.place])
    assert (replica.version, replica.base) == (NO_VERSION, 0)
    replica.add(first + 5, update.frames[first + 5 :])
    replica.finish(len(update.frames), update.digest)
    assert_array_equal(replica.values, expected)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999, 1.0])
def test_an_update_that_broke_off_is_applied_once_when_it_comes_again(share):
    replica, values = Replica(LAYOUT), weights()
    replica.set(values, 0)
    update, expected = change(values, 1, 1)
    replica.begin(Heading(1, UpdateKind.CHANGE, with_buffers=True))
    replica.add(0, update.frames[: int(share * len(update.frames))])
    assert replica.base == 0
    update.apply_to(replica, piece=77)
    assert_array_equal(replica.values, expected)
    assert replica.version == 1


def test_another_update_after_one_that_broke_off_leaves_no_version_until_a_snapshot():
    replica, values = Replica(LAYOUT), weights()
    replica.set(values, 0)
    first, _ = change(values, 1, 1)
    replica.begin(Heading(1, UpdateKind.CHANGE, with_buffers=True))
    replica.add(0, first.frames[:-5])
    with pytest.raises(BitstreamError, match="differ from those that were applied already"):
        change(values, 1, 2)[0].apply_to(replica)
    assert replica.base == NO_VERSION
    snapshot(values, 1).apply_to(replica)
    assert_array_equal(replica.values, values)


def test_a_snapshot_takes_the_place_of_an_update_that_broke_off():
    replica, values = Replica(LAYOUT), weights()
    replica.set(values, 0)
    update, expected = change(values, 1, 1)
    replica.begin(Heading(1, UpdateKind.CHANGE, with_buffers=True))
    replica.add(0, update.frames[:-5])
    snapshot(expected, 1).apply_to(replica)
    assert_array_equal(replica.values, expected)


def test_an_end_before_the_last_frame_leaves_no_version():
    replica = Replica(LAYOUT)
    replica.set(weights(), 0)
    update, _ = change(weights(), 1, 1)
    with pytest.raises(BitstreamError, match="whole frames in"):
        replace(update, frames=update.frames[:-5]).apply_to(replica)
    assert (replica.version, replica.base) == (NO_VERSION, NO_VERSION)

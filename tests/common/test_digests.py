"""The digest of an update tells frames of the same lengths apart."""

import zlib

import numpy as np

from gradwire_common.codec.formats import Float32
from gradwire_common.codec.frames import encode_frame
from gradwire_common.transport.digests import EMPTY, digest_of


def frames_of(seed: int) -> bytes:
    rng = np.random.default_rng(seed)
    return b"".join(encode_frame(rng.standard_normal(n, np.float32), Float32(), raw=True) for n in (100, 30))


def test_frames_of_other_values_have_another_digest():
    updates = [frames_of(seed) for seed in range(20)]
    assert len({len(update) for update in updates}) == 1
    assert len({digest_of(update) for update in updates}) == len(updates)
    assert len({zlib.crc32(update) for update in updates}) == 1  # why it is not this


def test_a_digest_goes_on_where_another_ended():
    update = frames_of(0)
    for cut in (0, 1, len(update) // 2, len(update)):
        assert digest_of(update[cut:], digest_of(update[:cut])) == digest_of(update)
    assert digest_of(b"") == EMPTY

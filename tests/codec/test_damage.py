import zlib

import numpy as np
import pytest

from gradwire_common.codec.formats import all_formats, build_quantizer
from gradwire_common.codec.frames import add_frame, check_frame, decode_frame, encode_frame, read_header
from gradwire_common.codec.headers import CHECKSUM_BYTES, MAX_ENTRIES_PER_BYTE
from gradwire_common.codec.model.fit import fit_gennorm
from gradwire_common.errors import BitstreamError


def frames():
    values = np.random.default_rng(7).laplace(size=3000).astype(np.float32)
    model = fit_gennorm(values)
    for name in (form.name for form in all_formats()):
        for step in (0.05, 1.0, 6.0) if name == "uniform" else (1.0,):
            for explicit in (False, True):
                yield encode_frame(values, build_quantizer(name, model, step), model, explicit_lengths=explicit)


def sealed(body):
    return bytes(body) + zlib.crc32(body).to_bytes(CHECKSUM_BYTES, "little")


def test_a_cut_frame_is_refused():
    for frame in frames():
        for n in (0, 1, 5, 20, len(frame) // 2, len(frame) - 1):
            with pytest.raises(BitstreamError):
                decode_frame(frame[:n])


def test_a_flipped_bit_is_noticed():
    rng = np.random.default_rng(8)
    for frame in frames():
        for _ in range(20):
            damaged = bytearray(frame)
            damaged[rng.integers(len(frame))] ^= 1 << rng.integers(8)
            with pytest.raises(BitstreamError):
                decode_frame(damaged)


def test_random_bytes_are_refused():
    rng = np.random.default_rng(9)
    for n in range(0, 200, 7):
        with pytest.raises(BitstreamError):
            decode_frame(rng.bytes(n))


@pytest.mark.parametrize("path", ["fast", "portable"])
def test_damage_behind_a_right_checksum_decodes_to_something_or_is_refused(path, monkeypatch):
    if path == "portable":
        monkeypatch.setenv("GRADWIRE_PORTABLE", "1")
    rng = np.random.default_rng(10)
    refused = decoded = 0
    for frame in frames():
        for _ in range(25):
            damaged = bytearray(frame[:-CHECKSUM_BYTES])
            for _ in range(rng.integers(1, 4)):
                damaged[rng.integers(len(damaged))] = rng.integers(256)
            try:
                if read_header(damaged).n_entries < 1 << 22:
                    assert np.isfinite(decode_frame(sealed(damaged))).all()
                    check_frame(sealed(damaged))
                    decoded += 1
            except BitstreamError:
                refused += 1
                with pytest.raises(BitstreamError):
                    check_frame(sealed(damaged))
    assert refused > 100
    assert decoded > 0


def test_a_frame_cannot_claim_more_entries_than_its_bytes_can_hold():
    frame = bytearray(encode_frame(np.zeros(100, np.float32), build_quantizer("uniform", step=1.0)))
    at = 9
    assert frame[at] == 100
    frame[at : at + 1] = b"\xff\xff\xff\xff\xff\xff\x7f"
    with pytest.raises(BitstreamError, match="claims"):
        read_header(frame)
    assert MAX_ENTRIES_PER_BYTE == 32768


@pytest.mark.parametrize("portable", ["0", "1"])
def test_a_coded_bucket_beyond_the_largest_level_is_refused(portable, monkeypatch):
    """Found by fuzzing: a step so coarse that the 18th level is infinite, and 163 coded buckets."""
    monkeypatch.setenv("GRADWIRE_PORTABLE", portable)
    frame = bytes.fromhex(
        "475701050180a0667d28223f2000a3016c0000808a036f08fe6106070506"
        "017ecb914f92006afd4ba8aeef0360c01f5a0191a7be454902042a62ab53"
    )
    with pytest.raises(BitstreamError):
        decode_frame(frame)
    with pytest.raises(BitstreamError):
        add_frame(frame, 0.5, np.zeros(40, np.float32))

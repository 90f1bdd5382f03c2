"""Frames written once stay readable, by the codec and by the decoder written from the document."""

import json
import os
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

from codec.reference_decoder import decode
from gradwire_common.codec.formats import all_formats
from gradwire_common.codec.frames import add_frame, decode_frame, read_header
from gradwire_common.codec.kernels.dispatch import PORTABLE_VARIABLE

GOLDEN = Path(__file__).parent / "golden"
INDEX = json.loads((GOLDEN / "golden.json").read_text())


def frame(name):
    return (GOLDEN / f"{name}.frame").read_bytes()


def test_there_is_a_golden_frame_of_every_quantiser():
    assert {read_header(frame(name)).quantizer.format for name in INDEX} == set(all_formats())


@pytest.mark.parametrize("portable", ["0", "1"], ids=["fast", "portable"])
@pytest.mark.parametrize("name", INDEX)
def test_the_codec_reads_every_golden_frame(name, portable, monkeypatch):
    monkeypatch.setenv(PORTABLE_VARIABLE, portable)
    decoded = decode_frame(frame(name))
    assert decoded.size == INDEX[name]["entries"]
    assert zlib.crc32(decoded.tobytes()) == INDEX[name]["crc32"]
    added = np.ones_like(decoded)
    add_frame(frame(name), 0.3, added)
    np.testing.assert_array_equal(added, np.float32(1) + np.float32(0.3) * decoded)


@pytest.mark.parametrize("name", INDEX)
def test_the_decoder_written_from_the_document_reads_every_golden_frame(name):
    decoded = decode(frame(name))
    assert decoded.size == INDEX[name]["entries"]
    assert zlib.crc32(decoded.tobytes()) == INDEX[name]["crc32"]


def test_uncompiled_kernels_read_every_golden_frame_too():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "-k", "codec_reads"]
    done = subprocess.run(command, env={**os.environ, "NUMBA_DISABLE_JIT": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout

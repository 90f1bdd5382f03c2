"""Whatever the codec encodes, the decoder written from the document decodes to the same entries, bit for bit."""

import numpy as np
import pytest

from codec.reference_decoder import decode
from gradwire_common.codec.formats import all_formats, build_quantizer
from gradwire_common.codec.frames import decode_frame, encode_frame, read_header
from gradwire_common.codec.model.gennorm import GenNorm
from gradwire_common.codec.words import choice

NAMES = [form.name for form in all_formats()]


@pytest.mark.parametrize("explicit", [False, True], ids=["derived", "explicit"])
@pytest.mark.parametrize("beta", [0.3, 1.0, 3.0])
@pytest.mark.parametrize(
    ("name", "step"),
    [(name, None) for name in NAMES if name != "uniform"]
    + [("uniform", step) for step in (1e-4, 0.02, 0.5, 2.0, 6.0, 20.0)],
)
def test_both_decoders_agree(name, step, beta, explicit):
    model = GenNorm(beta, 2.0)
    for n in (1, 5, 63, 64, 65, 1001):
        values = model.sample(np.random.default_rng(n), n).astype(np.float32)
        frame = encode_frame(values, build_quantizer(name, model, step), model, explicit_lengths=explicit)
        assert decode(frame).tobytes() == decode_frame(frame).tobytes()


@pytest.mark.parametrize(("beta", "step"), [(0.7, 1.2), (1.0, 1.4), (1.5, 0.9), (2.0, 1.4)])
def test_both_decoders_agree_on_words_that_grow(beta, step, monkeypatch):
    monkeypatch.setattr(choice, "FEW_ENTRIES", 0)
    model, quantizer = GenNorm(beta, 1.0), build_quantizer("uniform", step=step)
    n_growing = 0
    for n in (*range(1, 12), 63, 64, 65, 500):
        for scale in (1.0, 0.1, 4.0):  # with a wrong model most words are rare
            values = (scale * model.sample(np.random.default_rng(n), n)).astype(np.float32)
            frame = encode_frame(values, quantizer, model)
            scheme = read_header(frame).scheme
            n_growing += scheme is not None and scheme.growth > 0
            assert decode(frame).tobytes() == decode_frame(frame).tobytes()
            assert decode(frame).tobytes() == quantizer.dequantize(quantizer.quantize(values)).tobytes()
    assert n_growing > 20  # others are shorter stored raw


def test_both_decoders_agree_where_the_model_is_wrong():
    model = GenNorm(1.0, 1.0)
    for scale in (1e-3, 1e3):
        values = (scale * np.random.default_rng(3).standard_normal(500)).astype(np.float32)
        for name in NAMES:
            frame = encode_frame(values, build_quantizer(name, model, 0.5), model)
            assert decode(frame).tobytes() == decode_frame(frame).tobytes()


@pytest.mark.parametrize("change", [0, 3, 9, 30, -1])
def test_the_reference_decoder_refuses_a_changed_byte(change):
    frame = bytearray(encode_frame(np.ones(100, np.float32), build_quantizer("uniform", step=0.5), GenNorm(1.0, 1.0)))
    frame[change] ^= 1
    with pytest.raises(ValueError, match=r".+"):
        decode(bytes(frame))

"""Undamaged frames of every quantiser and coding: what the mutations start from."""

from unittest import mock

import numpy as np
import numpy.typing as npt

from gradwire_common.codec import frames as codec_frames
from gradwire_common.codec.formats import Format, all_formats, build_quantizer
from gradwire_common.codec.frames import encode_frame
from gradwire_common.codec.model.gennorm import GenNorm
from gradwire_common.codec.words import choice
from gradwire_common.codec.words.choice import choose_scheme
from gradwire_common.codec.words.scheme import WordScheme

NAMES = [form.name for form in all_formats()]

SIZES = (0, 1, 2, 9, 40, 100, 300, 1000)  # entries
EXPLICIT_SIZES = (9, 100)  # entries; of which there are frames with explicit code lengths too
FEW_SEGMENTS = (2500, 1024)  # entries of a frame, and of each of its segments
STEPS = (0.02, 0.5, 2.0, 6.0, 14.0)  # in alpha; from 7 bits an entry down to hundredths of one
GROWING = {0.7: 1.2, 1.0: 1.4, 1.5: 0.9, 2.0: 1.4}  # shapes, and steps in alpha with which words grow
LARGE = 100_000  # entries; several segments as the encoder cuts them


def build_corpus(seed: int, largest: int = LARGE) -> list[bytes]:
    """Return frames of every quantiser, at several sizes and rates, with derived and with explicit code lengths.

    Args:
        seed: of their entries.
        largest: most entries of a frame.
    """
    rng = np.random.default_rng(seed)
    frames = []
    for n in (size for size in SIZES if size <= largest):
        for name in NAMES:
            for beta in (0.5, 1.3):
                frames += _encode_all(_draw(rng, beta, n), name, GenNorm(beta, 1.0))
    with mock.patch.object(choice, "FEW_ENTRIES", 0):
        for beta, step in GROWING.items():
            for n in (size for size in SIZES if size <= largest):
                model = GenNorm(beta, 1.0)
                frames.append(encode_frame(_draw(rng, beta, n), build_quantizer("uniform", model, step), model))
    frames += _encode_in_segments(rng, min(FEW_SEGMENTS[0], largest), FEW_SEGMENTS[1])
    if largest >= LARGE:
        frames += _encode_all(_draw(rng, 1.3, 5000), "uniform", GenNorm(1.3, 1.0))
        frames += _encode_all(_draw(rng, 1.0, LARGE), "float4-1-2-1", GenNorm(1.0, 1.0))
        frames += _encode_all(_draw(rng, 1.0, LARGE), "uniform", GenNorm(1.0, 1.0))
    outliers = _draw(rng, 1.0, min(3000, largest))
    outliers[::100] *= 1e4  # rare symbols far outside of what the model expects
    frames += _encode_all(outliers, "uniform", GenNorm(1.0, 1.0))
    frames += _encode_all(np.zeros(min(3000, largest), np.float32), "uniform", GenNorm(1.0, 1.0))
    return frames


def _encode_in_segments(rng: np.random.Generator, n: int, segment: int) -> list[bytes]:
    """Frames of more segments than the encoder would make of so few entries."""

    def choose(form: Format, beta_index: int, ratio_index: int, _: int) -> tuple[WordScheme, int]:
        return choose_scheme(form, beta_index, ratio_index)[0], segment

    with mock.patch.object(codec_frames, "choose_scheme", choose):
        return [frame for name in NAMES for frame in _encode_all(_draw(rng, 0.8, n), name, GenNorm(0.8, 1.0))]


def _draw(rng: np.random.Generator, beta: float, n: int) -> npt.NDArray[np.float32]:
    return GenNorm(beta, 1.0).sample(rng, n).astype(np.float32)


def _encode_all(values: npt.NDArray[np.float32], name: str, model: GenNorm) -> list[bytes]:
    steps = STEPS if name == "uniform" else (None,)
    quantizers = [build_quantizer(name, model, step) for step in steps]
    return [
        encode_frame(values, quantizer, model, explicit_lengths=explicit)
        for quantizer in quantizers
        for explicit in ((False, True) if values.size in EXPLICIT_SIZES or values.size > SIZES[-1] else (False,))
    ]

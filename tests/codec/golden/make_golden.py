"""Write the golden frames that are not there yet; old ones must stay readable as they are, until the version changes.

python tests/codec/golden/make_golden.py
"""

import json
import zlib
from pathlib import Path
from unittest import mock

import numpy as np
import numpy.typing as npt

from gradwire_common.codec.formats import all_formats, build_quantizer
from gradwire_common.codec.frames import decode_frame, encode_frame
from gradwire_common.codec.model.gennorm import GenNorm
from gradwire_common.codec.words import choice

HERE = Path(__file__).parent
INDEX = HERE / "golden.json"  # name -> entries and CRC-32 of the decoded float32 bytes
STEPS = {"7-bits": 0.02, "3-bits": 0.5, "1-bit": 2.0, "tenth-of-a-bit": 6.0, "hundredth-of-a-bit": 9.0}  # in alpha
GROWING = {2: (0.7, 1.2), 3: (1.0, 1.4), 4: (1.5, 0.9), 5: (2.0, 1.4)}  # most buckets of a word: shape, step in alpha

F32 = npt.NDArray[np.float32]


def main() -> None:
    """Write a file for each frame, and the index."""
    index = json.loads(INDEX.read_text()) if INDEX.exists() else {}
    frames = {name: frame for name, frame in build_frames().items() if name not in index}
    for name, frame in frames.items():
        (HERE / f"{name}.frame").write_bytes(frame)
        decoded = decode_frame(frame)
        index[name] = {"entries": decoded.size, "crc32": zlib.crc32(decoded.tobytes())}
    INDEX.write_text(json.dumps(index, indent=1) + "\n")
    print(f"{len(frames)} frames, {sum(map(len, frames.values()))} bytes")


def build_frames() -> dict[str, bytes]:
    """Return a frame of every quantiser, rate, coding and odd size, by name."""
    model, rng = GenNorm(0.8, 1.0), np.random.default_rng(20)
    frames = {}
    for name in (form.name for form in sorted(all_formats(), key=lambda form: form.number)):
        for what, step in STEPS.items() if name == "uniform" else [("", None)]:
            quantizer = build_quantizer(name, model, step)
            full = f"{name}-{what}".rstrip("-")
            frames[full] = encode_frame(samples(rng, model, 700), quantizer, model)
            frames[f"{full}-explicit"] = encode_frame(samples(rng, model, 700), quantizer, model, explicit_lengths=True)
        quantizer = build_quantizer(name, model, 0.5)
        frames[f"{name}-empty"] = encode_frame(np.empty(0, np.float32), quantizer, model)
        frames[f"{name}-one-entry"] = encode_frame(np.array([1.25], np.float32), quantizer, model)
    outliers = samples(rng, model, 1500)
    outliers[::50] *= 1e5
    frames["uniform-outliers"] = encode_frame(outliers, build_quantizer("uniform", model, 0.5), model)
    frames["uniform-runs-outliers"] = encode_frame(outliers, build_quantizer("uniform", model, 6.0), model)
    several = samples(rng, model, 60_000)
    frames["float4-1-2-1-segments"] = encode_frame(several, build_quantizer("float4-1-2-1", model), model)
    for size, (shape, step) in GROWING.items():
        model = GenNorm(shape, 1.0)
        values = samples(rng, model, 3000)
        values[::200] *= 10  # rare words
        with mock.patch.object(choice, "FEW_ENTRIES", 0):
            frame = encode_frame(values, build_quantizer("uniform", model, step), model)
        frames[f"uniform-growing-{size}"] = frame
    return frames


def samples(rng: np.random.Generator, model: GenNorm, n: int) -> F32:
    """Draw float32 samples of `model`."""
    return model.sample(rng, n).astype(np.float32)


if __name__ == "__main__":
    main()

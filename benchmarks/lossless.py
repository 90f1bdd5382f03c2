"""Measure bit-exact coding of float32 and bfloat16 weights beside zstd and ZipNN: bytes, and speed both ways.

    python benchmarks/lossless.py [--entries N] [--rounds N] [--weights FILE.safetensors] [--json FILE]

By the processor time of the process (ZipNN's one thread is not the caller's), in turns, best of several rounds; every
coder's output is checked. GB are of the tensor, 4 or 2 bytes an entry. gradwire takes and gives float32 entries, of
bfloat16 values too.
"""

import argparse
import importlib.util
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import zstandard
from safetensors.numpy import load_file
from sklearn.datasets import load_digits

from gradwire_common.codec.formats import BFloat16, Float32
from gradwire_common.codec.frames import decode_frame, encode_frame, warm_up
from gradwire_common.codec.model.gennorm import GenNorm
from passes import check
from stopwatch import take_turns

F32 = npt.NDArray[np.float32]
Ways = tuple[Callable[[], bytes], Callable[[bytes], object]]  # compress, decompress

SIGMA = 0.02  # of sampled weights
TRAINED_STEPS = 300


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=1 << 22, help="entries of the samples (default 4 Mi)")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds (default 5)")
    parser.add_argument("--weights", type=Path, help="float32 weights to measure too, a safetensors file")
    parser.add_argument("--json", type=Path, help="write every figure there")
    options = parser.parse_args()
    warm_up()
    rows = measure_weights(options.entries, options.rounds, options.weights)
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


def measure_weights(entries: int, rounds: int, path: Path | None = None) -> list[dict[str, Any]]:
    """Measure on `entries` normal samples, on a small trained network, and on the float32 weights of a file."""
    tensors = {"normal": GenNorm(2.0, SIGMA * 2**0.5).sample(np.random.default_rng(3), entries)}
    tensors["trained on digits"] = trained_weights()
    if path is not None:
        tensors[path.name] = np.concatenate([w.ravel() for w in load_file(path).values() if w.dtype == np.float32])
    return [row for name, weights in tensors.items() for row in measure_lossless(name, weights, rounds)]


def trained_weights() -> F32:
    """Return the weights of a network of two hidden layers, trained on handwritten digits."""
    torch.manual_seed(1)
    images, labels = (torch.tensor(part) for part in load_digits(return_X_y=True))
    wide = torch.nn.Linear(512, 512)
    net = torch.nn.Sequential(
        torch.nn.Linear(64, 512), torch.nn.ReLU(), wide, torch.nn.ReLU(), torch.nn.Linear(512, 10)
    )
    adam = torch.optim.Adam(net.parameters())
    for step in range(TRAINED_STEPS):
        batch = torch.arange(128 * step, 128 * (step + 1)) % len(labels)
        adam.zero_grad()
        torch.nn.functional.cross_entropy(net(images[batch].float() / 16), labels[batch]).backward()
        adam.step()
    return np.concatenate([p.detach().numpy().ravel() for p in net.parameters()])


def measure_lossless(name: str, weights: F32, rounds: int) -> Iterator[dict[str, Any]]:
    """Time every coder on `weights` as float32 and as bfloat16; print and yield a row each."""
    for kind, quantizer in (("float32", Float32()), ("bfloat16", BFloat16())):
        values = quantizer.dequantize(quantizer.quantize(weights))
        data = values.tobytes() if kind == "float32" else (values.view(np.uint32) >> 16).astype("<u2").tobytes()
        coders: dict[str, Ways] = {"gradwire": (lambda v=values, q=quantizer: encode_frame(v, q), decode_frame)}
        coders |= peers(kind, data)
        check(np.array_equal(decode_frame(encode_frame(values, quantizer)), values), f"{kind} comes back bit for bit")
        for coder, (compress, decompress) in coders.items():
            if coder != "gradwire":
                check(bytes(decompress(compress())) == data, f"{coder} gives {kind} back")  # type: ignore[call-overload]
        packed = {coder: compress() for coder, (compress, _) in coders.items()}
        runs: dict[tuple[str, str], Callable[[], object]] = {}
        for coder, (compress, decompress) in coders.items():
            runs[coder, "encode"] = compress
            runs[coder, "decode"] = lambda d=decompress, p=packed[coder]: d(p)
        timings = take_turns(runs, rounds, time.process_time)
        print(f"\n{kind}, {name}: {weights.size} entries{'':8}share of bytes, GB/s encode, decode")
        for coder in coders:
            speeds = [len(data) / timings[coder, way].best / 1e9 for way in ("encode", "decode")]
            share = len(packed[coder]) / len(data)
            print(f"  {coder:10} {100 * share:6.2f} % {speeds[0]:8.2f} {speeds[1]:8.2f}")
            yield {
                "weights": name,
                "kind": kind,
                "coder": coder,
                "share_of_bytes": share,
                "encode_gb_s": speeds[0],
                "decode_gb_s": speeds[1],
            }


def peers(kind: str, data: bytes) -> dict[str, Ways]:
    """Return zstd at two levels, and ZipNN where it is installed."""
    coders: dict[str, Ways] = {}
    for level in (1, 3):
        compressor = zstandard.ZstdCompressor(level=level)
        coders[f"zstd {level}"] = (lambda c=compressor: c.compress(data), zstandard.ZstdDecompressor().decompress)
    if importlib.util.find_spec("zipnn") is None:
        print("no ZipNN columns: it is not installed (it comes as C source)")
        return coders
    from zipnn import ZipNN

    coder = ZipNN(input_format="byte", bytearray_dtype=kind, threads=1)
    coders["ZipNN"] = (lambda: coder.compress(bytearray(data)), lambda packed: coder.decompress(bytearray(packed)))
    return coders


if __name__ == "__main__":
    main()

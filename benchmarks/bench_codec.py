"""Measure gradwire's codec beside other coders, in one process, in turns, by the processor time of one thread.

    python benchmarks/bench_codec.py [--entries N] [--rounds N] [--gradients FILE] [--json FILE]

Everything that is timed is also checked: each coder's symbols come back, each frame gives back the levels.
"""

import argparse
import json
import platform
from pathlib import Path
from statistics import geometric_mean, mean

import numba
import numpy as np

from choices import measure_choices
from comparison import Row, compare
from gradwire_common.codec.frames import warm_up
from lossless import measure_weights
from own import Gradwire
from passes import thread_gains, time_passes
from peers.general import ConstrictionAns, Memcpy, ZlibHuffman, Zstd
from peers.huff0 import Huff0, MissingPeerError, SharedHuff0, load_library
from rates import measure_rates
from workloads import Workload, recorded_workloads, sampled_workloads

PEERS: list[type] = [Zstd, ZlibHuffman, ConstrictionAns, Memcpy]
TRAFFIC = {"read": 4, "copy": 8, "subtract": 12}  # bytes an entry, reads for ownership included


def main() -> None:
    """Run everything, print it, and write it where the command line says."""
    options = parse_options()
    print(f"{platform.machine()}, numba {numba.__version__}, numpy {np.__version__}")
    print(f"kernels ready after {warm_up():.2f} s")
    peers = find_peers()
    coders: list[Row] = []
    passes: list[Row] = []
    threads: list[Row] = []
    for workload in sampled_workloads(options.entries):
        coders += compare(workload, peers, options.rounds)
        passes.append(measure_passes(workload, options.rounds))
        if workload.name.endswith("beta 1"):
            threads.append(measure_threads(workload, options.rounds))
    recorded: list[Row] = []
    if options.gradients is None:
        print("\nno recorded gradients: benchmarks/gradients.py records them, --gradients names them")
    else:
        for workload in recorded_workloads(options.gradients):
            recorded += compare(workload, peers, options.rounds)
    rates = list(measure_rates(options.entries, options.rounds))
    codebooks = measure_choices(options.rounds)
    lossless = measure_weights(options.entries, options.rounds)
    summary = summarise(coders, passes)
    print("\n" + "\n".join(f"{key:24} {value}" for key, value in summary.items()))
    if options.json is not None:
        sections: Row = {
            "coders": coders,
            "recorded": recorded,
            "rates": rates,
            "codebooks": codebooks,
            "lossless": lossless,
            "passes": passes,
            "threads": threads,
        }
        options.json.write_text(json.dumps({**summary, "entries": options.entries, **sections}, indent=1) + "\n")


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=1 << 24, help="entries of each sampled workload (default 16 Mi)")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds, after one that does not count (default 5)")
    parser.add_argument("--gradients", type=Path, help="what benchmarks/gradients.py recorded")
    parser.add_argument("--json", type=Path, help="write every figure there")
    return parser.parse_args()


def find_peers() -> list[type]:
    """Return the peers that can run here; say in one line where Huff0 cannot."""
    try:
        load_library()
    except MissingPeerError as missing:
        print(f"no Huff0 columns: {missing}")
        return PEERS
    return [Huff0, SharedHuff0, *PEERS]


def measure_passes(workload: Workload, rounds: int) -> Row:
    """Time the passes over float32 entries on the only part of `workload`; print and return Gentries/s."""
    (part,) = workload.parts
    timings = time_passes(part, rounds)
    speeds = {name: workload.n_entries / timing.best / 1e9 for name, timing in timings.items()}
    print("  Gentries/s: " + ", ".join(f"{name} {speed:.2f}" for name, speed in speeds.items()))
    print("  memory, GB/s: " + ", ".join(f"{name} {speeds[name] * size:.1f}" for name, size in TRAFFIC.items()))
    return {
        "workload": workload.name,
        "gentries_s": speeds,
        "gentries_s_median": {name: workload.n_entries / timing.median / 1e9 for name, timing in timings.items()},
        "residual_share_of_memory": speeds["encode, residual"] / speeds["subtract"],
        "add_vs_two_passes": speeds["decode + add"] / speeds["decode, then add"],
        "fit_share_of_encode": speeds["encode"] / speeds["fit"],
    }


def measure_threads(workload: Workload, rounds: int) -> Row:
    """Time two threads against one on the only part of `workload`; print and return the gains."""
    gains = thread_gains(workload.parts[0], rounds)
    print("  two threads against one: " + ", ".join(f"{name} {gain:.2f}" for name, gain in gains.items()))
    return {"workload": workload.name, **gains}


def summarise(coders: list[Row], passes: list[Row]) -> Row:
    """Return the figures at the top: means over the nine sampled workloads."""
    own = [row for row in coders if row["coder"] == Gradwire.name]

    def versus_huff0(way: str) -> float | None:
        ratios = [row[f"{way}_vs_huff0"] for row in own]
        return None if None in ratios else geometric_mean(ratios)

    def mean_speed(name: str) -> float:
        return geometric_mean(row["gentries_s"][name] for row in passes)

    return {
        "decode_vs_huff0": versus_huff0("decode"),
        "encode_vs_huff0": versus_huff0("encode"),
        "excess_bits_percent": mean(row["excess_percent"] for row in own),
        "excess_bits_percent_max": max(row["excess_percent"] for row in own),
        "fused_gsym_s": mean_speed("encode"),
        "fused_residual_gsym_s": mean_speed("encode, residual"),
        "residual_share_of_memory": geometric_mean(row["residual_share_of_memory"] for row in passes),
        "decode_gsym_s": mean_speed("decode"),
        "add_gsym_s": mean_speed("decode + add"),
        "add_vs_two_passes": geometric_mean(row["add_vs_two_passes"] for row in passes),
        "fit_gsym_s": mean_speed("fit"),
        "fit_share_of_encode": geometric_mean(row["fit_share_of_encode"] for row in passes),
    }


if __name__ == "__main__":
    main()

"""gradwire's coder and its peers on the same symbols."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from own import Gradwire
from passes import check
from peers.coder import Coder
from peers.huff0 import Huff0
from stopwatch import Timing, take_turns
from workloads import Workload

Row = dict[str, Any]


def compare(workload: Workload, peers: list[type], rounds: int) -> Iterator[Row]:
    """Time gradwire and `peers` on `workload` in turns; print and yield a row each."""
    coders: dict[str, list[Coder]] = {Gradwire.name: [Gradwire(part) for part in workload.parts]}
    coders |= {peer.name: [peer(part.symbols) for part in workload.parts] for peer in peers}
    runs = {}
    for name, parts in coders.items():
        for part, coder in zip(workload.parts, parts, strict=True):
            coder.encode()
            check(np.array_equal(coder.decode(), part.symbols), f"{name} gives back the symbols of {workload.name}")
        runs[name, "encode"] = lambda parts=parts: [coder.encode() for coder in parts]
        runs[name, "decode"] = lambda parts=parts: [coder.decode() for coder in parts]
    timings = take_turns(runs, rounds)
    print(f"\n{workload.name}: {workload.n_entries} symbols, entropy {workload.entropy:.3f} bits")
    print(
        f"{'':14} {'above H':>8} {'encode':>14} {'/ Huff0':>8} {'decode':>14} {'/ Huff0':>8}   Msym/s, best and median"
    )
    for name, parts in coders.items():
        row = build_row(workload, name, 8 * sum(coder.n_bytes for coder in parts), timings)
        print_row(row)
        yield row


def build_row(workload: Workload, name: str, n_bits: int, timings: dict[tuple[str, str], Timing]) -> Row:
    """Return the figures of the coder called `name`."""
    bits = n_bits / workload.n_entries
    row: Row = {
        "workload": workload.name,
        "coder": name,
        "entropy": workload.entropy,
        "bits": bits,
        "excess_percent": 100 * (bits / workload.entropy - 1),
    }
    for way in ("encode", "decode"):
        timing, reference = timings[name, way], timings.get((Huff0.name, way))
        row[f"{way}_msym_s"] = workload.n_entries / timing.best / 1e6
        row[f"{way}_median_msym_s"] = workload.n_entries / timing.median / 1e6
        row[f"{way}_vs_huff0"] = reference.best / timing.best if reference else None
    return row


def print_row(row: Row) -> None:
    """Print a row under the heading that `compare` prints."""
    columns = [f"{row['coder']:14} {row['excess_percent']:7.2f}%"]
    for way in ("encode", "decode"):
        versus = row[f"{way}_vs_huff0"]
        columns.append(f"{row[f'{way}_msym_s']:7.0f} {row[f'{way}_median_msym_s']:6.0f}")
        columns.append(f"{versus:8.2f}" if versus else 8 * " ")
    print(" ".join(columns))

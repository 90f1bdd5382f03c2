"""Rounds of gradwire and of torch's DistributedDataParallel (gloo), two workers on hosts of their own.

    python benchmarks/bench_hosts.py [--parameters N] [--links RATE ...] [--rounds N] [--json FILE]

The hosts are network namespaces whose lines tc holds to the rate, each way: two workers, and for gradwire the server on
a third host without a limit. Needs root and iproute2. Keys of the JSON: `rows`, of link, system, seconds (median round,
the first two left out), and `vs_ddp`: DDP's seconds over gradwire's, by system and link.
"""

import argparse
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from gradwire_common.units import parse_rate
from hosts import Host, hosts, lacking
from run_records import rounds_of

DDP = "DDP, gloo"
SYSTEMS = {DDP: None, "float32": "--quantizer float32", "2 bits": "--bits 2", "0.2 bits": "--bits 0.2"}
WORKER = Path(__file__).parent / "peers" / "ddp_worker.py"
PORT = 50051
WARMING = 2  # rounds that are not counted
ENVIRONMENT = {**os.environ, "GLOO_SOCKET_IFNAME": "eth0", "OMP_NUM_THREADS": "1", "TORCH_CPP_LOG_LEVEL": "ERROR"}


def main() -> None:
    """Run everything, print it, and write it where the command line says."""
    options = parse_options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # so that no host is left
    if what := lacking():
        print(f"skipped: hosts need {what}")
        return
    print(f"{platform.machine()}, {os.cpu_count()} cores; {options.parameters:,} parameters, 2 workers")
    print(f"{'link':>12} {'system':12} {'s/round':>9} {'DDP / it':>9}")
    rows: list[dict[str, Any]] = []
    for link in options.links:
        rate, ddp = parse_rate(link), 0.0
        for system in options.systems:
            with hosts({"server": 0, "a": int(rate), "b": int(rate)}) as made:
                seconds = median_round(system, made, options.parameters, options.rounds)
            ddp = seconds if system == DDP else ddp
            rows.append({"link": link, "system": system, "seconds": seconds, "vs_ddp": ddp / seconds if ddp else None})
            print(f"{link:>12} {system:12} {seconds:9.3f} {ddp / seconds if ddp else float('nan'):9.2f}", flush=True)
    if options.json:
        vs_ddp: dict[str, dict[str, float]] = {}
        for row in rows:
            vs_ddp.setdefault(row["system"], {})[row["link"]] = row["vs_ddp"]
        options.json.write_text(json.dumps({"rows": rows, "vs_ddp": vs_ddp}, indent=2) + "\n")


def median_round(system: str, made: dict[str, Host], parameters: int, rounds: int) -> float:
    """Train so many rounds; return the median seconds of one."""
    if system == DDP:
        return _ddp(made, parameters, rounds)
    return _gradwire(SYSTEMS[system] or "", made, parameters, rounds)


def _ddp(made: dict[str, Host], parameters: int, rounds: int) -> float:
    with ExitStack() as stack:
        workers = [
            _start(stack, made[name], [str(WORKER), str(rank), made["a"].address, str(parameters), str(rounds)])
            for rank, name in enumerate("ab")
        ]
        told = [worker.communicate()[0] for worker in workers]
    return _median([float(line) for line in told[0].split()])


def _gradwire(flags: str, made: dict[str, Host], parameters: int, rounds: int) -> float:
    address = f"{made['server'].address}:{PORT}"
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        serve = f"server --listen {address} --insecure --workers 2 --rounds {rounds} --name r --runs {folder}"
        serve += f" --evaluate-every 0 --checkpoint-every 0 --optimizer SGD --lr 0.01 --log-level error {flags}"
        server = _start(stack, made["server"], ["-m", "gradwire", *serve.split()])
        work = f"worker --server {address} --task synthetic --parameters {parameters} --threads 1 --log-level error"
        workers = [_start(stack, made[name], ["-m", "gradwire", *work.split()]) for name in "ab"]
        for process in (*workers, server):
            process.communicate()
        return _median([record["seconds"] for record in rounds_of(Path(folder) / "r")])


def _start(stack: ExitStack, host: Host, arguments: list[str]) -> "subprocess.Popen[str]":
    command = host.command(sys.executable, *arguments)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)
    stack.callback(process.wait)
    stack.callback(process.kill)
    return process


def _median(seconds: list[float]) -> float:
    return statistics.median(seconds[WARMING:])


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="measure rounds beside torch's DistributedDataParallel")
    parser.add_argument("--parameters", type=int, default=10_000_000)
    parser.add_argument("--links", nargs="+", default=["1000 Mbit/s", "100 Mbit/s", "20 Mbit/s"], metavar="RATE")
    parser.add_argument("--systems", nargs="+", default=list(SYSTEMS), choices=SYSTEMS)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""Measure what joining costs: bytes and seconds until a worker holds the run's weights, by what it has already.

    make bench-join ARGS="--rate '20 Mbit/s' --layers 17 --json FILE"

A server process, whose token buckets hold each worker to the rate; workers are threads of this process, their kernels
loaded. The model: layers of 1024 x 1024 with biases, 17 of them 17.8 million parameters, initialised as torch does.
Seconds are those of RemoteOptimizer(...). `over` is their quotient to bytes / rate; the burst of the token buckets
passes at once.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from gradwire import RemoteOptimizer, SessionOptions
from gradwire.local.monitor import Monitor
from gradwire_common.settings.config import Config
from gradwire_common.units import parse_rate
from gradwire_common.warming import warm_kernels
from round_systems import first_line, process

WIDTH = 1024
STATUS_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Joined:
    """Workers that joined at once.

    Attributes:
        case: what they had.
        seconds: until the last of them held the weights.
        n_bytes: that their initial weights and snapshots took on the wire.
        over: seconds over those that the bytes take at the rate; None where that is less than a tenth of a second.
    """

    case: str
    seconds: float
    n_bytes: int
    over: float | None


def main() -> None:
    """Run every case, print it, and write it where the command line says."""
    options = parse_options()
    warm_kernels()
    torch.set_num_threads(1)
    rows = [*begun_by_a_worker(options, "float32"), *begun_by_a_worker(options, "bfloat16"), begun_by_a_file(options)]
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")


def begun_by_a_worker(options: argparse.Namespace, precision: str) -> list[Joined]:
    """Let a worker upload its weights, then others join that have the same or not."""
    with Bench(options) as bench:
        bench.precision = precision
        return [
            bench.join(f"the first worker uploads ({precision})", [1]),
            bench.join(f"another of the same seed ({precision})", [1]),
            bench.join(f"another of another seed ({precision})", [2]),
        ]


def begun_by_a_file(options: argparse.Namespace) -> Joined:
    """Let two workers join at once that have loaded the file that the server begins with."""
    with Bench(options, from_file=True) as bench:
        return bench.join("two of the seed of the server's file", [1, 1])


class Bench:
    """A server, and the workers that have joined it."""

    def __init__(self, options: argparse.Namespace, *, from_file: bool = False):
        self._layers, self._rate, self._from_file = options.layers, options.rate, from_file
        self.precision = "float32"
        self._stack = ExitStack()

    def __enter__(self) -> "Bench":
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        initial = folder / "initial.safetensors" if self._from_file else None
        if initial is not None:
            save_file(self._model(1).state_dict(), initial)
        config = Config(
            runs=folder,
            listen="127.0.0.1:0",
            log_level="error",
            checkpoint_every=0,
            initial_weights=initial,
            rate_up=self._rate,
            rate_down=self._rate,
        )
        file = folder / "server.toml"
        file.write_text(config.to_toml())
        server = self._stack.enter_context(process(sys.executable, "-m", "gradwire", "server", "--config", str(file)))
        self._address = first_line(server).split()[-1]
        self._monitor = self._stack.enter_context(Monitor(self._address, STATUS_SECONDS))
        return self

    def __exit__(self, *failure: object) -> None:
        self._stack.close()

    def join(self, case: str, seeds: Sequence[int]) -> Joined:
        """Let a worker of each seed join, all at once; they stay."""
        models = [self._model(seed) for seed in seeds]
        before, began = self._monitor.poll().bytes_setup, time.monotonic()
        with ThreadPoolExecutor() as threads:
            joined = list(threads.map(self._joined, models))
        seconds = time.monotonic() - began
        for optimizer in joined:
            self._stack.callback(optimizer.leave)
        n_bytes = self._monitor.poll().bytes_setup - before
        bound = n_bytes / float(parse_rate(self._rate))
        row = Joined(case, seconds, n_bytes, seconds / bound if bound > 0.1 else None)
        over = f"{row.over:.3f}" if row.over else ""
        print(f"{case:42} {seconds:7.2f} s {n_bytes:12,} bytes  {over}", flush=True)
        return row

    def _joined(self, model: nn.Module) -> RemoteOptimizer:
        return RemoteOptimizer(model, self._address, session=SessionOptions(initial_precision=self.precision))

    def _model(self, seed: int) -> nn.Sequential:
        torch.manual_seed(seed)
        return nn.Sequential(*(nn.Linear(WIDTH, WIDTH) for _ in range(self._layers)))


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="measure what joining costs")
    parser.add_argument("--rate", default="20 Mbit/s", help="of each worker, either way")
    parser.add_argument("--layers", type=int, default=17, help="of 1,049,600 parameters each")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    return parser.parse_args()


if __name__ == "__main__":
    main()

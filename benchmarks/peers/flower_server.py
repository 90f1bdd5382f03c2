"""Flower's server for the work of bench_round.py; runs in the virtual environment that flwr is installed in.

    python flower_server.py PORT ROUNDS TENSORS ENTRIES

It prints the time (seconds of the monotonic clock) at which each round was aggregated.
"""

import sys
import time

import numpy as np
from flwr.common import ndarrays_to_parameters
from flwr.server import ServerConfig, start_server
from flwr.server.strategy import FedAvg


class Timed(FedAvg):
    """FedAvg that says when it has averaged."""

    def aggregate_fit(self, server_round, results, failures):
        """Average as FedAvg does."""
        averaged = super().aggregate_fit(server_round, results, failures)
        print(time.monotonic(), flush=True)
        return averaged


def main() -> None:
    port, rounds, tensors, entries = map(int, sys.argv[1:5])
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal(entries, np.float32) for _ in range(tensors)]
    strategy = Timed(
        fraction_evaluate=0.0,
        min_fit_clients=2,
        min_available_clients=2,
        initial_parameters=ndarrays_to_parameters(weights),
    )
    start_server(server_address=f"127.0.0.1:{port}", config=ServerConfig(num_rounds=rounds), strategy=strategy)


if __name__ == "__main__":
    main()

"""Flower's client for the work of bench_round.py: pulls every weight a little towards zero.

python flower_client.py ADDRESS
"""

import sys

import numpy as np
from flwr.client import NumPyClient, start_client


class Trivial(NumPyClient):
    """A client whose work costs next to nothing."""

    def fit(self, parameters, config):  # noqa: ARG002
        """Return weights * 0.9, of 64 samples."""
        return [tensor * np.float32(0.9) for tensor in parameters], 64, {}


if __name__ == "__main__":
    start_client(server_address=sys.argv[1], client=Trivial().to_client(), insecure=True)

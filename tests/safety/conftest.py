"""Real `gradwire` processes, as tests/cli has them."""

from cli.conftest import kernels, run, server, start

__all__ = ["kernels", "run", "server", "start"]

"""Real `gradwire` processes, as tests/cli has them."""

from cli.conftest import run, server, start

__all__ = ["run", "server", "start"]

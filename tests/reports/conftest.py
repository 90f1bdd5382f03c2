"""Real `gradwire` processes, as tests/cli has them, and the folder of a run that was killed."""

from pathlib import Path

import pytest

from cli.conftest import kernels, run, server, start
from gradwire_common.v1 import parameter_server_pb2 as pb
from server.test_resume import interrupted

__all__ = ["kernels", "played", "run", "server", "start"]


@pytest.fixture
def played(tmp_path: Path) -> tuple[Path, Path, pb.Receipt]:
    """A finished run, a copy of its folder as a kill left it, and the receipt of a push that the copy holds."""
    runs, copy = tmp_path / "runs", tmp_path / "copy"
    return runs, copy, interrupted(runs, copy)

"""A session takes part in a run by itself: without torch, without a model."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from gradwire_common.errors import ConfigError, RunEndedError, UsageError
from gradwire_common.layout.manifest import Manifest, TensorSpec
from gradwire_common.methods.frames import encode_exact
from gradwire_worker.session import Session, SessionOptions
from running import running_server
from worker.toys import run_together, server_config

MANIFEST = Manifest((TensorSpec("weight", (30,)),))
EXAMPLE = Path(__file__).parents[2] / "examples" / "without_torch.py"


def test_sessions_hold_the_same_weights_after_every_round(tmp_path: Path) -> None:
    target = np.linspace(-1, 1, 30, dtype=np.float32)
    sessions = []

    def work(slot: int) -> None:
        with Session.join(server.address, MANIFEST, lambda: np.zeros(30, np.float32)) as session:
            sessions.append(session)
            while not session.ended:
                gradient = session.replica.values - target + np.float32(slot - 0.5)
                session.push(encode_exact(gradient, MANIFEST.layout.parameters), samples=8)
            with pytest.raises(RunEndedError):
                session.push(encode_exact(target, MANIFEST.layout.parameters))

    with running_server(server_config(tmp_path, workers=2, rounds=60)) as server:
        run_together(lambda: work(0), lambda: work(1))
    one, two = sessions
    assert (one.version, two.version, one.left) == (60, 60, "done")
    assert_array_equal(one.replica.values, two.replica.values)
    assert_allclose(one.replica.values, target, atol=0.01)


def test_its_modules_and_the_example_run_without_torch(tmp_path: Path) -> None:
    code = (
        "import runpy, sys; runpy.run_path(sys.argv[1])['main'](sys.argv[2]); "
        "sys.exit('torch was imported' if 'torch' in sys.modules else 0)"
    )
    with running_server(server_config(tmp_path, rounds=100, lr=0.5)) as server:
        command = [sys.executable, "-c", code, str(EXAMPLE), server.address]
        done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("version 100: 9"), done.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"worker_id": "a b"}, "worker_id: got 'a b'"),
        ({"slot": -1}, "slot: got -1, want a whole number from 0"),
        ({"settings": "seed"}, "settings: got 'seed', want a dict"),
        ({"patience": -1.0}, "patience: got"),
    ],
)
def test_options_check_themselves(options: dict[str, object], message: str) -> None:
    with pytest.raises((UsageError, ConfigError), match=message):
        SessionOptions(**options)

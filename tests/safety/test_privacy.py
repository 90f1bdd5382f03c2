"""Noise of the deviation asked for, the same bits after a kill, and the epsilon that it gives in every view."""

import itertools
import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.optimize import brentq
from scipy.special import log_ndtr

from gradwire.commands.status import run_table
from gradwire.views.history import History
from gradwire.views.report import figures, summary_table
from gradwire_common.errors import CheckpointError, ConfigError
from gradwire_server.aggregation import privacy
from gradwire_server.aggregation.noise import GaussianNoise
from gradwire_server.aggregation.privacy import Privacy
from gradwire_server.store.checkpoint import load_checkpoint
from gradwire_server.store.state_files import checkpoint_versions
from running import eventually, running_server
from seams.played import ROUNDS, play
from server.plain_worker import gradient_of, initial_weights, plain_workers, run_config

PRIVATE = {
    "noise_multiplier": 2.0,
    "clip_norm": "1.0",
    "aggregation_options": {"weights": "equal"},
    "buffers_every": 0,
}


def exact_epsilon(multiplier: float, rounds: int, delta: float) -> float:
    """The epsilon of Gaussian mechanisms, exactly: Balle, Wang, ICML 2018, theorem 8; their composition is one."""
    mu = math.sqrt(rounds) / multiplier

    def excess(epsilon: float) -> float:
        below, above = log_ndtr(mu / 2 - epsilon / mu), log_ndtr(-mu / 2 - epsilon / mu)
        return math.exp(below) - math.exp(min(epsilon + above, 700.0)) - delta

    return float(brentq(excess, 0.0, 1e4)) if excess(0.0) > 0 else 0.0


class ExactAccountant:
    """Stands for dp-accounting's where that is not installed."""

    def compose(self, event: float, count: int) -> None:
        self.event, self.count = event, count

    def get_epsilon(self, delta: float) -> float:
        return exact_epsilon(self.event, self.count, delta)


@pytest.fixture
def accountant(monkeypatch: pytest.MonkeyPatch) -> None:
    privacy._epsilon.cache_clear()
    fake = SimpleNamespace(rdp=SimpleNamespace(RdpAccountant=ExactAccountant), GaussianDpEvent=float)
    monkeypatch.setattr(privacy, "_accounting", lambda: fake)


# ------------------------------------------------------------------------------------------------- epsilon


@pytest.mark.parametrize("rounds", [1, 30, 1000])
@pytest.mark.parametrize("multiplier", [0.8, 2.0, 20.0])
def test_epsilon_is_above_that_of_the_exact_mechanism_and_near_it(multiplier: float, rounds: int) -> None:
    pytest.importorskip("dp_accounting")
    privacy._epsilon.cache_clear()
    exact = exact_epsilon(multiplier, rounds, 1e-5)
    got = Privacy(multiplier, 1e-5).epsilon(rounds)
    assert exact <= got <= 1.2 * exact + 0.1


@pytest.mark.usefixtures("accountant")
def test_epsilon_is_zero_at_first_and_grows_with_every_round() -> None:
    told = [Privacy(1.5, 1e-6).epsilon(rounds) for rounds in range(6)]
    assert told[0] == 0
    assert all(earlier < later for earlier, later in itertools.pairwise(told))


def test_without_its_accountant_noise_is_refused_and_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "dp_accounting", None)
    with (
        pytest.raises(ConfigError, match=r"noise_multiplier: .* want pip install 'gradwire\[privacy\]'"),
        running_server(run_config(tmp_path, **PRIVATE)),
    ):
        pass


@pytest.mark.usefixtures("accountant")
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"clip_norm": "none"}, "clip_norm: got none together with noise_multiplier, want a number"),
        ({"clip_norm": "median"}, "clip_norm: got median together with noise_multiplier, want a number"),
        ({"aggregation_options": {}}, 'aggregation_options: got {} .*want {"weights": "equal"}'),
        ({"aggregation": "median", "aggregation_options": {}}, "aggregation: got median .*want mean"),
        ({"buffers_every": 10}, "buffers_every: got 10 .*want 0"),
        ({"mode": "asynchronous"}, "mode: got asynchronous .*want synchronous"),
    ],
)
def test_noise_that_would_hide_nothing_is_refused(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said), running_server(run_config(tmp_path, **{**PRIVATE, **changes})):
        pass


# --------------------------------------------------------------------------------------------------- noise


@pytest.mark.parametrize(("multiplier", "bound", "n"), [(1.0, 1.0, 1), (2.0, 0.5, 8), (0.3, 10.0, 100)])
def test_the_noise_has_the_deviation_of_the_formula_and_no_mean(multiplier: float, bound: float, n: int) -> None:
    values = np.zeros(1 << 19, np.float32)
    GaussianNoise(multiplier, bound, 5).add(values, 1, n)
    deviation = multiplier * bound / n
    assert values.std() == pytest.approx(deviation, rel=0.01)
    assert abs(values.mean()) < 5 * deviation / math.sqrt(values.size)
    assert np.mean(np.abs(values) < deviation) == pytest.approx(0.6827, abs=0.005)


def noise_of(key: int | None, round_: int) -> np.ndarray:
    values = np.zeros(1000, np.float32)
    GaussianNoise(1.0, 1.0, key).add(values, round_, 1)
    return values


def test_the_noise_follows_from_key_and_round_and_a_new_key_is_another() -> None:
    assert_array_equal(noise_of(5, 3), noise_of(5, 3))
    for other in (noise_of(5, 4), noise_of(6, 3), noise_of(None, 3)):
        assert abs(np.corrcoef(other, noise_of(5, 3))[0, 1]) < 0.2


@pytest.mark.parametrize("state", [{}, {"key": 5}, {"key": "x"}, {"key": "-1"}, {"key": str(2**128)}, {"key": None}])
def test_a_checkpoint_without_a_key_is_refused(state: dict[str, object]) -> None:
    with pytest.raises(CheckpointError, match="no key of the noise"):
        GaussianNoise(1.0, 1.0).load_state(state)


# --------------------------------------------------------------------------------------------------- runs


def gradient(worker: int, round_: int) -> np.ndarray:
    return gradient_of(10 * round_ + worker)


@pytest.mark.usefixtures("accountant")
def test_a_run_with_noise_survives_a_kill_with_the_same_bits_and_keeps_its_key_to_itself(tmp_path: Path) -> None:
    noisy = play(tmp_path / "noisy" / "runs", gradient, **PRIVATE)
    plain = play(tmp_path / "plain" / "runs", gradient, **{**PRIVATE, "noise_multiplier": 0.0})
    moved = (noisy - plain)[np.flatnonzero(noisy != plain)]
    assert moved.std() == pytest.approx(0.1 * 2.0 / 2 * math.sqrt(ROUNDS), rel=0.05)  # lr, the formula, the rounds
    run = tmp_path / "noisy" / "runs" / "run"
    checkpoint = load_checkpoint(run / "state", checkpoint_versions(run / "state")[-1])
    key = checkpoint.meta["training"]["noise"]["key"]
    assert int(key) > 2**64
    for name in ("config.toml", "metrics.jsonl"):
        assert key not in (run / name).read_text()


@pytest.mark.usefixtures("accountant")
def test_epsilon_is_in_status_in_the_log_and_in_the_report(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with (
        running_server(run_config(tmp_path, rounds=2, workers=1, privacy_delta=1e-6, **PRIVATE)) as server,
        plain_workers(server.address, 1) as (a,),
    ):
        a.begin(initial_weights())
        for round_ in (1, 2):
            a.push(gradient_of(round_), round_)
            a.receive()
            told = eventually(lambda wanted=round_: (reply := a.status()).version == wanted and reply).privacy
            assert told.epsilon == pytest.approx(exact_epsilon(2.0, round_, 1e-6))
            assert (told.delta, told.noise_multiplier) == (1e-6, 2.0)
        reply = a.status()
        a.leave()
        server.join()
    told = f"epsilon {exact_epsilon(2.0, 2, 1e-6):.3g}"
    assert any(told in str(cell) for column in run_table(reply).columns for cell in column.cells)
    assert f"privacy: {told} at delta 1e-06 after 2 rounds" in caplog.text
    history = History("run", privacy=Privacy(2.0, 1e-6))
    history.read(tmp_path / "run" / "metrics.jsonl")
    assert json.loads(json.dumps(figures(history)))["epsilon"] == pytest.approx(exact_epsilon(2.0, 2, 1e-6))
    assert any("privacy, epsilon" in str(cell) for column in summary_table(history).columns for cell in column.cells)


def test_a_run_without_noise_says_nothing_of_privacy() -> None:
    assert Privacy.of(0.0, 1e-5) is None
    assert figures(History("run"))["epsilon"] is None
    assert not any("privacy" in str(cell) for column in summary_table(History("run")).columns for cell in column.cells)

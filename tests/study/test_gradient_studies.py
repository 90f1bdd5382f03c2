"""Studies on gradients: figures that must hold whatever the gradient."""

import json
from pathlib import Path

import numpy as np
import pytest

from gradwire_common.codec.model.gennorm import GenNorm
from gradwire_common.errors import DataError
from gradwire_study.distortion.bound import gennorm_bound, normal_bound, rate_distortion
from gradwire_study.distortion.measure import distortion, measure_all
from gradwire_study.distortion.methods import RATES
from gradwire_study.distortion.report import write_report
from gradwire_study.gradients import load_gradient

DRAWN = GenNorm(0.7, 1e-3).sample(np.random.default_rng(0), 1 << 14)
GRADIENT = {"weight": DRAWN.reshape(128, 128)}


@pytest.mark.parametrize("slope", [1.0, 3.0, 20.0])
def test_the_bound_of_normal_data_is_the_known_one(slope: float) -> None:
    bits, nmse = rate_distortion(GenNorm(2.0, 5.0), slope)
    assert nmse == pytest.approx(normal_bound(bits), rel=1e-3)


def test_every_method_lies_above_the_bound_of_the_data_it_codes(tmp_path: Path) -> None:
    bound = sorted(gennorm_bound([DRAWN]))
    bits, nmse = np.array(bound).T
    found = measure_all(GRADIENT, lambda _: None)
    assert set(found) == set(RATES)
    for name, points in found.items():
        for taken, error in points:
            if bits[0] < taken < bits[-1]:
                least = np.exp(np.interp(taken, bits, np.log(nmse)))
                assert error > 0.97 * least, name
    write_report(found, bound, "drawn <at random>", tmp_path)
    told = json.loads((tmp_path / "distortion.json").read_text())
    assert told["methods"]["float32"][0][1] == 0
    page = (tmp_path / "distortion.html").read_text()
    assert "drawn &lt;at random&gt;" in page
    assert (tmp_path / "distortion.png").stat().st_size > 10_000


def test_bits_are_the_bytes_of_frames_headers_and_all() -> None:
    bits, nmse = distortion({"a": np.ones(8, np.float32)}, "raw", {})
    assert nmse == 0
    assert bits > 32


def test_recorded_gradients_are_checked(tmp_path: Path) -> None:
    np.savez(tmp_path / "good.npz", a=np.ones((2, 3)), b=np.zeros(0))
    assert {name: tensor.shape for name, tensor in load_gradient(tmp_path / "good.npz").items()} == {"a": (2, 3)}
    np.savez(tmp_path / "zero.npz", a=np.zeros(4))
    np.savez(tmp_path / "nan.npz", a=np.array([1, np.nan]))
    (tmp_path / "cut.safetensors").write_bytes(b"12")
    for name, message in (("zero.npz", "all zero"), ("nan.npz", "not finite"), ("cut.safetensors", "cannot be read")):
        with pytest.raises(DataError, match=message):
            load_gradient(tmp_path / name)

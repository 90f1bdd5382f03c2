from io import StringIO

import numpy as np
import pytest
from rich.console import Console
from safetensors.numpy import save_file

from coding import method_of
from gradwire.commands.inspect import inspection_view, read_tensors
from gradwire.views.inspected import inspect_tensors
from gradwire_common.codec.model.gennorm import GenNorm
from gradwire_common.errors import DataError, NonFiniteError

PNG = b"\x89PNG"


def method(**changes):
    return method_of(**({"quantizer": "uniform", "bits": 2.0, "allocation": "per-tensor"} | changes))


@pytest.fixture
def tensors():
    rng = np.random.default_rng(0)
    return {f"beta {beta}": GenNorm(beta, 1e-3).sample(rng, 1 << 16) for beta in (0.6, 1.0, 2.0)}


@pytest.mark.parametrize("quantizer", ["uniform", "float8-1-5-2", "float8-1-4-3", "float4-1-2-1"])
def test_predictions_hold_on_what_was_drawn_from_the_fit(tensors, quantizer):
    for got in inspect_tensors(tensors, method(quantizer=quantizer)):
        assert got.model.beta == pytest.approx(float(got.name.split()[1]), rel=0.03)
        assert got.bits == pytest.approx(got.predicted_bits, rel=0.03)
        assert got.nmse == pytest.approx(got.predicted_nmse, rel=0.05)


def test_one_step_size_for_all_meets_the_bits_on_average(tensors):
    tensors["tenfold"] = 10 * tensors["beta 1.0"]
    got = list(inspect_tensors(tensors, method(allocation="common")))
    assert np.mean([each.predicted_bits for each in got]) == pytest.approx(2.0, rel=0.01)
    assert max(each.bits for each in got) > 3


def test_float32_loses_nothing(tensors):
    for got in inspect_tensors(tensors, method(quantizer="float32")):
        assert (got.nmse, got.predicted_nmse, got.predicted_bits) == (0, 0, 32)


@pytest.mark.parametrize("values", [np.zeros(100), np.ones(1), np.full(5000, 3.0), np.array([1e30, -1e-30])])
def test_odd_tensors_are_inspected_too(values):
    (got,) = inspect_tensors({"odd": values.astype(np.float32)}, method())
    assert np.isfinite([got.bits, got.nmse]).all()


def test_the_transform_is_applied_to_what_it_changes(tensors):
    smooth = np.random.default_rng(1).standard_normal((64, 64, 1, 1), np.float32) * np.ones((3, 3), np.float32)
    tensors |= {"conv": smooth}
    plain, turned = (
        {each.name: each for each in inspect_tensors(tensors, method(transform=t))} for t in ("none", "dct")
    )
    assert turned["conv"].nmse < 0.1 * plain["conv"].nmse  # all of a kernel's energy is in one coefficient of nine
    assert turned["beta 1.0"].nmse == plain["beta 1.0"].nmse


def test_what_is_not_finite_is_named():
    with pytest.raises(NonFiniteError, match="bad: "):
        list(inspect_tensors({"bad": np.array([1, np.nan], np.float32)}, method()))


def test_every_floating_point_type_is_read_and_whole_numbers_are_passed_over(tmp_path):
    file = tmp_path / "t.safetensors"
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    save_file({"f32": x, "f16": x.astype(np.float16), "f64": x.astype(np.float64), "count": np.array([3])}, file)
    tensors, passed_over = read_tensors(file)
    assert passed_over == ["count"]
    assert sorted(tensors) == ["f16", "f32", "f64"]
    for values in tensors.values():
        assert values.dtype == np.float32
        assert values.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "no.safetensors").write_bytes(b"not at all")
    with pytest.raises(DataError, match="no safetensors file"):
        read_tensors(tmp_path / "no.safetensors")


def test_the_command_prints_a_table_and_draws_a_picture(run, tmp_path, tensors):
    save_file({name.replace(" ", "-"): values for name, values in tensors.items()}, tmp_path / "t.safetensors")
    ended = run("inspect", "t.safetensors", "--bits", 1.5)
    assert ended.code == 0
    assert "beta-0.6" in ended.out
    assert "196,608" in ended.out
    assert (tmp_path / "t.png").read_bytes().startswith(PNG)


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_names_and_numbers_are_whole_at_every_width(tensors, columns):
    inspected = list(inspect_tensors({f"layers.12.attention.{name}": each for name, each in tensors.items()}, method()))
    console = Console(file=StringIO(), width=columns)
    console.print(inspection_view("weights.safetensors", inspected, method(), console))
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= columns
    assert "\u2026" not in "".join(lines)
    folded = " ".join(" ".join(lines).split())
    for each in inspected:
        assert each.name in folded
        assert f"{each.bits:.3f}" in folded

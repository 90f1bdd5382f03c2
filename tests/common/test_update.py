import numpy as np
import pytest
from numpy.testing import assert_array_equal

from coding import ALL_QUANTIZERS, encoded, method_of
from gradwire_common.errors import BitstreamError, NonFiniteError
from gradwire_common.layout.manifest import Manifest, Role, TensorSpec
from gradwire_common.methods.entropy import Entropy
from gradwire_common.methods.frames import encode_exact
from gradwire_common.methods.method import EncodeReport
from gradwire_common.methods.update import add_update, decode_update, largest_update, split_frames

LAYOUT = Manifest(
    (
        TensorSpec("conv.weight", (32, 32, 3, 3)),
        TensorSpec("norm.weight", (32,)),
        TensorSpec("norm.mean", (32,), role=Role.BUFFER),
        TensorSpec("head.weight", (10, 800)),
        TensorSpec("table", (50,), role=Role.FROZEN),
    )
).layout
SCALES = {"conv.weight": 1e-3, "norm.weight": 1.0, "head.weight": 1e-2}


def gradient(seed=0):
    rng = np.random.default_rng(seed)
    values = np.zeros(LAYOUT.size, np.float32)
    for name, scale in SCALES.items():
        place = LAYOUT.slots[name]
        values[place] = scale * rng.laplace(size=place.stop - place.start)
    values[LAYOUT.slots["norm.mean"]] = rng.normal(size=32)
    return values


@pytest.mark.parametrize("with_buffers", [False, True])
@pytest.mark.parametrize("quantizer", ALL_QUANTIZERS)
def test_error_feedback_loses_nothing(quantizer, with_buffers):
    values = gradient()
    n = LAYOUT.n_parameters
    residual = np.zeros(n, np.float32)
    frames = encoded(method_of(quantizer=quantizer), LAYOUT, values, residual, with_buffers=with_buffers)
    data = b"".join(frames)
    decoded = np.zeros(LAYOUT.size, np.float32)
    decode_update(data, LAYOUT.pushed(with_buffers), decoded)
    assert_array_equal(residual, values[:n] - decoded[:n])
    if with_buffers:
        assert_array_equal(decoded[n : n + 32], values[n : n + 32])
    assert len(data) <= largest_update(LAYOUT.pushed(with_buffers))


@pytest.mark.parametrize("quantizer", ["uniform", "float32"])
def test_adding_is_decoding_then_a_rounded_product_and_sum(quantizer):
    data = b"".join(encoded(method_of(quantizer=quantizer), LAYOUT, gradient()))
    decoded, total = gradient(1), gradient(2)
    want = total.copy()
    decode_update(data, LAYOUT.parameters, decoded)
    n = LAYOUT.n_parameters
    want[:n] += np.float32(3) * decoded[:n]
    add_update(data, LAYOUT.parameters, 3.0, total)
    assert_array_equal(total, want)


@pytest.mark.parametrize("bits", [0.1, 0.5, 2.0, 4.0])
def test_an_update_costs_the_bits_that_were_asked_for(bits):
    report = EncodeReport()
    frames = encoded(Entropy(bits=bits), LAYOUT, gradient(), report=report)
    got = 8 * sum(map(len, frames)) / LAYOUT.n_parameters
    overhead = 8 * 64 * len(frames) / LAYOUT.n_parameters
    assert 0.9 * bits <= got <= 1.05 * bits + overhead
    assert report.n_bytes == sum(map(len, frames))
    assert len(frames) == len(LAYOUT.parameters)
    assert report.step > 0


def test_one_step_for_all_tensors_loses_less_than_the_same_bits_for_each():
    lost = {}
    for allocation in ("common", "per-tensor"):
        residual = np.zeros(LAYOUT.n_parameters, np.float32)
        encoded(Entropy(bits=1.0, allocation=allocation), LAYOUT, gradient(), residual)
        lost[allocation] = float(np.square(residual, dtype=np.float64).sum())
    assert lost["common"] < lost["per-tensor"]


def test_a_snapshot_holds_every_tensor_exactly():
    values = gradient()
    data = b"".join(encode_exact(values, LAYOUT.units))
    decoded = np.empty_like(values)
    decode_update(data, LAYOUT.units, decoded)
    assert_array_equal(decoded, values)


@pytest.mark.parametrize("quantizer", ALL_QUANTIZERS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_non_finite_entry_is_refused_by_the_name_of_its_tensor(quantizer, bad):
    values = gradient()
    values[LAYOUT.slots["norm.weight"].start + 3] = bad
    with pytest.raises(NonFiniteError, match=r"norm.weight: got -?(nan|inf) at entry 3 \(1 of 32 entries"):
        next(method_of(quantizer=quantizer).encoder(LAYOUT).encode(values, EncodeReport()))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda frames: frames[:-1], "frame of norm.weight"),
        (lambda frames: frames[::-1], "holds 32 entries, want 9216"),
        (lambda frames: [*frames, b"x"], "1 bytes follow the last of 3 frames"),
    ],
)
def test_frames_that_are_not_the_layouts_are_refused(damage, message):
    frames = encoded(Entropy(), LAYOUT, gradient())
    with pytest.raises(BitstreamError, match=message):
        split_frames(b"".join(damage(frames)), LAYOUT.parameters)


def test_updates_of_the_same_values_are_the_same_bytes():
    first, second = (b"".join(encoded(Entropy(bits=0.5), LAYOUT, gradient())) for _ in range(2))
    assert first == second

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose, assert_array_equal
from scipy import fft

from gradwire_common.errors import UsageError
from gradwire_common.methods.transforms.kernel_dct import KernelDct
from gradwire_common.methods.transforms.registry import TRANSFORMS, build_transform

shapes = st.sampled_from([(8, 4, 3, 3), (1, 1, 3, 3), (0, 4, 3, 3), (4, 4, 5, 5), (16, 3), (3, 3), (2, 3, 3), (7,), ()])
entries = st.floats(-1e3, 1e3, width=32)


def random_weights(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((16, 8, 3, 3)).astype(np.float32)


@pytest.mark.parametrize("name", TRANSFORMS)
@given(data=st.data())
def test_inverse_undoes_forward_and_the_energy_stays(name: str, data: st.DataObject):
    tensor = data.draw(hnp.arrays(np.float32, data.draw(shapes), elements=entries))
    transform = build_transform(name)
    coefficients = transform.forward(tensor)
    assert coefficients.dtype == np.float32
    assert coefficients.shape == tensor.shape
    tolerance = 1e-6 * np.abs(tensor).max(initial=0)
    assert_allclose(transform.inverse(coefficients), tensor, atol=3 * tolerance)
    assert np.linalg.norm(coefficients.astype(np.float64)) == pytest.approx(
        np.linalg.norm(tensor.astype(np.float64)), rel=1e-6
    )


def test_dct_is_scipys_of_the_last_two_axes():
    weights = random_weights()
    want = fft.dctn(weights.astype(np.float64), axes=(2, 3), norm="ortho")
    assert_allclose(KernelDct().forward(weights), want, atol=1e-6)


def test_the_dct_matrix_is_orthonormal():
    basis = KernelDct().forward(np.eye(9, dtype=np.float32).reshape(9, 1, 3, 3)).reshape(9, 9)
    assert_allclose(basis @ basis.T, np.eye(9), atol=3e-7)


def test_transforms_are_linear_so_that_sums_may_be_inverted_once():
    one, other = random_weights(1), random_weights(2)
    dct = KernelDct()
    assert_allclose(dct.inverse(dct.forward(one) + dct.forward(other)), one + other, atol=3e-6)


@pytest.mark.parametrize("shape", [(4, 4, 1, 1), (4, 4, 5, 5), (4, 9), (3, 3), (2, 3, 3), (9,), ()])
def test_dct_leaves_other_tensors_alone(shape: tuple[int, ...]):
    tensor = np.ones(shape, np.float32)
    assert not KernelDct().changes(shape)
    assert KernelDct().forward(tensor) is tensor
    assert KernelDct().inverse(tensor) is tensor


def test_the_tensor_given_is_not_changed():
    weights = random_weights()
    before = weights.copy()
    KernelDct().inverse(KernelDct().forward(weights))
    assert_array_equal(weights, before)


def test_a_transposed_tensor_is_transformed_like_its_copy():
    weights = random_weights().transpose(1, 0, 3, 2)
    assert_array_equal(KernelDct().forward(weights), KernelDct().forward(weights.copy()))


def test_smooth_kernels_gather_in_few_coefficients():
    smooth = np.ones((4, 4, 3, 3), np.float32) * np.linspace(1, 1.2, 3, dtype=np.float32)
    energy = KernelDct().forward(smooth) ** 2
    assert energy[..., 0, 0].sum() > 0.99 * energy.sum()


def test_an_unknown_transform_is_refused_with_the_names_that_exist():
    with pytest.raises(UsageError, match="'fft', want one of none, dct"):
        build_transform("fft")

"""Whose code lengths are sent, the fit's or the data's own, for gradients of small real networks."""

import pytest
import torch
from numpy.testing import assert_array_equal
from sklearn.datasets import load_digits

from codec.test_own_code import body_length, fitted_code
from gradwire_common.codec.formats import build_quantizer
from gradwire_common.codec.frames import decode_frame, encode_frame, read_header
from gradwire_common.codec.model.fit import fit_gennorm

N_SYMBOLS = 17  # grey levels of the digits, as tokens
GRIDS = ["uniform", "float4-1-2-1", "float8-1-5-2"]
HALF_SIGMA = 0.5


def digits(n):
    images, labels = load_digits(return_X_y=True)
    return torch.tensor(images[:n], dtype=torch.float32), torch.tensor(labels[:n])


def gradient_of(parameter, net, inputs, labels):
    torch.nn.functional.cross_entropy(net(inputs), labels).backward()
    return parameter.grad.numpy().ravel().copy()


def embedding_gradient():
    """A row for each pair of position and grey level: most do not occur in the batch."""
    torch.manual_seed(1)
    images, labels = digits(16)
    tokens = images.long() + N_SYMBOLS * torch.arange(64)
    table = torch.nn.EmbeddingBag(64 * N_SYMBOLS, 32)
    return gradient_of(table.weight, torch.nn.Sequential(table, torch.nn.Linear(32, 10)), tokens, labels)


def relu_gradient():
    """Half of the hidden units, and so half of the second layer's columns, never fire."""
    torch.manual_seed(2)
    images, labels = digits(128)
    first, second = torch.nn.Linear(64, 128), torch.nn.Linear(128, 96)
    with torch.no_grad():
        first.bias[::2] = -100
    net = torch.nn.Sequential(first, torch.nn.ReLU(), second, torch.nn.ReLU(), torch.nn.Linear(96, 10))
    return gradient_of(second.weight, net, images / 16, labels)


def adam_change():
    """What Adam's second step changes: most entries by nearly the learning rate, either way."""
    torch.manual_seed(3)
    images, labels = digits(256)
    layer = torch.nn.Linear(64, 128)
    net = torch.nn.Sequential(layer, torch.nn.Tanh(), torch.nn.Linear(128, 10))
    adam = torch.optim.Adam(net.parameters(), lr=1e-3)
    before = layer.weight.detach().clone()
    for _ in range(2):
        before = layer.weight.detach().clone()
        adam.zero_grad()
        torch.nn.functional.cross_entropy(net(images / 16), labels).backward()
        adam.step()
    return (layer.weight.detach() - before).numpy().ravel().copy()


def ordinary_gradient():
    """A smooth network's inner layer, where nothing is exactly zero."""
    torch.manual_seed(4)
    images, labels = digits(256)
    inner = torch.nn.Linear(256, 256)
    net = torch.nn.Sequential(
        torch.nn.Linear(64, 256), torch.nn.Tanh(), inner, torch.nn.Tanh(), torch.nn.Linear(256, 10)
    )
    return gradient_of(inner.weight, net, images / 16, labels)


def frame_and_fitted_bytes(values, grid):
    """The frame, and the bytes of the body that the fit's code makes."""
    model = fit_gennorm(values)
    quantizer = build_quantizer(grid, model, HALF_SIGMA * model.variance**0.5)
    frame = encode_frame(values, quantizer, model)
    assert_array_equal(decode_frame(frame), quantizer.dequantize(quantizer.quantize(values)))
    return frame, body_length(values, quantizer, *fitted_code(quantizer, model))


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("gradient", [embedding_gradient, relu_gradient, adam_change])
def test_the_datas_own_lengths_are_sent_where_they_are_over_a_percent_shorter(gradient, grid):
    frame, n_fitted = frame_and_fitted_bytes(gradient(), grid)
    header = read_header(frame)
    assert header.explicit
    assert header.body_length - 4 < 0.99 * n_fitted


@pytest.mark.parametrize("grid", GRIDS)
def test_the_fits_code_is_kept_where_it_describes_the_gradient(grid):
    frame, n_fitted = frame_and_fitted_bytes(ordinary_gradient(), grid)
    header = read_header(frame)
    assert not header.explicit
    assert header.body_length - 4 == n_fitted

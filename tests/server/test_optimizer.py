from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from gradwire_common.errors import ConfigError
from gradwire_common.layout.manifest import Manifest, TensorSpec
from gradwire_server.outcome.optimizers.optimizer import OptimizerSettings
from gradwire_server.outcome.optimizers.registry import check_optimizer
from gradwire_server.outcome.optimizers.torch import TorchOptimizer, optimizers, schedules

DENSE = sorted(set(optimizers()) - {"LBFGS", "SparseAdam"})  # LBFGS wants a closure, SparseAdam sparse gradients
MODEL = Manifest((TensorSpec("a", (4, 3)), TensorSpec("b", (5, 2), group=1)), groups=({}, {"lr": 0.002}))


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize("name", DENSE)
def test_a_step_on_the_flat_vector_is_a_step_on_tensors_of_its_own(name: str) -> None:
    values = rng().standard_normal(22).astype(np.float32)
    gradient = np.zeros(22, np.float32)
    a, b = torch.from_numpy(values[:12].reshape(4, 3).copy()), torch.from_numpy(values[12:].reshape(5, 2).copy())
    expected = getattr(torch.optim, name)([{"params": [a]}, {"params": [b], "lr": 0.002}], lr=0.01)
    got = TorchOptimizer(MODEL, values, OptimizerSettings(name, 0.01))
    for _ in range(3):
        gradient[:] = rng().standard_normal(22)
        a.grad, b.grad = torch.from_numpy(gradient[:12].reshape(4, 3)), torch.from_numpy(gradient[12:].reshape(5, 2))
        expected.step()
        got.step(gradient, 1.0)
    assert_array_equal(values, np.concatenate([a.numpy().ravel(), b.numpy().ravel()]))


@pytest.mark.parametrize(
    ("name", "options", "rates"),
    [
        ("none", {}, [0.1, 0.1, 0.1]),
        ("StepLR", {"step_size": 1, "gamma": 0.5}, [0.1, 0.05, 0.025]),
        ("CosineAnnealingLR", {}, [0.1, 0.075, 0.025]),  # T_max is the length of the run
        ("PolynomialLR", {}, [0.1, 0.1 * 2 / 3, 0.1 / 3]),
        ("ReduceLROnPlateau", {"patience": 0}, [0.1, 0.1, 0.01]),
    ],
)
def test_the_schedule_follows_the_rounds(name: str, options: dict[str, Any], rates: list[float]) -> None:
    settings = OptimizerSettings("SGD", 0.1, schedule=name, schedule_options=options, rounds=3)
    optimizer = TorchOptimizer(MODEL, np.ones(22, np.float32), settings)
    got = []
    for _ in range(3):
        got.append(optimizer.learning_rate)
        optimizer.step(np.ones(22, np.float32), 1.0)
    assert got == pytest.approx(rates)


def test_one_cycle_takes_its_length_and_its_peak_from_the_run() -> None:
    settings = OptimizerSettings("SGD", 0.1, {"momentum": 0.9}, "OneCycleLR", {}, rounds=10)
    optimizer = TorchOptimizer(MODEL, np.ones(22, np.float32), settings)
    got = []
    for _ in range(10):
        got.append(optimizer.learning_rate)
        optimizer.step(np.ones(22, np.float32), 1.0)
    assert max(got) == pytest.approx(0.1, rel=0.05)
    assert got[0] < 0.01 > got[-1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (OptimizerSettings("Adagard"), r"optimizer: got 'Adagard', want one of ASGD, Adadelta, Adafactor, Adagrad"),
        (
            OptimizerSettings("SGD", 0.1, {"momentun": 0.9}),
            r"optimizer SGD: unknown option 'momentun'; want one of lr, m",
        ),
        (OptimizerSettings("SGD", 0.1, {"momentum": -1}), r"optimizer SGD\(lr=0.1, momentum=-1\): Invalid momentum"),
        (OptimizerSettings("LBFGS"), r"optimizer LBFGS, .* without a closure"),
        (OptimizerSettings("SparseAdam"), r"optimizer SparseAdam, .* dense gradients"),
        (OptimizerSettings(schedule="Cosine"), r"schedule: got 'Cosine', want one of ConstantLR, CosineAnnealingLR"),
        (OptimizerSettings(schedule="StepLR"), r"schedule StepLR: option 'step_size' is missing"),
        (OptimizerSettings(schedule="CosineAnnealingLR"), r"option 'T_max' is missing, and a run without end"),
        (OptimizerSettings(schedule="StepLR", schedule_options={"size": 3}), r"schedule StepLR: unknown option 'size'"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(settings: OptimizerSettings, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        check_optimizer(settings)
    assert "\n" not in str(caught.value)


def test_schedules_that_need_functions_or_objects_are_not_offered() -> None:
    assert not {"LambdaLR", "SequentialLR", "ChainedScheduler", "LRScheduler"} & set(schedules())


def test_an_override_that_the_optimizer_does_not_know_is_refused() -> None:
    manifest = Manifest((TensorSpec("a", (2, 2)),), groups=({"beta": 1.0},))
    with pytest.raises(ConfigError, match="parameter group 0: unknown option 'beta'"):
        TorchOptimizer(manifest, np.ones(4, np.float32), OptimizerSettings())


def test_a_number_overrides_a_switch() -> None:
    manifest = Manifest((TensorSpec("a", (2, 2)),), groups=({"nesterov": 1.0},))
    settings = OptimizerSettings("SGD", 0.1, {"momentum": 0.9})
    optimizer = TorchOptimizer(manifest, np.ones(4, np.float32), settings)
    assert optimizer.optimizer.param_groups[0]["nesterov"] is True

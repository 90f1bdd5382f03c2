"""Every device's way to flat vectors gives the same numbers; the staged one is tried on the host too."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from gradwire_worker.compute.compute import Compute
from gradwire_worker.compute.cpu import CpuCompute
from gradwire_worker.compute.staged import StagedCompute

HOST = torch.device("cpu")


@pytest.mark.parametrize("compute", [CpuCompute(), StagedCompute(HOST, 4), StagedCompute(HOST, 100)])
def test_what_is_gathered_comes_back(compute: Compute) -> None:
    tensors = [torch.arange(6.0).reshape(2, 3).T, None, torch.tensor(7, dtype=torch.int64)]
    for out in (compute.new_vector(9), compute.new_vector(9)):
        compute.gather(tensors, [6, 2, 1], out)
        assert_array_equal(out, np.array([0, 3, 1, 4, 2, 5, 0, 0, 7], np.float32))
        compute.synchronize()
        assert_array_equal(compute.on_device(out[2:5]).cpu().numpy(), out[2:5])

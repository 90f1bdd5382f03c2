"""What several of the worker's tests need."""

import pytest
import torch


@pytest.fixture
def cuda() -> torch.device:
    """A CUDA device; without one the test is skipped with a word."""
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device, and this machine has none")
    return torch.device("cuda")


@pytest.fixture(autouse=True)
def one_thread():
    """Let torch use one thread, so that workers side by side do not crowd the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from gradwire_common.errors import UsageError
from gradwire_server.store.tensor_file import DTYPES, PIECE, write_tensors


def test_safetensors_reads_what_is_written_whatever_the_dtype(tmp_path: Path) -> None:
    values = torch.arange(6.0).reshape(2, 3)
    tensors = {str(dtype): values.to(dtype) for dtype in DTYPES}
    tensors |= {"scalar": torch.tensor(3.0), "none": torch.zeros(0, 4), "long": torch.randn(PIECE // 4 + 5)}
    path = tmp_path / "tensors.safetensors"
    digest = write_tensors(path, ((name, tensor, tensor.dtype) for name, tensor in tensors.items()))
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    got = load_file(path)
    assert got.keys() == tensors.keys()
    for name, want in tensors.items():
        assert got[name].dtype == want.dtype
        assert got[name].shape == want.shape
        assert torch.equal(got[name].reshape(-1).view(torch.uint8), want.reshape(-1).view(torch.uint8))


def test_tensors_are_written_as_another_dtype_where_that_is_asked_for(tmp_path: Path) -> None:
    write_tensors(tmp_path / "file", [("count", torch.tensor([1.0, 7.0]), torch.int64)])
    assert torch.equal(load_file(tmp_path / "file")["count"], torch.tensor([1, 7]))


def test_a_dtype_that_the_format_lacks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'wave': got torch"):
        write_tensors(tmp_path / "file", [("wave", torch.zeros(2), torch.complex64)])

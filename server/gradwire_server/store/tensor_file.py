"""Tensors written as safetensors, a piece at a time: beside the tensors themselves it takes no memory.

length of the header u64, header as JSON: name -> dtype, shape, place; then the entries, little-endian, in that order
"""

import hashlib
import json
import struct
from collections.abc import Iterable
from pathlib import Path

import torch

from gradwire_common.errors import UsageError
from gradwire_common.layout.dtypes import SAFETENSORS

PIECE = 1 << 20  # bytes written, and hashed, at a time
ALIGNED = 8  # bytes; the entries begin at a multiple of this
DTYPES = {getattr(torch, name): code for name, code in SAFETENSORS.items()}


def write_tensors(path: Path, tensors: Iterable[tuple[str, torch.Tensor, torch.dtype]]) -> str:
    """Write tensors to `path`, each as the dtype beside it; return the SHA-256 of the file.

    Args:
        path: of the file.
        tensors: names, contiguous tensors and the dtypes that they are written as.

    Raises:
        OSError: it could not be written.
        UsageError: a dtype that the format does not know.
    """
    tensors = list(tensors)
    digest = hashlib.sha256()
    with path.open("wb") as file:
        head = _header(tensors)
        digest.update(head)
        file.write(head)
        for _, tensor, dtype in tensors:
            flat = tensor.detach().reshape(-1)
            step = PIECE // max(tensor.element_size(), dtype.itemsize)
            for start in range(0, flat.numel(), step):
                data = flat[start : start + step].to(dtype).view(torch.uint8).numpy().data
                digest.update(data)
                file.write(data)
    return digest.hexdigest()


def _header(tensors: Iterable[tuple[str, torch.Tensor, torch.dtype]]) -> bytes:
    entries, place = {}, 0
    for name, tensor, dtype in tensors:
        if dtype not in DTYPES:
            raise UsageError(f"tensor {name!r}: got {dtype}, want one of {', '.join(map(str, DTYPES))}")
        end = place + tensor.numel() * dtype.itemsize
        entries[name] = {"dtype": DTYPES[dtype], "shape": list(tensor.shape), "data_offsets": [place, end]}
        place = end
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % ALIGNED)
    return struct.pack("<Q", len(text)) + text

"""Tensors to a safetensors file, one after the other: no second copy in memory, and the GIL is free while bytes go out.

The format: https://github.com/huggingface/safetensors#format (8 bytes length of the header, little-endian; the header,
JSON; the tensors' bytes).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import IO

import torch
from torch import Tensor

_DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
_ALIGNMENT = 8  # bytes: the header is filled up with spaces, the widest numbers come first


def write_tensors(file: IO[bytes], tensors: Mapping[str, Tensor]) -> None:
    """Write tensors of the CPU as safetensors; the same bytes for the same tensors, in whatever order they come."""
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0]))
    header: dict[str, object] = {}
    end = 0
    for name, tensor in ordered:
        start, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": _DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    file.write(struct.pack("<Q", len(text)) + text)
    for _, tensor in ordered:
        if tensor.numel():
            file.write(tensor.detach().contiguous().flatten().view(torch.uint8).numpy().data)

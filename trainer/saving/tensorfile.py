"""Tensors to a safetensors file and out of it again.

Written one after the other: no second copy in memory, and the GIL is free while the bytes go out.
The format: https://github.com/huggingface/safetensors#format (8 bytes length of the header, little-endian; the header,
JSON; the tensors' bytes).
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from typing import IO

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from wit.errors import InputError
from wit.storage import is_remote, local_path, read_bytes

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
_SEAL = "sha256"
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
            file.write(_bytes(tensor))


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.detach().contiguous().flatten().view(torch.uint8).numpy().data


def read_tensors(url: str) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file, on the CPU; raises InputError when it is none."""
    try:
        if is_remote(url):
            tensors: dict[str, Tensor] = safetensors.torch.load(read_bytes(url))
        else:
            tensors = safetensors.torch.load_file(local_path(url))
    except SafetensorError as error:
        raise InputError(f"{url}: expected safetensors, found something else: {error}") from error
    return tensors


def write_sealed(file: IO[bytes], tensors: Mapping[str, Tensor]) -> None:
    """Write tensors as `write_tensors`, with a hash over them all, by which `read_sealed` knows them again."""
    write_tensors(file, {**tensors, _SEAL: _seal(tensors)})


def read_sealed(url: str) -> dict[str, Tensor]:
    """Return the tensors of a file of `write_sealed`; raises InputError when it is none, or its bytes have changed.

    Safetensors has no checksum: of a damaged disk or copy come other numbers without a word.
    """
    try:
        tensors = read_tensors(url)
    except InputError as error:
        raise InputError(f"{error}; remove it, and it is made again") from error
    seal = tensors.pop(_SEAL, None)
    if seal is None or not torch.equal(seal, _seal(tensors)):
        found = "one without a hash" if seal is None else "other bytes than were written"
        raise InputError(f"{url}: expected tensors and their hash, found {found}; remove it, and it is made again")
    return tensors


def _seal(tensors: Mapping[str, Tensor]) -> Tensor:
    """Return SHA-256 (32,) over names, types, shapes and values."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        if tensor.numel():
            digest.update(_bytes(tensor))
    return torch.frombuffer(bytearray(digest.digest()), dtype=torch.uint8)


def require_shapes(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], url: str) -> None:
    """Raise InputError unless the tensors of a file are those `expected`, by name and shape."""
    shapes, found_shapes = ({name: tuple(one.shape) for name, one in each.items()} for each in (expected, tensors))
    for name in sorted({*shapes, *found_shapes}):
        shape, found = shapes.get(name, "none"), found_shapes.get(name, "none")
        if shape != found:
            raise InputError(f"{url}: expected {name} of shape {shape}, found {found}; it is another model's")

"""Tensors of a TorchScript archive, such as OpenAI's released checkpoints, read without running what is in it.

An archive is a zip of uncompressed entries: NAME/data.pkl (a pickle of the module tree), NAME/data/0, 1, ... (the
tensors' bytes), NAME/code/ (the program, which is never opened). The pickle is read by an unpickler that knows tensors,
lists and inert modules, and refuses every other name.
"""

from __future__ import annotations

import math
import os
import pickle
import struct
from collections import OrderedDict
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import IO, Any
from zipfile import ZIP_STORED, BadZipFile, ZipFile

import torch
from torch import Tensor

from wit.errors import InputError

_MAX_DEPTH = 64  # modules within modules
_DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
BROKEN = (
    AssertionError, AttributeError, BadZipFile, EOFError, IndexError, KeyError, NotImplementedError, OSError,
    OverflowError, RuntimeError, TypeError, ValueError, pickle.UnpicklingError, struct.error,
)  # fmt: skip
"""What Python's unpickler, zipfile and torch raise for bytes that make no sense."""


class _Module:
    """A module of the archive: attributes, and none of its code."""

    def __new__(cls, *_: object) -> _Module:
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None:
        self.state = state


class _Unpickler(pickle._Unpickler):
    """Makes tensors, lists, dictionaries and inert modules; any other name in the pickle is an UnpicklingError.

    The one in C takes gigabytes for a memo number or a length that a few bytes can name; that in Python does not.
    """

    def __init__(self, file: IO[bytes], read_entry: Callable[[str], bytes]) -> None:
        super().__init__(file)
        self._read_entry = read_entry
        self._storages: dict[str, Tensor] = {}
        self._known: dict[tuple[str, str], Any] = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
            ("torch._utils", "_rebuild_parameter"): lambda data, *_: data,
        }

    def find_class(self, module_name: str, global_name: str) -> Any:
        """Return what a name of the pickle stands for."""
        if module_name == "torch" and global_name in _DTYPES:
            return _DTYPES[global_name]
        if module_name == "torch.jit._pickle":  # build_intlist, restore_type_tag and such: the value is their first
            return lambda value, *_: value
        if module_name.split(".")[0] == "__torch__":
            return _Module
        if (module_name, global_name) not in self._known:
            raise pickle.UnpicklingError(f"it names {module_name}.{global_name}, which is no part of a model's weights")
        return self._known[module_name, global_name]

    def persistent_load(self, pid: Any) -> Tensor:
        """Return the storage that ("storage", type, entry, device, count) names, as a flat tensor."""
        _, dtype, key, *_ = pid
        if key not in self._storages:
            self._storages[key] = torch.frombuffer(bytearray(self._read_entry(key)), dtype=dtype)
        return self._storages[key]


def _rebuild_tensor(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object) -> Tensor:
    if math.prod(size) > storage.numel():  # strides of 0 let few numbers claim to be many
        raise ValueError("a tensor has more numbers than its storage")
    return storage.as_strided(size, stride, offset).clone()  # as_strided raises where it would leave the storage


def read_archive(file: IO[bytes], url: str) -> dict[str, Tensor]:
    """Return the tensors of a TorchScript archive by their names in the module tree; raises InputError."""
    require_plain(file, url)
    try:
        with ZipFile(file) as archive:
            return _read_tree(archive)
    except BROKEN as error:
        raise InputError(f"{url}: expected a TorchScript archive of a model, found another: {error!r}") from error


def require_plain(file: IO[bytes], url: str) -> None:
    """Raise InputError for a zip whose entries, but for its code's, are larger than it is: compressed or overlapping.

    The file stands at its beginning afterwards. What is no zip is not looked at.
    """
    try:
        with ZipFile(file) as archive:
            infos = [info for info in archive.infolist() if info.filename.split("/")[1:2] != ["code"]]
    except BROKEN:
        infos = []
    num_bytes = file.seek(0, os.SEEK_END)
    file.seek(0)
    if any(info.compress_type != ZIP_STORED for info in infos) or sum(info.file_size for info in infos) > num_bytes:
        raise InputError(f"{url}: expected a zip as torch writes it, found a compressed one; save the weights again")


def is_archive(file: IO[bytes]) -> bool:
    """Return whether a file is a TorchScript archive; it stands at its beginning afterwards."""
    try:
        with ZipFile(file) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except BROKEN:
        return False
    finally:
        file.seek(0)


def _read_tree(archive: ZipFile) -> dict[str, Tensor]:
    infos = {info.filename: info for info in archive.infolist()}
    folders = [name.removesuffix("/data.pkl") for name in infos if name.endswith("/data.pkl") and name.count("/") == 1]
    if not folders:
        raise ValueError("it holds no data.pkl")

    def read_entry(name: str) -> bytes:
        return archive.read(infos[f"{folders[0]}/{name}"])

    root = _Unpickler(BytesIO(read_entry("data.pkl")), lambda key: read_entry(f"data/{key}")).load()
    return _collect(root)


def _collect(root: object) -> dict[str, Tensor]:
    """Return the tensors of a module tree; a module that occurs twice would make the tree endless."""
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    left = [("", root, 0)]
    while left:
        prefix, module, depth = left.pop()
        if not isinstance(module, _Module) or not isinstance(module.state, Mapping):
            raise ValueError("its pickle holds no tree of modules")
        if id(module) in seen or depth > _MAX_DEPTH:
            raise ValueError("its modules hold one another")
        seen.add(id(module))
        for name, value in module.state.items():
            if isinstance(value, Tensor):
                found[f"{prefix}{name}"] = value
            elif isinstance(value, _Module):
                left.append((f"{prefix}{name}.", value, depth + 1))
    return found

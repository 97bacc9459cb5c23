"""Evaluation sets in every format, written by hand, by struct, tarfile, Pillow and Arrow."""

from __future__ import annotations

import gzip
import io
import json
import struct
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image

from wit.errors import UserError
from wit.evaluation_sets import Item, list_inputs, parse, read_items
from wit.schema import EVALUATION_INPUTS, conform

CIFAR10_CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def image(seed: int, kind: str = "PNG") -> bytes:
    """A small image of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", (4, 3), (seed % 256, seed // 256 % 256, 7)).save(buffer, kind)
    return buffer.getvalue()


def pixels(body: bytes) -> npt.NDArray[np.uint8]:
    """The pixels of an encoded image."""
    with Image.open(io.BytesIO(body)) as opened:
        return np.asarray(opened)


def write_files(folder: Path, contents: Mapping[str, bytes | str]) -> Path:
    for name, data in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
    return folder


def write_tar(path: Path, contents: Iterable[tuple[str, bytes]], mode: str = "w") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in contents:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def cifar_records(labels: Iterable[tuple[int, ...]], seed: int = 0) -> tuple[bytes, npt.NDArray[np.uint8]]:
    """Records of CIFAR with these label bytes, and their pixels [N, 32, 32, 3]."""
    heads = list(labels)
    planes = np.random.default_rng(seed).integers(0, 256, (len(heads), 3, 32, 32), dtype=np.uint8)
    data = b"".join(bytes(head) + plane.tobytes() for head, plane in zip(heads, planes, strict=True))
    return data, planes.transpose(0, 2, 3, 1)


def idx(values: npt.NDArray[np.uint8]) -> bytes:
    """An idx file of unsigned bytes."""
    return struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes()


def packed(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def hugging_face(features: Mapping[str, object]) -> dict[bytes, bytes]:
    """The metadata that Hugging Face's datasets write into the schema of a Parquet file."""
    return {b"huggingface": json.dumps({"info": {"features": features}}).encode()}


def read_set(text: str | Path, name: str = "x", wanted: set[tuple[str, str]] | None = None) -> list[Item]:
    """List a set, carry the rows through their table as a run does, read it."""
    rows = pa.Table.from_pylist(list_inputs(parse(f"{name}={text}")), schema=EVALUATION_INPUTS)
    return list(read_items(conform(rows, EVALUATION_INPUTS).to_pylist(), wanted))


def labels_of(items: Iterable[Item]) -> dict[str, str | None]:
    return {each.item: each.label for each in items}


def read_or_message(text: str | Path) -> tuple[list[Item], str]:
    """What is read of a set, or the message of the error that ended it."""
    try:
        return read_set(text), ""
    except UserError as error:
        return [], str(error)

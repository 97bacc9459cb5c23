"""What an evaluation set is: its files are found, their format is told by names, or by how a file begins."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from wit import tar
from wit.errors import InputError
from wit.evaluation_sets.cifar import cifar_of, is_pickled, list_cifar, refuse_pickles
from wit.evaluation_sets.folders import list_folder
from wit.evaluation_sets.gtsrb import is_gtsrb_table, list_gtsrb
from wit.evaluation_sets.metadata import is_metadata
from wit.evaluation_sets.mnist import is_idx_name, list_mnist
from wit.evaluation_sets.packed import open_unpacked
from wit.evaluation_sets.parquets import is_parquet_name, list_parquet
from wit.evaluation_sets.pieces import Listing, is_image_name
from wit.evaluation_sets.sets import (
    CIFAR10,
    CIFAR100,
    FOLDER,
    FORMATS,
    GTSRB,
    MNIST,
    PARQUET,
    STL10,
    UCF101,
    VOC,
    WEBDATASET,
    EvaluationSet,
)
from wit.evaluation_sets.splits import File, Found, num_shared
from wit.evaluation_sets.stl import is_stl_name, list_stl
from wit.evaluation_sets.tars import is_tar_name, list_tars
from wit.evaluation_sets.ucf import is_ucf_list, list_ucf
from wit.evaluation_sets.voc import is_voc_list, list_voc
from wit.image import sniff
from wit.patterns import expand_files, walk_files
from wit.storage import base_name, is_folder, is_remote, local_path, reading

_LISTERS: dict[str, Callable[[EvaluationSet, Found], Listing]] = {
    FOLDER: list_folder,
    WEBDATASET: list_tars,
    PARQUET: list_parquet,
    CIFAR10: partial(list_cifar, CIFAR10),
    CIFAR100: partial(list_cifar, CIFAR100),
    MNIST: list_mnist,
    STL10: list_stl,
    VOC: list_voc,
    GTSRB: list_gtsrb,
    UCF101: list_ucf,
}

_HEAD_BYTES = 512
_PICKLE = b"\x80"  # its first byte since protocol 2
_PACKED = (".zip", ".7z", ".rar", ".tar.bz2", ".tar.xz", ".tar.zst")
_SHOWN = 3


def list_inputs(evaluation_set: EvaluationSet) -> list[dict[str, Any]]:
    """Return rows of `wit.schema.EVALUATION_INPUTS`, one a task, in order; raises what `list_set` raises."""
    return [piece.row() for piece in list_set(evaluation_set).pieces]


def list_set(evaluation_set: EvaluationSet) -> Listing:
    """Return what a set is, and the pieces in which it is read.

    Its format is what its path is forced to, else what the names of its files say, else how a file begins. Raises
    InputError when the path holds no set, or files of several formats, or cannot be read.
    """
    found = find_files(evaluation_set.path)
    kind = evaluation_set.format or _detect(evaluation_set.path, found)
    return _LISTERS[kind](evaluation_set, found).named()


def find_files(path: str) -> Found:
    """Return the files of a folder at any depth, or those that a path or pattern names; hidden ones are left out.

    Raises InputError when nothing is there.
    """
    if not _is_named_as_file(path) and is_folder(path):
        root = (path if is_remote(path) else local_path(path)).rstrip("/") or "/"
        names = [url[len(root) :].lstrip("/") for url in walk_files(root)]
        files = tuple(File(f"{root.rstrip('/')}/{name}", name) for name in names if not _is_hidden(name))
        _require_files(files)
        return Found(root, files, is_folder=True)
    urls = list(dict.fromkeys(expand_files(path)))
    root = _common_folder(urls)
    names = [base_name(urls[0])] if len(urls) == 1 else [url[len(root) :] for url in urls]
    return Found(root[:-1] or root or ".", tuple(map(File, urls, names)), is_folder=False)


def _require_files(files: Sequence[File]) -> None:
    """Raise InputError when what is named as a file of a set is none: a pipe would be waited for without end."""
    for file in files:
        is_mine = is_metadata(file.name) or any(is_named(file.name) for _, is_named in (*_NAMED, *_LAYOUTS))
        if is_mine and not is_remote(file.url) and not os.path.isfile(file.url):
            raise InputError(f"{file.url}: expected a file, found a pipe, a device or a broken link; take it away")


def _is_named_as_file(path: str) -> bool:
    """Return whether a URL is surely a file: to ask some servers whether it is a folder is to read it."""
    name = base_name(path)
    return is_remote(path) and any(is_named(name) for _, is_named in _NAMED)


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def _common_folder(urls: Sequence[str]) -> str:
    """Return what the paths or URLs of files begin with, up to a slash."""
    first = urls[0]
    return first[: first.rfind("/", 0, num_shared(urls)) + 1]


def _is_table_name(name: str) -> bool:
    return is_parquet_name(name) and not is_metadata(name)


_NAMED: tuple[tuple[str, Callable[[str], bool]], ...] = (
    (FOLDER, is_image_name),
    (WEBDATASET, is_tar_name),
    (PARQUET, _is_table_name),
    (CIFAR10, lambda name: cifar_of(name) == CIFAR10),
    (CIFAR100, lambda name: cifar_of(name) == CIFAR100),
    (MNIST, is_idx_name),
    (STL10, is_stl_name),
)
_LAYOUTS: tuple[tuple[str, Callable[[str], bool]], ...] = (
    (VOC, is_voc_list),
    (GTSRB, is_gtsrb_table),
    (UCF101, is_ucf_list),
)
"""Image files of which lists in the same folder say what they are; by one such list the format is told."""


def _detect(path: str, found: Found) -> str:
    """Return the format of files; raises InputError when there is none, or more than one."""
    for kind, is_list in _LAYOUTS:
        if found.is_folder and any(is_list(file.name) for file in found.files):
            return kind
    counts = Counter(kind for file in found.files for kind, is_named in _NAMED if is_named(file.name))
    if counts[WEBDATASET]:
        del counts[PARQUET]  # tables of what is in the tars, as wit and img2dataset write them beside
    if len(counts) > 1:
        shown = ", ".join(f"{kind} ({counts[kind]:,} files)" for kind in FORMATS if kind in counts)
        first = next(kind for kind in FORMATS if kind in counts)
        raise InputError(f"{path}: expected files of one format, found {shown}; choose one as NAME={first}:{path}")
    if not counts:
        return _sniff_files(path, found)
    (kind,) = counts
    return _sniff_tars(path, found) if kind == WEBDATASET else kind


def _sniff_files(path: str, found: Found) -> str:
    """Return the format of a file that its name does not tell."""
    if any(is_pickled(file.name) and _head(file.url).startswith(_PICKLE) for file in found.files):
        raise refuse_pickles(path)
    if not found.is_folder and len(found.files) == 1:
        kind = sniff_format(_head(found.files[0].url))
        if kind is not None:
            return kind
    names = [repr(file.name) for file in found.files]
    shown = f"{', '.join(names[:_SHOWN])}{' and more' if len(names) > _SHOWN else ''}" or "no file"
    is_packed = any(file.name.lower().endswith(_PACKED) for file in found.files)
    advice = "unpack it" if is_packed else f"a format that names do not tell is chosen as NAME=FORMAT:{path}"
    raise InputError(f"{path}: expected an evaluation set ({', '.join(FORMATS)}), found {shown}; {advice}")


def sniff_format(head: bytes) -> str | None:
    """Return the format of a file by its first bytes; None when they say nothing."""
    if head.startswith(b"PAR1"):
        return PARQUET
    if head.startswith(bytes((0, 0, 8, 3))):
        return MNIST
    if head[257:262] == b"ustar":
        return WEBDATASET
    return FOLDER if sniff(head) else None


def _head(url: str) -> bytes:
    with reading(url) as file:
        return file.read(_HEAD_BYTES)


def _sniff_tars(path: str, found: Found) -> str:
    """Return what is in tars: images, or files of CIFAR; raises InputError when it is neither."""
    for file in found.named(is_tar_name):
        with open_unpacked(file.url) as (archive, _):
            for member in tar.members(archive, file.url):
                if is_image_name(member.name):
                    return WEBDATASET
                if cifar_of(member.name):
                    return cifar_of(member.name)
                first = replace(member, length=min(member.length, 1))
                if is_pickled(member.name) and tar.read_member(archive, first, file.url) == _PICKLE:
                    raise refuse_pickles(file.url)
    raise InputError(f"{path}: expected images in its tars, found none")

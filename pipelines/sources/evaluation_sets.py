"""Evaluation sets: folders of images (ImageFolder and the like) and WebDataset tars.

An image's name in its set ("item") is its path below the folder, or, in a tar, the tar's file name and the member's
name: a label, by which nothing is ever opened.
"""

from __future__ import annotations

import os
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from wit import tar
from wit.errors import InputError, UserError
from wit.storage import base_name, expand, is_remote, join, list_names, local_path, open_input, read_bytes, walk_files

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif")

IMAGE, TAR = "image", "tar"


@dataclass(frozen=True)
class EvaluationSet:
    """A named set of images that must not be trained on."""

    name: str
    path: str
    """A folder of images in folders, a folder of tars, or a pattern of tars."""


def parse(text: str) -> EvaluationSet:
    """Return the set that NAME=PATH names; raises UserError for anything else."""
    name, equals, path = text.partition("=")
    if not equals or not name.strip() or not path.strip():
        raise UserError(f"expected an evaluation set as NAME=PATH (cifar10=eval/cifar10), found {text!r}")
    return EvaluationSet(name.strip(), path.strip())


def parse_all(texts: Iterable[str]) -> tuple[EvaluationSet, ...]:
    """Return the sets in the order of their names; raises UserError when two have the same name."""
    sets = sorted((parse(text) for text in texts), key=lambda each: each.name)
    for first, second in pairwise(sets):
        if first.name == second.name:
            raise UserError(f"two evaluation sets are named {first.name!r} ({first.path}, {second.path}); rename one")
    return tuple(sets)


def list_inputs(evaluation_set: EvaluationSet) -> list[dict[str, str]]:
    """Return rows of `wit.schema.EVALUATION_INPUTS`: one an image file, or one a tar, in order.

    Raises InputError when the path holds neither images nor tars, or cannot be read.
    """
    path = evaluation_set.path
    if is_remote(path) or not os.path.isdir(local_path(path)):
        inputs = [tar_input(url) for url in expand(path)]
    else:
        folder = local_path(path)
        inputs = [
            {"kind": IMAGE, "item": item, "url": join(folder, item)}
            for item in (os.path.relpath(path, folder) for path in walk_files(folder))
            if item.lower().endswith(IMAGE_SUFFIXES)
        ]
        inputs = inputs or [tar_input(join(folder, name)) for name in list_names(folder) if name.endswith(".tar")]
    if not inputs:
        raise InputError(f"{path}: expected a folder of images or WebDataset tars, found neither")
    return [{"set": evaluation_set.name, **each} for each in inputs]


def tar_input(url: str) -> dict[str, str]:
    """Return kind, item and URL of a tar; raises InputError for another file."""
    if not base_name(url).endswith(".tar"):
        raise InputError(f"{url}: expected a folder of images or a .tar of them")
    return {"kind": TAR, "item": base_name(url), "url": url}


def read_images(
    inputs: Iterable[dict[str, Any]], wanted: Container[tuple[str, str]] | None = None
) -> Iterator[tuple[str, str, bytes]]:
    """Yield (set, item, bytes) of every image that rows of EVALUATION_INPUTS name, or of those that are `wanted`.

    One image is in memory at a time. Raises InputError for a file that is missing or a tar that is broken.
    """
    for each in inputs:
        name = each["set"]
        if each["kind"] == IMAGE:
            if wanted is None or (name, each["item"]) in wanted:
                yield name, each["item"], read_bytes(each["url"])
            continue
        with open_input(each["url"]) as file:
            for member in tar.members(file, each["url"]):
                item = f"{each['item']}/{member.name}"
                if member.name.lower().endswith(IMAGE_SUFFIXES) and (wanted is None or (name, item) in wanted):
                    yield name, item, tar.read_member(file, member, each["url"])

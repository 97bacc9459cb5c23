"""Evaluation sets as those who use the present names of `pipelines.sources.evaluation` know them."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from typing import Any

from pipelines.sources.evaluation.listing import list_inputs
from pipelines.sources.evaluation.pieces import Piece
from pipelines.sources.evaluation.reading import read_items
from pipelines.sources.evaluation.sets import FOLDER, WEBDATASET, EvaluationSet, parse, parse_all
from wit.errors import InputError
from wit.foreign import IMAGE_SUFFIXES as _SUFFIXES
from wit.storage import base_name

IMAGE = FOLDER
IMAGE_SUFFIXES = tuple(f".{suffix}" for suffix in sorted(_SUFFIXES))

__all__ = ["IMAGE", "IMAGE_SUFFIXES", "EvaluationSet", "list_inputs", "parse", "parse_all", "read_images", "tar_input"]


def tar_input(url: str) -> dict[str, Any]:
    """Return the row of a tar without its set; raises InputError for another file."""
    if not base_name(url).endswith(".tar"):
        raise InputError(f"{url}: expected a folder of images or a .tar of them")
    row = Piece(WEBDATASET, url, item=base_name(url)).row()
    return {name: value for name, value in row.items() if name != "set"}


def read_images(
    inputs: Iterable[dict[str, Any]], wanted: Container[tuple[str, str]] | None = None
) -> Iterator[tuple[str, str, bytes]]:
    """Yield (set, item, bytes) of what `read_items` yields."""
    for item in read_items(inputs, wanted):
        yield item.set, item.item, item.body

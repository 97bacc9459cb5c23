"""GTSRB (German Traffic Sign Recognition Benchmark) as its archives unpack: PPM images, and tables of their classes.

A folder of training images holds GT-00000.csv of its class; the test images' classes are in GT-final_test.csv. Their
columns have semicolons between: Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId. Images are taken whole, with
the margin of about a tenth around the sign: Roi, the sign within it, is not cut out, for no source says that the
paper did. Source: "Image format" and "Annotation format" in benchmark.ini.rub.de/gtsrb_dataset.html.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from wit.errors import InputError
from wit.evaluation_sets.folders import folder_pieces
from wit.evaluation_sets.labels import all_classes, order_classes, read_text
from wit.evaluation_sets.pieces import Listing
from wit.evaluation_sets.sets import GTSRB, EvaluationSet
from wit.evaluation_sets.splits import File, Found, choose_split
from wit.rows import parse_cells
from wit.storage import base_name

NUM_CLASSES = 43
_TABLE = re.compile(r"GT-(\d{5}|final_test)\.csv")
_FILE, _CLASS = "Filename", "ClassId"


class _Row(NamedTuple):
    """A row of a table."""

    file: str
    label: str
    where: str


def is_gtsrb_table(name: str) -> bool:
    """Return whether a file is a table of images' classes."""
    return _TABLE.fullmatch(base_name(name)) is not None


def list_gtsrb(evaluation_set: EvaluationSet, found: Found) -> Listing:
    """Return the set that PPM images and tables are.

    Raises InputError for tables that are not right, for images that a table names and that are not there, and for
    images beside those that none names.
    """
    tables = [file for file in found.files if is_gtsrb_table(file.name)]
    if not tables:
        raise InputError(f"{evaluation_set.path}: expected GT-final_test.csv, or GT-00000.csv and so on, found none")
    split = choose_split(found, tables, _split, evaluation_set.split)
    images = _images(found)
    labels: dict[str, str] = {}
    for table in split.files:
        for row in _rows(table):
            name = _find(images, table, row)
            if labels.setdefault(name, row.label) != row.label:
                raise InputError(f"{row.where}: expected one class of {name!r}, found two; keep one of the rows")
    _require_all(evaluation_set, images, labels)
    classes = order_classes(all_classes(labels.values()))
    pieces = folder_pieces(found.root, sorted(labels.items()))
    return Listing(evaluation_set, GTSRB, pieces, classes, split.name, split.left_out)


def _split(name: str) -> str:
    return "test" if "final_test" in base_name(name) else "train"


def _images(found: Found) -> Mapping[str, list[str]]:
    """Return the images by the last part of their names."""
    images: dict[str, list[str]] = defaultdict(list)
    for file in found.files:
        if file.name.lower().endswith(".ppm"):
            images[base_name(file.name)].append(file.name)
    return images


def _find(images: Mapping[str, list[str]], table: File, row: _Row) -> str:
    """Return the image of a row: beside the table, else the only one of its name, as the test set's tables come."""
    beside = f"{table.name.rpartition('/')[0]}/{row.file}".lstrip("/")
    near = images.get(base_name(row.file), [])
    if beside in near:
        return beside
    if len(near) != 1:
        found = f"{len(near)} of that name" if near else "none"
        raise InputError(f"{row.where}: expected an image {row.file!r}, found {found}; unpack the images beside it")
    return near[0]


def _rows(table: File) -> Iterator[_Row]:
    rows = list(parse_cells(";", table.url, read_text(table.url)))
    if not rows:  # its images would be nobody's
        raise InputError(f"{table.url}: expected rows of {_FILE};...;{_CLASS}, found none; fetch the set again")
    for number, row in rows:
        where = f"{table.url}, line {number}"
        if not {_FILE, _CLASS} <= row.keys():
            raise InputError(f"{where}: expected columns {_FILE};...;{_CLASS}, found {list(row)}")
        name, label = str(row[_FILE]), str(row[_CLASS]).strip()
        if not name or not label.isdecimal() or int(label) >= NUM_CLASSES:
            raise InputError(
                f"{where}: expected an image and a class from 0 to {NUM_CLASSES - 1}, found {name!r} and {label!r}; "
                "fetch the set again"
            )
        yield _Row(name, str(int(label)), where)


def _require_all(evaluation_set: EvaluationSet, images: Mapping[str, list[str]], labels: Mapping[str, str]) -> None:
    """Raise InputError for an image beside those that tables name: one without a class."""
    folders = {name.rpartition("/")[0] for name in labels}
    extra = [name for names in images.values() for name in names
             if name not in labels and name.rpartition("/")[0] in folders]  # fmt: skip
    if extra:
        raise InputError(
            f"{evaluation_set.path}: expected the class of every image, found no row of {len(extra):,} "
            f"({min(extra)}); fetch the tables again"
        )

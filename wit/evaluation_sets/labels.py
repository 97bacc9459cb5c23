"""Classes of images: where sets say them, and what is a label."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from wit.errors import InputError
from wit.storage import exists, join, reading

LABEL_FIELDS = ("label", "fine_label", "cls", "class", "class_name", "label_name", "category", "target", "labels")
"""Names of columns and JSON fields with an image's class, the first that is there before the others."""
CLASS_FILES = ("classnames.txt", "classes.txt")
"""Files with the names of the classes, a line each, in the folder of tars or Parquet files or in the one above it."""

_MAX_CLASS_FILE_BYTES = 16 << 20
_MAX_LABEL_CHARACTERS = 200


def join_labels(own: Iterable[str], unsure: Iterable[str] = ()) -> str:
    """Return the classes of an image that may have several as one text, a line each.

    After an empty line come those that it is neither said to have nor to lack, VOC's "difficult" ones. A label of a set
    with one class an image has no end of a line in it.
    """
    first, second = ("".join(f"{name}\n" for name in names) for names in (own, unsure))
    return f"{first}\n{second}" if second or not first else first


def split_labels(label: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the classes of a label: those of the image, and those that it is neither said to have nor to lack."""
    own, _, unsure = f"\n{label}".partition("\n\n")
    return tuple(filter(None, own.split("\n"))), tuple(filter(None, unsure.split("\n")))


def has_several(label: str) -> bool:
    """Return whether a label is one of `join_labels`: of a set whose images may have several classes, or none."""
    return "\n" in label


def all_classes(labels: Iterable[str | None]) -> set[str]:
    """Return the classes that occur in labels, of one class or several."""
    return {name for label in labels if label is not None for names in split_labels(label) for name in names}


def label_text(value: object) -> str | None:
    """Return a label as text: a number, or a line of text; of a list of such `join_labels`.

    None for what is neither, and for blanks; an empty list is an image of no class.
    """
    if isinstance(value, list):
        own = [None if isinstance(each, list) else label_text(each) for each in value]
        named = [label for label in own if label is not None]
        return join_labels(dict.fromkeys(named)) if len(named) == len(own) else None
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else None
    text = str(value).strip()
    return text if text and "\n" not in text and len(text) <= _MAX_LABEL_CHARACTERS else None


def name_class(label: str | None, classes: tuple[str, ...], where: str) -> str | None:
    """Return the name of a class that is given by its number; a label that is a name stays; so each of several.

    None for a negative number, by which Hugging Face's sets mark images whose class is kept secret. Raises InputError
    when there is no such class.
    """
    if label is not None and has_several(label):
        named = [[name_class(each, classes, where) for each in part] for part in split_labels(label)]
        own, unsure = ([name for name in part if name is not None] for part in named)
        return join_labels(own, unsure) if len(own) == len(named[0]) else None
    if label is None or not label.removeprefix("-").isdecimal():
        return label
    number = int(label)
    if number < 0:
        return None
    if not classes:
        return label
    if number >= len(classes):
        raise InputError(f"{where}: expected a class from 0 to {len(classes) - 1}, found {number}; fetch the set again")
    return classes[number] or label


def order_classes(labels: Collection[str]) -> tuple[str, ...]:
    """Return classes in the order of their numbers where all are numbers, else of their names."""
    if all(label.isdecimal() for label in labels):
        return tuple(sorted(labels, key=lambda label: (int(label), label)))
    return tuple(sorted(labels))


def read_classes(folder: str) -> tuple[str, ...]:
    """Return the names of classes that a file of CLASS_FILES in a folder, or in the one above it, lists by number.

    Empty when there is none. Raises InputError when it cannot be read.
    """
    above = folder.rstrip("/").rpartition("/")[0]
    places: Iterable[str] = (join(place, name) for place in (folder, above) if place for name in CLASS_FILES)
    found = next((place for place in places if exists(place)), None)
    return () if found is None else class_lines(read_text(found))


def class_lines(text: str) -> tuple[str, ...]:
    """Return the lines of a text without the blank ones at its end."""
    return tuple(line.strip() for line in text.rstrip().splitlines())


def read_text(url: str, limit: int = _MAX_CLASS_FILE_BYTES) -> str:
    """Return a text file; raises InputError when it is no UTF-8 or has more than `limit` bytes."""
    with reading(url) as file:
        data = file.read(limit + 1)
    return decode_text(data, url, limit)


def decode_text(data: bytes, where: str, limit: int = _MAX_CLASS_FILE_BYTES) -> str:
    """Return bytes as text; raises InputError when they are no UTF-8 or more than `limit`."""
    if len(data) > limit:
        raise InputError(f"{where}: expected a text of at most {limit >> 20} MiB, found more")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: expected text in UTF-8, found other bytes at {error.start}") from error

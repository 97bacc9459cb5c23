"""Sets in WebDataset tars, packed by gzip or not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import IO

from wit import tar
from wit.errors import InputError
from wit.evaluation_sets.labels import LABEL_FIELDS, label_text, name_class, read_classes
from wit.evaluation_sets.packed import open_unpacked
from wit.evaluation_sets.pieces import Labelled, Listing, Piece, Wanted, is_image_name
from wit.evaluation_sets.sets import WEBDATASET, EvaluationSet
from wit.evaluation_sets.splits import Found, choose_split, split_of_words
from wit.foreign import MAX_IMAGE_BYTES, MAX_MEMBERS, facts_of, last_suffix, split_name
from wit.shards import folder_of

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz")
_LABEL_SUFFIXES = ("cls", "json", "txt")  # members that may say the class, the first before the others
_MAX_LABEL_BYTES = 1 << 20


def is_tar_name(name: str) -> bool:
    """Return whether a file is named as a tar that can be read."""
    return name.lower().endswith(TAR_SUFFIXES)


def list_tars(evaluation_set: EvaluationSet, found: Found) -> Listing:
    """Return the set that tars are, a piece each; raises InputError when there is none, or no image in any."""
    tars = found.named(is_tar_name)
    if not tars:
        raise InputError(f"{evaluation_set.path}: expected tars, found none")
    split = choose_split(found, tars, split_of_words, evaluation_set.split)
    if not any(_has_image(file.url) for file in split.files):
        raise InputError(f"{evaluation_set.path}: expected images in its tars, found none")
    classes = {folder: read_classes(folder) for folder in sorted({folder_of(file.url) for file in split.files})}
    pieces = tuple(
        Piece(WEBDATASET, file.url, item=file.name, classes=classes[folder_of(file.url)]) for file in split.files
    )
    return Listing(evaluation_set, WEBDATASET, pieces, _same(classes), split.name, split.left_out)


def _same(classes: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Return the classes of all folders where they are the same."""
    distinct = set(classes.values())
    return distinct.pop() if len(distinct) == 1 else ()


def _has_image(url: str) -> bool:
    with open_unpacked(url) as (file, _):
        return any(is_image_name(member.name) for member in tar.members(file, url))


@dataclass
class _Sample:
    """What was read of a sample: members that are next to each other and share a stem."""

    stem: str
    images: list[tuple[str, bytes | None]] = field(default_factory=list)
    """Names in the set, and bodies; None: not wanted."""
    texts: dict[str, bytes] = field(default_factory=dict)
    suffixes: set[str] = field(default_factory=set)


def read_tar(piece: Piece, wanted: Wanted) -> Iterator[Labelled]:
    """Yield the images of a tar, with the class that its sample's .cls, .json or .txt says, else its folder.

    A number is a class of `classes`. One sample is in memory at a time, of an image 256 MiB at most. A name that comes
    again gets its number: a.jpg, a.jpg#2. Raises InputError where the tar is broken, or a class is not there.
    """
    with open_unpacked(piece.url) as (file, _):
        for sample in _samples(file, piece, wanted):
            label = name_class(_label(sample), piece.classes, f"{piece.url}, {sample.stem!r}")
            for name, body in sample.images:
                if body is not None:
                    yield Labelled(name, label, body)


def _samples(file: IO[bytes], piece: Piece, wanted: Wanted) -> Iterator[_Sample]:
    seen: dict[str, int] = {}
    sample = _Sample("")
    for member in tar.members(file, piece.url):
        stem, suffixes = split_name(member.name)
        if stem != sample.stem or suffixes in sample.suffixes or len(sample.suffixes) == MAX_MEMBERS:
            yield sample
            sample = _Sample(stem)
        sample.suffixes.add(suffixes)
        suffix = last_suffix(member.name)
        if is_image_name(member.name):
            seen[member.name] = seen.get(member.name, 0) + 1
            name = f"{piece.item}/{member.name}" + (f"#{seen[member.name]}" if seen[member.name] > 1 else "")
            sample.images.append((name, _read(file, member, piece.url) if wanted(name) else None))
        elif suffix in _LABEL_SUFFIXES and suffix not in sample.texts and member.length <= _MAX_LABEL_BYTES:
            sample.texts[suffix] = tar.read_member(file, member, piece.url)
    yield sample


def _read(file: IO[bytes], member: tar.Member, url: str) -> bytes:
    """Return an image, or so much of it that no decoder takes it for one."""
    return tar.read_member(file, replace(member, length=min(member.length, MAX_IMAGE_BYTES)), url)


def _label(sample: _Sample) -> str | None:
    """Return what a sample says of its class: its own words, else the folder in which it lies."""
    facts = facts_of(sample.texts.get("json", b""))
    said = (
        _text(sample.texts.get("cls")),
        next((label for name in LABEL_FIELDS if (label := label_text(facts.get(name))) is not None), None),
        _text(sample.texts.get("txt")),
        label_text(split_name(sample.stem)[0].rpartition("/")[0].rpartition("/")[2].strip(".")),
    )
    return next((label for label in said if label is not None), None)


def _text(data: bytes | None) -> str | None:
    return None if data is None else label_text(data.decode("utf-8", "replace"))

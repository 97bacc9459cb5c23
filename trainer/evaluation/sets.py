"""An evaluation set that is opened to be evaluated: what it is, its images in order, and what it is made of."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from trainer.evaluation.class_folders import require_class_folders
from trainer.evaluation.metrics import NOT_JUDGED
from wit.errors import InputError, UserError
from wit.evaluation_sets import FORMATS, EvaluationSet, Item, Listing, Piece, list_set, order_classes, parse, read_items
from wit.evaluation_sets.labels import all_classes, has_several, split_labels
from wit.evaluation_sets.sets import FOLDER, MNIST, PARQUET
from wit.manifest import fingerprint_file
from wit.storage import base_name, exists, is_folder, is_remote, join, local_path

_FILE_NAME = re.compile(r"[\w][\w .+-]*")
_FORCED = re.compile(rf"({'|'.join(FORMATS)}):(?!//)")


@dataclass(frozen=True)
class OpenSet:
    """A set, by the name under which its results are kept."""

    listing: Listing
    is_named: bool
    """Whether its user named it; else it is called as its file or folder."""

    @property
    def name(self) -> str:
        """Of the set, and of the files of its results."""
        return self.listing.set.name

    @property
    def text(self) -> str:
        """As results have it and pages read it: NAME=FORMAT:PATH."""
        return f"{self.name}={self.listing.format}:{self.listing.set.path}"

    @property
    def num_known(self) -> int | None:
        """Images, where that is known before all are read."""
        counts = [_length(piece) for piece in self.listing.pieces]
        return None if None in counts else sum(count for count in counts if count is not None)

    @property
    def known_labels(self) -> tuple[str | None, ...]:
        """Labels of the images, where they are known before any is read: of image files, and that others have none."""
        return tuple(label for piece in self.listing.pieces for label in _known_labels(piece))

    @property
    def has_several(self) -> bool:
        """Whether it is known before any image is read that one may have several classes."""
        return any(has_several(label) for label in self.known_labels if label is not None)

    def items(self) -> Iterator[Item]:
        """Yield all images in order, broken ones too; raises InputError for a file that is missing or broken."""
        return read_items(piece.row() for piece in self.listing.pieces)

    def fingerprint(self) -> str:
        """Return SHA-256, in hex, over what is read, and from which bytes: 64 MiB of a file, or its ends."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256()
        for piece in self.listing.pieces:
            row = piece.row() | {"set": "", "url": base_name(piece.url)}
            digest.update(json.dumps(row, sort_keys=True).encode())
        for fold in self.listing.folds:
            digest.update(json.dumps([fold.name, sorted(fold.train), sorted(fold.test)]).encode())
        urls = {url for piece in self.listing.pieces for url in _files(piece)}
        for url in sorted(urls):
            digest.update(f"{base_name(url)} {fingerprint_file(url)}\n".encode())
        return digest.hexdigest()


def require_others(option: str, part: OpenSet, judged: OpenSet) -> None:
    """Raise InputError when a set to fit on is the very set that is judged."""
    if _read_by(part) == _read_by(judged):
        raise InputError(
            f"{option}: expected other images than those that are judged, found {part.listing.set.path} for both; "
            "name the set's own part to fit on"
        )


def _read_by(opened: OpenSet) -> list[dict[str, object]]:
    """Return what is read, whatever the set is called."""
    return [piece.row() | {"set": ""} for piece in opened.listing.pieces]


def _length(piece: Piece) -> int | None:
    """Return the images of a piece, where it says how many."""
    if piece.kind == FOLDER:
        return len(piece.members)
    return None if piece.start is None or piece.stop is None else piece.stop - piece.start


def _known_labels(piece: Piece) -> Sequence[str | None]:
    if piece.kind == FOLDER:
        return piece.labels
    has_none = (piece.kind == PARQUET and not piece.label_column) or (piece.kind == MNIST and not piece.label_url)
    return [None] * (_length(piece) or 0) if has_none else ()


def _files(piece: Piece) -> list[str]:
    if piece.kind == FOLDER:
        return [join(piece.url, name) for name in piece.members]
    return [piece.url, *([piece.label_url] if piece.label_url else [])]


def is_named(text: str) -> bool:
    """Return whether [NAME=][FORMAT:]PATH begins with a name: a path may have an equals sign, too."""
    return "=" in text and not exists(text) and not _FORCED.match(text)


def open_sets(where: str, texts: Sequence[str]) -> list[OpenSet]:
    """Return the set of each text, as `open_set`; raises UserError, which begins with `where`, for two of one name."""
    sets = [open_set(text) for text in texts]
    counts = Counter(one.name for one in sets)
    if twice := next((name for name, count in counts.items() if count > 1), ""):
        raise UserError(f"{where}: expected a name for each set, found two of the name {twice!r}; write NAME=PATH")
    return sets


def open_set(text: str, split: str = "") -> OpenSet:
    """Return the set that [NAME=][FORMAT:]PATH names; without a name it is called as its file or folder.

    Of several splits in it that of SPLITS is read that is asked for, else the first.

    Raises UserError for a name that can be no file's, InputError when there is no set, or one with a class folder that
    holds no images: to leave a class out would change what is measured.
    """
    has_name = is_named(text)
    parsed = parse(text if has_name else f"{_stem(text)}={text}")
    if not _FILE_NAME.fullmatch(parsed.name):
        raise UserError(
            f"{text!r}: expected a name of letters, digits and -_.+, as files have, found {parsed.name!r}; "
            "write NAME=PATH"
        )
    return _opened(replace(parsed, split=split), has_name)


def open_split(one: OpenSet, split: str) -> OpenSet | None:
    """Return another split of a set, as `open_set`; None where it has none.

    Of folds that have their own test images the set itself: each of its images is trained on in one or another.
    """
    if split == "train" and any(fold.test for fold in one.listing.folds):
        return one
    return _opened(replace(one.listing.set, split=split), one.is_named) if split in one.listing.left_out else None


def _opened(named: EvaluationSet, has_name: bool) -> OpenSet:
    listing = list_set(named)
    if listing.format == FOLDER:
        _require_classes(listing)
    return OpenSet(listing, has_name)


def _stem(text: str) -> str:
    """Return the name of a file or folder without its suffixes, in signs that a name may have."""
    path = _FORCED.sub("", text)
    base = base_name(path if path.strip("/.") else "set")
    stem = re.split(r"\.(?:tar|tgz|parquet|gz|bin|zip)\b", base)[0]
    return re.sub(r"[^\w .+-]", "-", stem).strip(" .") or "set"


def _require_classes(listing: Listing) -> None:
    """Raise InputError where the folders of classes are not right, in a local folder of nothing but such."""
    paths = [name.split("/") for piece in listing.pieces for name in piece.members]
    root = listing.pieces[0].url
    if is_remote(root) or not is_folder(root):
        return
    if {len(path) for path in paths} == {2} and not exists(join(root, "metadata.csv")):
        require_class_folders(local_path(root))
    elif {len(path) for path in paths} == {3} and len({path[0] for path in paths}) == 1:
        require_class_folders(join(local_path(root), paths[0][0]))


def require_labels(opened: OpenSet) -> None:
    """Raise InputError, as `class_labels`, as far as labels are known before images are read."""
    if opened.known_labels:
        class_labels(opened, opened.known_labels)


def class_labels(opened: OpenSet, labels: tuple[str | None, ...]) -> tuple[str, ...]:
    """Return the classes of a set in its order: those that it lists, else those of its images.

    Raises InputError when images have no class, or all the same.
    """
    unknown = sum(label is None for label in labels)
    if unknown:
        advice = (
            "put them into folders by class, or a metadata.csv with file_name and label beside them"
            if opened.listing.format == FOLDER
            else "fetch its labels too, or name a split that has them"
        )
        raise InputError(
            f"{opened.listing.set.path}: expected the class of every image, found none for {unknown:,} of "
            f"{len(labels):,}; {advice}"
        )
    found = all_classes(labels)
    classes = opened.listing.classes or order_classes(found)
    classes += tuple(sorted(found - set(classes)))
    if len(classes) < 2:
        raise InputError(f"{opened.listing.set.path}: expected images of at least two classes, found {len(classes)}")
    return classes


def number_labels(classes: tuple[str, ...], labels: Sequence[str]) -> NDArray[np.int64]:
    """Return labels as rows of `classes`, (N,).

    Where any has several classes (N, C): 1 for those that an item has, 0 for the others, NOT_JUDGED for those that it
    is neither said to have nor to lack.
    """
    place = {name: number for number, name in enumerate(classes)}
    if not any(map(has_several, labels)):
        return np.array([place[label] for label in labels], np.int64)
    found = np.zeros((len(labels), len(classes)), np.int64)
    for row, label in enumerate(labels):
        own, unsure = split_labels(label)
        found[row, [place[name] for name in unsure]] = NOT_JUDGED
        found[row, [place[name] for name in own]] = 1
    return found

"""Folders of class folders, looked at before anything is read from them: to leave a class out changes a score."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from wit.errors import InputError
from wit.foreign import IMAGE_SUFFIXES, last_suffix
from wit.patterns import utf8


def require_class_folders(root: str) -> None:
    """Raise InputError unless a folder holds at least two class folders, each of another name and with images."""
    folder = Path(root)
    names = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))
    for name in names:
        _require_images(folder / name)
    if len(names) < 2:
        raise InputError(f"{root}: expected at least two class folders, found {len(names)}")
    titles = Counter(name.replace("_", " ") for name in names)
    ((title, times),) = titles.most_common(1)
    if times > 1:
        raise InputError(f"{root}: expected each class once, found two folders for {title!r}")


def _require_images(folder: Path) -> None:
    if not folder.name.isprintable():  # it goes into prompts, and to a terminal
        raise InputError(f"{str(folder)!r}: expected the name of a class, found signs that none has; rename it")
    images = sorted(one for one in os.listdir(folder) if last_suffix(one) in IMAGE_SUFFIXES)
    if not images:
        raise InputError(f"{folder}: expected images of the class {folder.name!r}, found none")
    for image in images:
        if not os.path.isfile(folder / utf8(image)):  # a pipe would never end
            raise InputError(f"{folder / image}: expected a file, found a folder, a pipe, or nothing")

"""folds.csv beside image files: which of them are fitted on, and which judged, in each of several folds.

Its columns are fold (a name), split (train or test) and item (a path from the folder of the set): DTD's ten splits or
SUN397's ten partitions, written so, are evaluated as the mean over them. A fold that names no item to test is judged on
the whole test split.
"""

from __future__ import annotations

from collections.abc import Collection

from wit.errors import InputError
from wit.evaluation_sets.labels import read_text
from wit.evaluation_sets.pieces import Fold
from wit.evaluation_sets.splits import Found
from wit.rows import parse_rows

FILE_NAME = "folds.csv"
_COLUMNS = ("fold", "split", "item")
_MAX_BYTES = 1 << 30


def read_folds(found: Found, judged: Collection[str], images: Collection[str]) -> tuple[Fold, ...]:
    """Return the folds of image files, in the order of the file; none where there is no such file.

    `judged` are the images of the split that is read, `images` those of all splits. Raises InputError for other
    columns or no rows, for an item that is not there, and for a fold without training items or with one in both parts.
    """
    url = next((file.url for file in found.files if file.name == FILE_NAME), "")
    if not url:
        return ()
    parts: dict[str, dict[str, set[str]]] = {}
    rows = list(parse_rows(url, read_text(url, _MAX_BYTES), "csv"))
    if not rows or not set(_COLUMNS) <= rows[0][1].keys():
        found_columns = list(rows[0][1]) if rows else "no rows"
        raise InputError(f"{url}: expected columns {', '.join(_COLUMNS)}, found {found_columns}")
    for number, row in rows:
        name, split, item = (str(row[column]) for column in _COLUMNS)
        if not name or split not in ("train", "test") or not item:
            raise InputError(f"{url}, line {number}: expected a fold, train or test, and an item, found otherwise")
        parts.setdefault(name, {"train": set(), "test": set()})[split].add(item)
    folds = tuple(Fold(name, frozenset(own["train"]), frozenset(own["test"])) for name, own in parts.items())
    known = judged if any(fold.test for fold in folds) else images
    for fold in folds:
        _require_right(fold, known, url)
    return folds


def _require_right(fold: Fold, known: Collection[str], url: str) -> None:
    missing = sorted((fold.train | fold.test) - set(known))
    if missing:
        raise InputError(
            f"{url}: {fold.name}: expected images that are there, found {len(missing):,} that are not ({missing[0]}); "
            "write their paths from the folder of the set"
        )
    if not fold.train or fold.train & fold.test:
        found = f"{min(fold.train & fold.test)} in both" if fold.train else "none to train on"
        raise InputError(f"{url}: {fold.name}: expected images to train on and others to test, found {found}")

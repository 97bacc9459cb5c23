"""Country211 by its published recipe: photos of YFCC100M with a position, as many of each country as of any other.

The paper's release notes: photos whose coordinates have an ISO 3166 country code, 150 to train, 50 to validate and 100
to test of each country; 211 countries have that many. How a country was found of coordinates, and which photos were
drawn, they do not say: borders are a file that the user names, and the draw is a hash of the photo's key. So the set is
of the same kind as theirs, not the same photos.
"""

from __future__ import annotations

import csv
import heapq
import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass, field
from typing import Any

import numpy as np

from trainer.evaluation.suite.borders import NOWHERE, Borders
from trainer.evaluation.suite.building import finish
from trainer.evaluation.suite.photos import Photos
from wit.errors import InputError
from wit.image import ImageRejected, decode, sniff
from wit.keys import uniform_rank
from wit.storage import join, list_names, publish_bytes, publish_text, read_bytes

SALT = "country211"
SPLITS = ("train", "validation", "test")
_SUFFIXES = {"jpeg": "jpg"}
_SPARE = 2  # ranked photos kept for each that is wanted: some of them cannot be decoded


@dataclass(frozen=True)
class Quotas:
    """Images of each country in each split."""

    train: int = 150
    validation: int = 50
    test: int = 100

    @property
    def total(self) -> int:
        """Images that a country must have."""
        return self.train + self.validation + self.test

    def splits(self) -> list[str]:
        """Return the split of each of a country's images in the order that they are drawn in."""
        return [
            split
            for split, num in zip(SPLITS, (self.train, self.validation, self.test), strict=True)
            for _ in range(num)
        ]


@dataclass(order=True, frozen=True)
class Candidate:
    """A photo of a country; the lowest ranks are drawn first."""

    rank: int
    key: str
    url: str = field(compare=False)


@dataclass
class Draw:
    """The candidates of each country, and how many photos are not among them, by reason."""

    by_country: dict[str, list[Candidate]]
    dropped: Counter[str]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        by_country = {code: [list(astuple(one)) for one in found] for code, found in self.by_country.items()}
        return {"by_country": by_country, "dropped": dict(self.dropped)}

    @staticmethod
    def of(value: Mapping[str, Any]) -> Draw:
        """Return what `to_json` was made from."""
        by_country = {code: [Candidate(*one) for one in found] for code, found in value["by_country"].items()}
        return Draw(by_country, Counter(value["dropped"]))


def draw(
    photos: Iterable[Photos],
    borders: Borders | None,
    has_image: Callable[[str], bool],
    quotas: Quotas,
    advance: Callable[[int], None] = lambda _: None,
) -> Draw:
    """Return the photos of each country by rank, twice as many as are wanted; raises InputError without countries.

    The draw does not depend on the order of photos, and what a smaller quota draws is among what a larger one does.
    `advance(n)` is called as n more photos are seen.
    """
    heaps: dict[str, list[tuple[int, str, Candidate]]] = {}
    drawn: dict[str, set[str]] = {}
    dropped: Counter[str] = Counter()
    for part in photos:
        for key, url, country in zip(part.keys, part.urls, _countries(part, borders, dropped), strict=True):
            if not country:
                continue
            if not has_image(key):
                dropped["no_image"] += 1
                continue
            if key in drawn.setdefault(country, set()):
                dropped["listed_twice"] += 1
                continue
            candidate = Candidate(uniform_rank(SALT, key), key, url)
            drawn[country].add(key)
            heap = heaps.setdefault(country, [])
            heapq.heappush(heap, (-candidate.rank, key, candidate))
            if len(heap) > _SPARE * quotas.total:
                drawn[country].discard(heapq.heappop(heap)[1])
                dropped["not_needed"] += 1
        advance(len(part.keys))
    return Draw({code: sorted(each for _, _, each in heaps[code]) for code in sorted(heaps)}, dropped)


def _countries(photos: Photos, borders: Borders | None, dropped: Counter[str]) -> Iterator[str]:
    """Yield the country of each photo, blank for none, which is counted."""
    if photos.countries is not None:
        codes, num_without = photos.countries, 0
    elif borders is None:
        raise InputError("expected --borders, a GeoJSON file of countries, for the list of photos has no `country`")
    else:
        places = borders.locate(photos.longitudes_P, photos.latitudes_P)
        codes = [borders.codes[place] if place != NOWHERE else "" for place in places.tolist()]
        num_without = int(np.isnan(photos.longitudes_P + photos.latitudes_P).sum())
    dropped["no_position"] += num_without
    dropped["no_country"] += sum(not code for code in codes) - num_without
    yield from codes


@dataclass(frozen=True)
class Built:
    """What was written."""

    countries: tuple[str, ...]
    num_images: int
    dropped: dict[str, int]
    """Photos that are not in it, by reason."""


def build(
    out: str,
    drawn: Draw,
    images: Mapping[str, str],
    quotas: Quotas,
    titles: Mapping[str, str],
    advance: Callable[[int], None] = lambda _: None,
) -> Built:
    """Write OUT/SPLIT/COUNTRY/KEY.jpg, items.csv, names.txt and manifest.json; without `images`, no image.

    `images` is key to file; one that cannot be decoded gives way to the next. Countries with too few are left out.
    OUT was begun; images that are there already are neither decoded nor copied again. `advance(n)` is called as n more
    countries are done. Raises InputError when no country has enough.
    """
    rows: list[list[str]] = []
    countries: list[str] = []
    dropped = Counter(drawn.dropped)
    for code, candidates in drawn.by_country.items():
        advance(1)
        done = _done(out, code)
        usable = list(_usable(candidates, images, done, quotas.total, dropped))
        if len(usable) < quotas.total:
            dropped["too_few_of_the_country"] += len(usable)
            continue
        countries.append(code)
        dropped["not_needed"] += len(candidates) - usable[-1][0] - 1
        for split, (_, candidate, suffix) in zip(quotas.splits(), usable, strict=True):
            name = f"{split}/{code}/{candidate.key}.{suffix}" if suffix else ""
            if name and candidate.key not in done:
                publish_bytes(join(out, name), read_bytes(images[candidate.key]))
            rows.append([name, split, code, candidate.key, candidate.url])
    if not countries:
        raise InputError(
            f"expected countries with {quotas.total} photos, found none; name more photos, or ask for fewer"
        )
    built = Built(tuple(countries), len(rows), {reason: num for reason, num in sorted(dropped.items()) if num})
    _write_tables(out, rows, built, quotas, titles)
    return built


def _done(out: str, code: str) -> dict[str, str]:
    """Return the keys of a country's images that are there already, with their suffixes."""
    names = [name for split in SPLITS for name in list_names(join(out, split, code))]
    return {key: suffix for key, _, suffix in (name.rpartition(".") for name in names)}


def _usable(
    candidates: list[Candidate], images: Mapping[str, str], done: Mapping[str, str], wanted: int, dropped: Counter[str]
) -> Iterator[tuple[int, Candidate, str]]:
    """Yield the place, the candidate and its image's suffix (blank without images) of as many as are wanted."""
    num = 0
    for place, candidate in enumerate(candidates):
        if num == wanted:
            return
        suffix = done.get(candidate.key, "")
        if images and not suffix:
            body = read_bytes(images[candidate.key])
            try:
                decode(body)
            except ImageRejected as rejected:
                dropped[rejected.reason] += 1
                continue
            kind = sniff(body) or ""
            suffix = _SUFFIXES.get(kind, kind)
        num += 1
        yield place, candidate, suffix


def _write_tables(out: str, rows: list[list[str]], built: Built, quotas: Quotas, titles: Mapping[str, str]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", "split", "country", "key", "url"])
    writer.writerows(rows)
    publish_text(join(out, "items.csv"), text.getvalue())
    publish_text(join(out, "names.txt"), "".join(f"{code} = {titles.get(code, code)}\n" for code in built.countries))
    facts = {
        "countries": list(built.countries),
        "images_by_split": {"train": quotas.train, "validation": quotas.validation, "test": quotas.test},
        "num_images": built.num_images,
        "dropped": built.dropped,
    }
    finish(out, facts)

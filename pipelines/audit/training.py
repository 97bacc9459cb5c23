"""The training side of an audit: the prints of the samples in shards, from their pixels or from an index that stands.

Any WebDataset can be audited, with an index or without. The prints in an index are taken where the manifest of the
shards states the sizes that shard and index have; all else is hashed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice
from typing import IO, Any, ClassVar, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from wit import tar
from wit.errors import ContractError, InputError
from wit.fingerprint import Prints, contents_of_sha256, fingerprint
from wit.foreign import (
    CAPTION_FIELDS,
    MAX_IMAGE_BYTES,
    MAX_TEXT_BYTES,
    TEXT_SUFFIXES,
    URL_FIELDS,
    ForeignSample,
    facts_of,
    first_text,
    read_tar,
)
from wit.image import ImageRejected
from wit.schema import PRINTS, UNREADABLE
from wit.schema.evaluation import TRAINING_INPUTS, TRAINING_PRINTS, TRAINING_READ
from wit.shards import Described, find_index, folder_of, read_any_index, stated_shards
from wit.stage import KEPT, Output, Part
from wit.storage import base_name, exists, join, read_parquet, reading, size

_BATCH_ROWS = 1_000
_SIZES_AT_ONCE = 16
_NAMES = [field.name for field in PRINTS]


def shard_names(shards: Iterable[str]) -> dict[str, str]:
    """Return the name by which each shard (URL) is told: its file name, or the URL where two have the same."""
    urls = list(shards)
    counts = Counter(map(base_name, urls))
    return {url: base_name(url) if counts[base_name(url)] == 1 else url for url in urls}


def training_inputs(shards: list[str], trust: bool) -> list[dict[str, Any]]:
    """Return rows of TRAINING_INPUTS, one a shard; without `trust` no index is believed."""
    stated: dict[str, Described] = {}
    for folder in dict.fromkeys(map(folder_of, shards)) if trust else ():
        stated |= {join(folder, name): each for name, each in stated_shards(folder).items()}
    with ThreadPoolExecutor(_SIZES_AT_ONCE) as pool:
        is_trusted = pool.map(lambda url: _stands(url, stated.get(join(folder_of(url), base_name(url)))), shards)
        rows = zip(shard_names(shards).items(), is_trusted, strict=True)
        return [{"shard": name, "url": url, "is_trusted": stands} for (url, name), stands in rows]


def _stands(url: str, described: Described | None) -> bool:
    if described is None or not exists(find_index(url)):
        return False
    return (size(url), size(find_index(url))) == (described.of_shard["bytes"], described.of_index.get("bytes"))


class Sample(NamedTuple):
    """A sample of a shard."""

    key: str
    image: bytes | None
    """None: it has more than 256 MiB and was not read."""
    caption: str | None
    url: str | None


def read_shard(url: str, wanted: Collection[str] | None = None) -> Iterator[Sample]:
    """Yield the samples of a tar that have an image, or those of them whose keys are `wanted`, in the tar's order.

    Keys, captions and URLs are those of its index where it has one, else stems (a stem that comes again: STEM#2) and
    what text and JSON members say. One sample is in memory at a time. Raises InputError where the tar is broken.
    """
    rows = _index_rows(url, wanted)
    stems: Counter[str] = Counter()
    with reading(url) as file:
        for each in read_tar(file, url):
            image = each.image()
            if image is None or not image.length:
                continue
            stems[each.stem] += 1
            key, row = rows.get(image.offset, (None, {}))
            key = key or (each.stem if stems[each.stem] == 1 else f"{each.stem}#{stems[each.stem]}")
            if wanted is not None and key not in wanted:
                continue
            body = tar.read_member(file, image, url) if image.length <= MAX_IMAGE_BYTES else None
            facts = row if wanted is None or any(row.values()) else _facts(file, each, url)
            yield Sample(key, body, facts.get("caption") or None, facts.get("url") or None)


def _index_rows(url: str, wanted: Collection[str] | None) -> dict[int, tuple[str, dict[str, str]]]:
    """Return key, caption and URL of the samples in the index of a shard, by where their images lie."""
    if not exists(find_index(url)):
        return {}
    try:
        index = read_any_index(url)
    except (InputError, ContractError):  # another program's table of the same name
        return {}
    if wanted is not None:
        index = index.filter(pc.is_in(index["key"], value_set=pa.array(wanted, pa.string())))
    texts = index.select(["caption", "url"]).to_pylist() if wanted is not None else [{}] * len(index)
    places = zip(index["image_offset"].to_pylist(), index["key"].to_pylist(), texts, strict=True)
    return {offset: (key, text) for offset, key, text in places}


def _facts(file: IO[bytes], sample: ForeignSample, url: str) -> dict[str, str]:
    """Return caption and URL by the members of a sample, as far as it has them."""
    members = {suffix: sample.find(suffix) for suffix in (*TEXT_SUFFIXES, "json")}
    small = {
        suffix: tar.read_member(file, each, url)
        for suffix, each in members.items()
        if each and each.length <= MAX_TEXT_BYTES
    }
    facts = facts_of(small.pop("json", b""))
    caption = next((body.decode("utf-8", "replace") for body in small.values()), first_text(facts, CAPTION_FIELDS)[1])
    return {"caption": caption, "url": first_text(facts, URL_FIELDS)[1]}


@dataclass(frozen=True)
class HashTraining:
    """Has the prints of all samples of shards."""

    name: ClassVar[str] = "audit"
    reads: ClassVar[pa.Schema] = TRAINING_INPUTS
    writes: ClassVar[Mapping[str, pa.Schema]] = {KEPT: TRAINING_PRINTS, "unreadable": UNREADABLE, "read": TRAINING_READ}

    def __call__(self, batches: Iterator[pa.RecordBatch], part: Part) -> Iterator[Output]:
        """Yield prints in the order of the shard; rows of UNREADABLE for images that cannot be decoded."""
        for shard in (row for batch in batches for row in batch.to_pylist()):
            known, missing = _indexed(shard["url"], shard["shard"]) if shard["is_trusted"] else (None, None)
            num_known = num_samples = 0 if known is None else len(known)
            for name, table in chain([(KEPT, known)] if known else [], _hashed(shard["url"], shard["shard"], missing)):
                num_samples += len(table) if name == KEPT and table is not known else 0
                for batch in table.to_batches():
                    yield name, batch
            read = {"shard": shard["shard"], "num_samples": num_samples, "num_from_index": num_known}
            yield "read", pa.RecordBatch.from_pylist([read], schema=TRAINING_READ)


def _indexed(url: str, name: str) -> tuple[pa.Table | None, Collection[str] | None]:
    """Return the prints in the index of a shard, and the keys of samples without one; None when that is all."""
    index = read_parquet(find_index(url))
    if not {"key", "sha256", *_NAMES} <= set(index.column_names):
        return None, None
    is_known = pc.is_valid(index["content"])
    for each in _NAMES:
        is_known = pc.and_(is_known, pc.is_valid(index[each]))
    rows = index.filter(is_known)
    columns = {"key": rows["key"], "shard": pa.repeat(name, len(rows)), **{each: rows[each] for each in _NAMES}}
    columns["content"] = pa.array(contents_of_sha256(rows["sha256"]))  # a run may have written that of the pixels
    known = pa.table([columns[each] for each in TRAINING_PRINTS.names], schema=TRAINING_PRINTS)
    return known, frozenset(index["key"].filter(pc.invert(is_known)).to_pylist())


def _hashed(url: str, name: str, wanted: Collection[str] | None) -> Iterator[tuple[str, pa.Table]]:
    """Yield the prints of samples, or of those that are `wanted`, and rows of UNREADABLE."""
    if wanted is not None and not wanted:
        return
    hashed = ((each.key, _print(each)) for each in read_shard(url, wanted))
    while some := list(islice(hashed, _BATCH_ROWS)):
        good = [(key, found) for key, found in some if not isinstance(found, str)]
        columns = {"key": pa.array([key for key, _ in good], pa.string()), "shard": pa.repeat(name, len(good))}
        columns |= Prints.concat(found for _, found in good).columns()
        yield KEPT, pa.table([columns[each] for each in TRAINING_PRINTS.names], schema=TRAINING_PRINTS)
        unreadable = [
            {"set": None, "item": f"{name}/{key}", "detail": found, "label": None}
            for key, found in some
            if isinstance(found, str)
        ]
        yield "unreadable", pa.Table.from_pylist(unreadable, schema=UNREADABLE)


def _print(sample: Sample) -> Prints | str:
    """Return the print of a sample, or why it has none; its bytes are not held any longer."""
    try:
        if sample.image is None:
            raise ImageRejected("too_large", f"expected an image of at most {MAX_IMAGE_BYTES >> 20} MiB")
        return fingerprint(sample.image)
    except ImageRejected as error:
        return str(error)

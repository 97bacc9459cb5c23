"""`wit encode`: embeds images and captions part by part, on as many ranks as there are.

A part is a run of rows of one source. Part i is rank i mod R's; ranks say nothing to one another, a part counts once
its last file has its name, and the rank that finds all parts there writes the manifest: so any number of ranks goes on
where any other number was stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from trainer.embedding.encoder import Encoder
from trainer.embedding.folder import (
    IMAGES,
    MADE_FROM,
    MANIFEST,
    NUMBERS,
    PARTS,
    REJECTS,
    TEXTS,
    Opened,
    Vectors,
    part_url,
    write_embedded,
    write_rejects,
)
from trainer.embedding.sources import ImageSource, Texts
from trainer.loader.inference import Decoding, decode_batches
from trainer.parallel.ranks import ALONE, Ranks
from wit import manifest
from wit.errors import InputError, MismatchError
from wit.locking import LOCK, locked
from wit.schema import EMBEDDED_IMAGES, EMBEDDED_TEXTS
from wit.storage import exists, join, list_names, remove, remove_temporaries

CACHE = "cache"
"""Folder, of a folder of embeddings that is made, for parts of remote shards."""


@dataclass(frozen=True)
class Encoding:
    """How embeddings are made and kept."""

    numbers: str = "fp16"
    """As NUMBERS names them."""
    format: str = "parquet"
    part_rows: int = 32_768
    """Rows of a part: 34 MB at 512 dimensions of fp16."""
    captions: bool = True
    """Whether the captions of shards are embedded too."""
    batch_size: int = 256
    num_threads: int = 2


@dataclass(frozen=True)
class Encoded:
    """What a folder holds, all parts together, and whether it is whole: it is not while other ranks are at work."""

    num_images: int
    num_texts: int
    num_rejects: int
    is_whole: bool


@dataclass(frozen=True)
class _Part:
    number: int
    source: ImageSource | Texts
    places: range


def encode(
    encoder: Encoder,
    sources: Sequence[ImageSource | Texts],
    out: str,
    how: Encoding,
    ranks: Ranks = ALONE,
    advance: Callable[[int], None] = lambda _: None,
) -> Encoded:
    """Embed what is not yet embedded under `out`; `advance(n)` is called as n more rows are done, or found done.

    Raises InputError for a source that cannot be read, MismatchError when `out` was made from something else,
    OutputError when another process is at work there.
    """
    parts = list(_parts(sources, how.part_rows))
    facts = _facts(encoder, sources, how)
    with _alone(out, ranks):
        _claim(out, facts, ranks)
        for part in parts[ranks.rank :: ranks.size]:
            if not exists(part_url(out, PARTS, part.number, "json")):
                _encode_part(encoder, part, out, how)
            advance(len(part.places))
        return _finish(out, facts, encoder.opened, len(parts))


def num_rows(sources: Sequence[ImageSource | Texts], how: Encoding, ranks: Ranks) -> int:
    """Return how many rows are a rank's."""
    return sum(len(part.places) for part in list(_parts(sources, how.part_rows))[ranks.rank :: ranks.size])


def _parts(sources: Sequence[ImageSource | Texts], part_rows: int) -> Iterator[_Part]:
    number = 0
    for source in sources:
        for start in range(0, len(source), part_rows):
            yield _Part(number, source, range(start, min(start + part_rows, len(source))))
            number += 1


def _alone(out: str, ranks: Ranks) -> AbstractContextManager[None]:
    """Return what keeps another command out of the folder; the ranks of one command share it."""
    return locked(out, "wit encode") if ranks.is_first else nullcontext()


def _facts(encoder: Encoder, sources: Sequence[ImageSource | Texts], how: Encoding) -> dict[str, Any]:
    """Return what every byte of the folder follows from, but for rounding that hangs on the device and batch size."""
    return {
        "model": {"fingerprint": encoder.fingerprint, "embed_dim": encoder.dim, "image_px": encoder.side_px},
        "precision": encoder.precision,
        "numbers": how.numbers,
        "format": how.format,
        "part_rows": how.part_rows,
        "captions": how.captions,
        "inputs": [{"hash": source.hash, "num_rows": len(source)} for source in sources],
    }


def _claim(out: str, facts: dict[str, Any], ranks: Ranks) -> None:
    """Write what a folder is made from into it; raises MismatchError when it is made from something else."""
    url = join(out, MADE_FROM)
    if not exists(url) and not {LOCK, CACHE, MADE_FROM}.issuperset(list_names(out)) and not exists(url):
        raise MismatchError(
            f"{out}: expected a new folder or one of wit encode, found other files; choose another --out"
        )
    if exists(url):
        remedy = "encode what it was made from, or choose another --out"
        manifest.require_same(out, manifest.read(url), facts, remedy)
    else:
        manifest.write(url, facts)
    if ranks.size == 1:  # several ranks would take one another's
        remove_temporaries(out)


def _encode_part(encoder: Encoder, part: _Part, out: str, how: Encoding) -> None:
    """Write the tables of a part, and then how many rows each has."""
    texts = part.source
    counts = {IMAGES: 0, TEXTS: 0, REJECTS: 0}
    if isinstance(texts, Texts):
        keys = [texts.key(place) for place in part.places]
        counts[TEXTS] = _write_texts(
            encoder, part.number, keys, [texts.lines[place] for place in part.places], out, how
        )
    else:
        images = _encode_images(encoder, texts, part.places, how)
        if images.rows:
            write_embedded(out, IMAGES, part.number, images.table(), images.vectors(how), how.format)
        if images.rejects:
            write_rejects(out, part.number, images.rejects)
        counts |= {IMAGES: len(images.rows), REJECTS: len(images.rejects)}
        if how.captions and images.captions:
            keys, captions = [key for key, _ in images.captions], [text for _, text in images.captions]
            counts[TEXTS] = _write_texts(encoder, part.number, keys, captions, out, how)
    manifest.write(part_url(out, PARTS, part.number, "json"), counts)


def _write_texts(encoder: Encoder, number: int, keys: list[str], texts: list[str], out: str, how: Encoding) -> int:
    vectors = encoder.texts(texts, how.batch_size).astype(NUMBERS[how.numbers][0])
    table = pa.table({"key": keys, "text": texts}, schema=EMBEDDED_TEXTS)
    write_embedded(out, TEXTS, number, table, vectors, how.format)
    return len(texts)


@dataclass(frozen=True)
class _Images:
    """What came of the images of a part."""

    rows: list[dict[str, Any]]
    batches: list[Vectors]
    rejects: list[dict[str, str]]
    captions: list[tuple[str, str]]
    """Key and caption of every sample that could be read, whether its image could be decoded or not."""

    def table(self) -> pa.Table:
        return pa.Table.from_pylist(self.rows, schema=EMBEDDED_IMAGES)

    def vectors(self, how: Encoding) -> Vectors:
        return np.concatenate(self.batches).astype(NUMBERS[how.numbers][0])


def _encode_images(encoder: Encoder, source: ImageSource, places: range, how: Encoding) -> _Images:
    captions: dict[int, str | None] = {}  # noted by the threads that read

    def read(place: int) -> bytes:
        body, captions[place] = source.read(place)
        return body

    images = _Images([], [], [], [])
    how_decoded = Decoding(encoder.side_px, how.batch_size, how.num_threads, pin=encoder.device.type == "cuda")
    for batch in decode_batches(read, places, how_decoded):
        if batch.places:
            images.batches.append(encoder.images(batch.images))
        for place in batch.places:
            images.rows.append(source.row(place)._asdict() | {"caption": captions[place]})
        for one in batch.rejected:
            row = source.row(one.place)
            images.rejects.append({"key": row.key, "source": row.source, "reason": one.reason, "detail": one.detail})
    for place in places:
        if (caption := captions.get(place)) is not None:
            images.captions.append((source.row(place).key, caption))
    return images


def _finish(out: str, facts: dict[str, Any], opened: Opened, num_parts: int) -> Encoded:
    """Count what is there, and publish the manifest when it is all: the same bytes, whoever does it."""
    urls = [part_url(out, PARTS, number, "json") for number in range(num_parts)]
    counts = [manifest.read(url, IMAGES, TEXTS, REJECTS) for url in urls if exists(url)]
    sums = {table: sum(count[table] for count in counts) for table in (IMAGES, TEXTS, REJECTS)}
    is_whole = len(counts) == num_parts
    if is_whole and not sums[IMAGES] + sums[TEXTS]:
        raise InputError(f"{out}: expected an image that can be read, found none among {sums[REJECTS]}; see rejects")
    if is_whole:
        totals = {f"num_{table}": count for table, count in sums.items()}
        manifest.write(join(out, MANIFEST), facts | totals | {"opened": asdict(opened), PARTS: counts})
        remove(join(out, CACHE))
    return Encoded(sums[IMAGES], sums[TEXTS], sums[REJECTS], is_whole)

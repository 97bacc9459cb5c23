"""The middle of an audit: both sides hashed and searched, and the images that were found made into thumbnails."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.audit.asking import Asked, Audit
from pipelines.audit.methods import Method
from pipelines.audit.pictures import WANTED, ShowItems, ShowSamples, open_thumbs, with_words
from pipelines.audit.search import merge_found, search_inputs
from pipelines.audit.training import training_inputs
from pipelines.audit.work import Work, digest, stamps
from pipelines.executors.parts import part_name, parts_of, read_batches, write_rows
from pipelines.report.overlap.results import Thumbs
from pipelines.stages.tables import read_small
from wit.errors import InputError
from wit.evaluation_sets import Listing, Piece
from wit.schema import OVERLAPS, UNREADABLE
from wit.schema.evaluation import PICTURES, TRAINING_READ
from wit.shards import find_index
from wit.stage import KEPT
from wit.storage import base_name, join


@dataclass(frozen=True)
class Compared:
    """What the search found; the tables that may be large are named by their folders."""

    inputs: list[dict[str, Any]]
    """TRAINING_INPUTS"""
    references: pa.Table
    """Images of the sets as they are: set, item, label, and quality where the method knows of it."""
    unreadable: pa.Table
    """UNREADABLE of both sides."""
    read: pa.Table
    """TRAINING_READ"""
    found: pa.Table
    """FOUND, with the label of the item."""
    tables: dict[str, str]
    """Folder of the references of each set."""
    training: str
    """Folder of the prints, or vectors, of the samples."""
    samples: str
    """Folder of OVERLAPPING."""


def compare(work: Work, asked: Asked, thresholds: Mapping[str, float]) -> Compared:
    """Hash both sides and search; raises InputError for a set without an image that can be read."""
    hashed = [_hash_set(work, each, asked.audit) for each in asked.listings]
    tables = {name: f"{folder}/{KEPT}" for name, folder in zip(asked.names, hashed, strict=True)}
    references = pa.concat_tables([_upright(work, table, asked.audit.method.references) for table in tables.values()])
    unreadable = pa.concat_tables([read_small(work.root, f"{folder}/unreadable", UNREADABLE) for folder in hashed])
    for name in asked.names:
        _require_images(name, references, unreadable)
    inputs = training_inputs(list(asked.shards), asked.audit.trust)
    training = hash_shards(work, inputs, asked.audit.method)
    read = read_small(work.root, f"{training}/read", TRAINING_READ)
    require_samples(asked.audit.shards, read)
    prints = f"{training}/{KEPT}"
    parts = [join(prints, base_name(part)) for part in parts_of(work.root, prints)]
    search = asked.audit.method.search(tuple(tables.values()), thresholds)
    searched = work.table("found", search, list(search_inputs(parts, work.root)), "search")
    found = _labelled(merge_found(parts_of(work.root, f"{searched}/{KEPT}")), references)
    unreadable = pa.concat_tables([unreadable, read_small(work.root, f"{training}/unreadable", UNREADABLE)])
    return Compared(inputs, references, unreadable, read, found, tables, prints, f"{searched}/samples")


def hash_shards(work: Work, inputs: list[dict[str, Any]], method: Method) -> str:
    """Have the prints of shards, a task each; return the folder of the tables."""
    times = stamps(file for row in inputs for file in (row["url"], find_index(row["url"])))
    tasks = [[row] for row in inputs]
    return work.table("training", method.hash_training, tasks, "hash shards", times, *method.made_from)


def require_samples(path: str, read: pa.Table) -> None:
    """Raise InputError when shards had no image to compare; `read` as TRAINING_READ."""
    if not pc.sum(read["num_samples"], min_count=0).as_py():
        raise InputError(f"{path}: expected shards with images, found none that can be decoded")


def _hash_set(work: Work, listing: Listing, audit: Audit) -> str:
    """Hash the images of a set, a task a piece; return the folder of the tables."""
    files = chain.from_iterable(_files_of(piece) for piece in listing.pieces)
    tasks = [[piece.row()] for piece in listing.pieces]
    stage, known = audit.method.hash_items(audit.turns), audit.method.made_from
    return work.table("evaluation", stage, tasks, f"hash {listing.set.name}", stamps(files), *known)


def _files_of(piece: Piece) -> Iterator[str]:
    """Yield the files of which a piece is made."""
    yield from filter(None, (piece.url, piece.label_url))
    yield from (join(piece.url, member) for member in piece.members)


def _upright(work: Work, table: str, schema: pa.Schema) -> pa.Table:
    """Return set, item, label and quality of images as they are, in the set's order; without prints and vectors."""
    names = [name for name in ("set", "item", "label", "turn", "quality") if name in schema.names]
    some = pa.schema([schema.field(name) for name in names])
    batches = (batch for part in parts_of(work.root, table) for batch in read_batches(part, some))
    return pa.Table.from_batches((batch.filter(pc.equal(batch["turn"], 0)) for batch in batches), some)


def _require_images(name: str, references: pa.Table, unreadable: pa.Table) -> None:
    if pc.any(pc.equal(references["set"], name), min_count=0).as_py():
        return
    lost = unreadable.filter(pc.equal(unreadable["set"], name))
    cause = f", the first {lost['item'][0]} ({lost['detail'][0]})" if len(lost) else ""
    raise InputError(
        f"evaluation set {name!r}: expected images, found none that can be decoded: {len(lost):,} cannot{cause}; name "
        "the folder or file with its images"
    )


def _labelled(found: pa.Table, references: pa.Table) -> pa.Table:
    """Return FOUND with the column label."""
    ids, known = (pc.binary_join_element_wise(table["set"], table["item"], "\0") for table in (found, references))
    rows = pc.index_in(ids, value_set=known.combine_chunks()).combine_chunks()
    return found.append_column(OVERLAPS.field("label"), references["label"].combine_chunks().take(rows))


def illustrate(work: Work, asked: Asked, compared: Compared, shown: pa.Table) -> tuple[Thumbs, pa.Table]:
    """Make the thumbnails of what is `shown` (set, item, shard, key); return them and OVERLAPS of all that was found.

    Captions and URLs are those of samples that are shown.
    """
    items = want(work, "items", shown, "set", "item")
    samples = want(work, "samples", shown, "shard", "key")
    sets, shards = (set(shown[name].unique().to_pylist()) for name in ("set", "shard"))
    pieces = [[piece.row()] for each in asked.listings if each.set.name in sets for piece in each.pieces]
    rows = [[row] for row in compared.inputs if row["shard"] in shards]
    # The names of hashed tables change with the files that are shown.
    item_pictures = work.table("pictures", ShowItems(items), pieces, "show evaluation images", compared.tables)
    sample_pictures = work.table("pictures", ShowSamples(samples), rows, "show samples", compared.training)
    pictures = read_small(work.root, f"{sample_pictures}/{KEPT}", PICTURES)
    thumbs = open_thumbs(work.root, item_pictures, sample_pictures)
    return thumbs, with_words(compared.found, pictures).select(OVERLAPS.names).cast(OVERLAPS)


def want(work: Work, kind: str, shown: pa.Table, group: str, name: str) -> str:
    """Write the table of WANTED that names each image once; return its folder, which is named by its rows."""
    rows = shown.select([group, name]).rename_columns(WANTED.names).group_by(WANTED.names).aggregate([])
    rows = rows.select(WANTED.names).cast(WANTED).sort_by([(each, "ascending") for each in WANTED.names])
    folder = f"wanted/{kind}-{digest(rows.to_batches())}"
    if not parts_of(work.root, folder):
        write_rows(join(work.root, folder, part_name(0)), WANTED, rows.to_batches())
    return folder


def digest_of_images(parts: Iterable[str], column: pa.Field) -> str:
    """Return the SHA-256 (hex) over a column of all images in parts, in their order: of their content, or vectors."""
    found = hashlib.sha256()
    for part in parts:
        for batch in read_batches(part, pa.schema([column])):
            values = batch.column(0)
            found.update((values if pa.types.is_integer(values.type) else values.flatten()).to_numpy().tobytes())
    return found.hexdigest()

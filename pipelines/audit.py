"""The overlap audit: which images of an evaluation set do the training shards show?

The shards are judged by their own pixels, not by what a run wrote of them, so any WebDataset can be audited. Both
sides are hashed by the executor that runs recipes, so a dead worker is noticed and its shard redone.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.executors.local import LocalExecutor
from pipelines.executors.parts import part_name, parts_of, write_rows
from pipelines.report.overlap_report import Pair, render
from pipelines.sources.evaluation_sets import IMAGE_SUFFIXES, list_inputs, parse_all, read_images, tar_input
from pipelines.stages.overlap import HashReferences, ListEvaluationInputs
from wit.errors import InputError
from wit.hamming import matches_within
from wit.image import Limits, prepare
from wit.integrity import shards_of
from wit.progress import progress
from wit.schema import EVALUATION_INPUTS, OVERLAPS
from wit.shards import read_samples
from wit.stage import KEPT, Step
from wit.statistics import clopper_pearson
from wit.storage import TEMPORARY_PREFIX, base_name, join, publish_text, read_parquet, remove, write_parquet

MAX_SAMPLES_AN_ITEM = 10  # a black frame may match a million samples; the nearest ten show what it is
MAX_PAIRS_SHOWN = 200  # of a set in the report, about 8 kB each
CONFIDENCE = 0.995  # the paper's
EVALUATION, TRAINING = "evaluation", "training"
THUMBNAIL = Limits(side_px=160, quality=80)
_MEMORY_MB = 1024  # of the executor's SQL, which an audit has none of


@dataclass(frozen=True)
class Audit:
    """What to compare: training shards (folder or pattern of tars) with evaluation sets (each NAME=PATH)."""

    shards: str
    sets: tuple[str, ...]
    radius: int = 3


@dataclass(frozen=True)
class Contamination:
    """What the audit found of one evaluation set."""

    set: str
    num_items: int
    """Images of the set that could be read."""
    num_overlap: int
    """Those of them that some training sample shows."""
    num_unreadable: int

    @property
    def share(self) -> float:
        """Overlap / All, as the paper defines contamination; 0 for a set of which nothing could be read."""
        return self.num_overlap / self.num_items if self.num_items else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """The 99.5 % Clopper-Pearson interval of the share."""
        return clopper_pearson(self.num_overlap, self.num_items, CONFIDENCE)


def run_audit(audit: Audit, out: str, processes: int) -> list[Contamination]:
    """Compare, write `matches.parquet`, `unreadable.parquet` and `report.html` into `out`; return a line a set.

    A function of the files alone. Memory: the references (about 100 bytes an image), their ten nearest samples, and
    one shard's hashes. Raises UserError for sets or shards that are not there.
    """
    sets = parse_all(audit.sets)
    shards = shards_of(audit.shards)[0]
    inputs = [row for each in sets for row in list_inputs(each)]
    work = join(out, f"{TEMPORARY_PREFIX}audit")
    remove(work)
    executor = LocalExecutor(work, 1, processes, _MEMORY_MB)
    try:
        _hash_images(executor, EVALUATION, ListEvaluationInputs(audit.sets)(work))
        training = ({"set": TRAINING, **tar_input(shard)} for shard in shards)
        _hash_images(executor, TRAINING, (pa.Table.from_pylist([row], EVALUATION_INPUTS) for row in training))
        references = _read(work, EVALUATION, KEPT)
        matches = _match(work, references, audit.radius)
        unreadable, unread_samples = (_read(work, side, "unreadable") for side in (EVALUATION, TRAINING))
    finally:
        executor.close()
        remove(work)
    found = [_measure(each.name, references, matches, unreadable) for each in sets]
    write_parquet(join(out, "matches.parquet"), matches)
    write_parquet(join(out, "unreadable.parquet"), pa.concat_tables([unreadable, unread_samples]))
    pairs = {each.name: list(_pairs(each.name, matches, inputs, shards)) for each in sets}
    publish_text(join(out, "report.html"), render(audit.shards, audit.radius, found, pairs))
    return found


def _hash_images(executor: LocalExecutor, side: str, tasks: Iterable[pa.Table]) -> None:
    """Hash the images of each task, several at a time, into the table `side`."""
    source = f"{side}/inputs"
    for index, task in enumerate(tasks):
        write_rows(join(executor.root, source, part_name(index)), EVALUATION_INPUTS, task.to_batches())
    with progress(f"hash {side} images", len(parts_of(executor.root, source))) as advance:
        executor.map(Step(HashReferences(), {"inputs": source}, side), advance)


def _read(work: str, side: str, table: str) -> pa.Table:
    empty = HashReferences.writes[table].empty_table()
    return pa.concat_tables([empty, *(read_parquet(part) for part in parts_of(work, f"{side}/{table}"))])


def _match(work: str, references: pa.Table, radius: int) -> pa.Table:
    """Return OVERLAPS: for each evaluation image its nearest samples, by distance then key, ten at most."""
    hashes, items_of = _by_hash(references)
    nearest: dict[int, list[tuple[int, str, str]]] = defaultdict(list)
    for part in parts_of(work, f"{TRAINING}/{KEPT}"):
        samples = read_parquet(part)
        sample_hashes, samples_of = _by_hash(samples)
        for i, j, distance in zip(*matches_within(sample_hashes, hashes, radius), strict=True):
            members = samples["item"].take(pa.array(samples_of[i][:MAX_SAMPLES_AN_ITEM])).to_pylist()
            found = [(int(distance), *_sample(member)) for member in members]
            for item in items_of[j].tolist():
                nearest[item] = heapq.nsmallest(MAX_SAMPLES_AN_ITEM, [*nearest[item], *found])
    rows = [
        {**references.slice(item, 1).to_pylist()[0], "key": key, "shard": shard, "distance": distance}
        for item in sorted(nearest)
        for distance, key, shard in nearest[item]
    ]
    columns = [{name: row[name] for name in OVERLAPS.names} for row in rows]
    return pa.Table.from_pylist(columns, schema=OVERLAPS)


def _by_hash(table: pa.Table) -> tuple[Any, list[Any]]:
    """Return the distinct hashes of a table, and the rows that have each, in order."""
    values = table["phash"].to_numpy().view(np.uint64)
    order = np.argsort(values, kind="stable")
    distinct, starts = np.unique(values[order], return_index=True)
    return distinct, np.split(order, starts[1:])


def _sample(item: str) -> tuple[str, str]:
    """Return (key, shard) of an item of the training shards, "00000.tar/KEY.jpg"."""
    shard, _, member = item.partition("/")
    return _stem(member), shard


def _stem(member: str) -> str:
    folder, slash, base = member.rpartition("/")
    return f"{folder}{slash}{base.partition('.')[0]}"


def _measure(name: str, references: pa.Table, matches: pa.Table, unreadable: pa.Table) -> Contamination:
    def count(table: pa.Table) -> int:
        rows = table.filter(pc.equal(table["set"], name))
        return len(set(rows["item"].to_pylist()))

    found = Contamination(name, count(references), count(matches), count(unreadable))
    if not found.num_items and not found.num_unreadable:
        raise InputError(f"evaluation set {name!r}: expected images, found none in its tars")
    return found


def _pairs(name: str, matches: pa.Table, inputs: list[dict[str, str]], shards: list[str]) -> Iterator[Pair]:
    """Yield the matches of a set that the report shows, each item with its nearest sample, and their thumbnails."""
    mine = matches.filter(pc.equal(matches["set"], name)).to_pylist()
    first = {row["item"]: row for row in reversed(mine)}
    shown = sorted(first.values(), key=lambda row: (row["distance"], row["item"]))[:MAX_PAIRS_SHOWN]
    wanted = {(name, row["item"]) for row in shown}
    pictures = {item: _thumbnail(body) for _, item, body in read_images(_of(name, inputs), wanted)}
    samples = _samples(shards, {(row["shard"], row["key"]) for row in shown})
    for row in shown:
        picture, facts = samples[row["shard"], row["key"]]
        yield Pair(
            item=row["item"], key=row["key"], shard=row["shard"], distance=row["distance"],
            caption=str(facts.get("caption", "")), url=str(facts.get("url", "")),
            item_picture=pictures[row["item"]], sample_picture=picture,
        )  # fmt: skip


def _of(name: str, inputs: list[dict[str, str]]) -> list[dict[str, str]]:
    return [row for row in inputs if row["set"] == name]


def _samples(shards: list[str], wanted: set[tuple[str, str]]) -> dict[tuple[str, str], tuple[str, dict[str, Any]]]:
    """Return thumbnail and metadata of samples, by shard and key."""
    names = {shard for shard, _ in wanted}
    found = {}
    for shard in shards:
        if base_name(shard) not in names:
            continue
        for members in read_samples(shard):
            for name, body in members.values():
                place = base_name(shard), _stem(name)
                if place in wanted and name.lower().endswith(IMAGE_SUFFIXES):
                    found[place] = _thumbnail(body), _metadata(members)
    return found


def _metadata(members: dict[str, tuple[str, bytes]]) -> dict[str, Any]:
    """Return what a sample's JSON says, and its text as the caption; a foreign shard may have neither."""
    try:
        facts = orjson.loads(members["json"][1]) if "json" in members else {}
    except orjson.JSONDecodeError:
        facts = {}
    facts = facts if isinstance(facts, dict) else {}
    if "txt" in members:
        facts["caption"] = members["txt"][1].decode("utf-8", "replace")
    return facts


def _thumbnail(body: bytes) -> str:
    """Return a small picture as a data URI."""
    import base64

    stored = prepare(body, THUMBNAIL)
    return f"data:image/{stored.format};base64,{base64.b64encode(stored.body).decode()}"


def format_table(found: list[Contamination]) -> str:
    """Return a line a set, as a table of plain text."""
    lines = [("set", "images", "overlap", "share", "99.5 % interval", "unreadable")]
    for each in found:
        low, high = each.interval
        share, interval = f"{each.share:.2%}", f"{low:.2%} to {high:.2%}"
        lines.append(
            (each.set, f"{each.num_items:,}", f"{each.num_overlap:,}", share, interval, f"{each.num_unreadable:,}")
        )
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        )
        for line in lines
    )

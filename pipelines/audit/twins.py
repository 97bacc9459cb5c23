"""Near-duplicates between two training sets, or within one: the search, chunk against chunk.

A chunk is so many samples as memory allows. Equal prints count as one in it, so the pairs span what is near rather than
being all of it: every sample that has a near-duplicate is in a pair, pairs join all that is joined by near-duplicates,
and the distance of each pair is true.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.executors.parts import read_batches
from pipelines.stages.references import I64, Distinct, concat_matches, distinct, expand, is_first
from pipelines.stages.references import Matches as Edges
from wit.fingerprint import Prints
from wit.near import Rule, each_match, each_pair
from wit.schema import PRINTS
from wit.schema.evaluation import CHUNK_PAIRS, TWIN_ROWS
from wit.stage import KEPT, Output, Part
from wit.storage import join

CHUNK_ROWS = 2_000_000
"""Samples of a chunk: two chunks have 200 MB of prints, and a process 1.4 GB while it searches them."""
_PRINTS = pa.schema(PRINTS)


@dataclass(frozen=True)
class Chunk:
    """Some parts of the prints of a training set."""

    parts: tuple[str, ...]
    first_row: int
    """Number of its first sample among all that are compared."""


def chunks(parts: Sequence[tuple[str, int]], first_row: int, most: int = CHUNK_ROWS) -> list[Chunk]:
    """Return the chunks of parts (name, rows), each of at most so many rows, or of one part."""
    found: list[Chunk] = []
    names: list[str] = []
    num_rows = 0
    for name, rows in parts:
        if names and num_rows + rows > most:
            found.append(Chunk(tuple(names), first_row))
            first_row, names, num_rows = first_row + num_rows, [], 0
        names.append(name)
        num_rows += rows
    return [*found, Chunk(tuple(names), first_row)] if names else found


def pairs_of_chunks(ours: Sequence[Chunk], theirs: Sequence[Chunk] | None) -> Iterator[dict[str, Any]]:
    """Yield rows of CHUNK_PAIRS: every chunk with every one of the other set, or within one set (`theirs` None)."""
    for place, chunk in enumerate(ours):
        row = {"parts": chunk.parts, "first_row": chunk.first_row, "is_same_set": theirs is None}
        if theirs is None:
            yield {**row, "other_parts": (), "other_first_row": chunk.first_row}
        for other in ours[place + 1 :] if theirs is None else theirs:
            yield {**row, "other_parts": other.parts, "other_first_row": other.first_row}


@dataclass(frozen=True)
class CompareChunks:
    """Finds the pairs of two chunks, or within one."""

    rule: Rule

    name: ClassVar[str] = "audit"
    reads: ClassVar[pa.Schema] = CHUNK_PAIRS
    writes: ClassVar[Mapping[str, pa.Schema]] = {KEPT: TWIN_ROWS}

    def __call__(self, batches: Iterator[pa.RecordBatch], part: Part) -> Iterator[Output]:
        """Yield pairs by their rows' numbers."""
        for row in (row for batch in batches for row in batch.to_pylist()):
            ours = _read(part.root, row["parts"])
            if row["other_parts"]:
                edges = between(ours, _read(part.root, row["other_parts"]), self.rule, firsts=row["is_same_set"])
            else:
                found = [Edges(each.i, each.j, each.distance) for each in each_pair(ours, self.rule)]
                edges = concat_matches(found)
            order = np.lexsort((edges.reference, edges.sample))
            columns = (
                pa.array(edges.sample[order] + row["first_row"]),
                pa.array(edges.reference[order] + row["other_first_row"]),
                pa.array(edges.distance[order].astype(np.float64)),
            )
            for batch in pa.table(columns, schema=TWIN_ROWS).to_batches():
                yield KEPT, batch


def _read(root: str, parts: Sequence[str]) -> Prints:
    return Prints.concat([Prints.of(batch) for part in parts for batch in read_batches(join(root, part), _PRINTS)])


def between(ours: Prints, theirs: Prints, rule: Rule, *, firsts: bool) -> Edges:
    """Return pairs (row of ours, row of theirs) that span what is near between two chunks.

    Images that no hash tells apart are a group, known by its first image. The first images of groups that are near are
    a pair; and unless only `firsts` are asked for, each other image of a group is one with the first of the nearest.
    """
    left, right = _grouped(ours, rule), _grouped(theirs, rule)
    found = [Edges(each.i, each.j, each.distance) for each in each_match(left.prints, right.prints, rule)]
    groups = concat_matches(found)
    pairs = [
        Edges(left.order[left.starts[groups.sample]], right.order[right.starts[groups.reference]], groups.distance)
    ]
    if not firsts:
        pairs.append(_others(groups, left, right))
        turned = _others(Edges(groups.reference, groups.sample, groups.distance), right, left)
        pairs.append(Edges(turned.reference, turned.sample, turned.distance))
    return concat_matches(pairs)


def _grouped(prints: Prints, rule: Rule) -> Distinct:
    """Return groups of images: of equal hashes where these count, of equal content among those of low quality."""
    is_good = prints.quality >= rule.min_quality
    known = Prints(
        np.where(is_good, prints.phash, np.uint64(0)),
        np.where(is_good[:, None], prints.pdq, np.uint64(0)),
        is_good.astype(np.int32),
        np.where(is_good, np.int64(0), prints.content),
    )
    groups = distinct(known)
    return groups._replace(prints=prints.take(groups.order[groups.starts[:-1]]))


def _others(groups: Edges, ours: Distinct, theirs: Distinct) -> Edges:
    """Return a pair for each image but the first of our groups: with the first image of the nearest of theirs."""
    first = theirs.order[theirs.starts[groups.reference]]
    order = np.lexsort((first, groups.distance, groups.sample))
    order = order[is_first(groups.sample[order])]
    group, place = expand(ours.counts[groups.sample[order]] - 1)
    nearest: I64 = order[group]
    rows: npt.NDArray[np.int64] = ours.order[ours.starts[groups.sample[nearest]] + 1 + place]
    return Edges(rows, first[nearest], groups.distance[nearest])

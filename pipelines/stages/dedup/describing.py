"""The images of a run as entries, and what is known of their captions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.stages.dedup.entries import Cut, place_bits
from pipelines.stages.tables import count_rows, num_rows, part_names, read_small
from wit.digests import sha256_rows
from wit.errors import ContractError
from wit.fingerprint import Prints
from wit.near import Rule
from wit.ragged import ragged
from wit.schema import CAPTION_FACTS, ENTRIES, FINGERPRINTS, FIRST_NUMBERS, PACKED_SHARDS
from wit.stage import KEPT, Output, Part
from wit.storage import join, open_input

FINGERPRINTS_TABLE = "fingerprint/kept"
TURNED_TABLE = "fingerprint/turned"
PAIRS_TABLE = "balance/kept"
NUMBERS_TABLE = "dedup/numbers"
PACKED_SHARDS_TABLE = "dedup/packed_shards"
CAPTIONS = "captions"

_BATCH_ROWS = 16_384


@dataclass(frozen=True)
class NumberImages:
    """Counts the images before each part, and says into how many places prints are cut; only footers are read."""

    num_buckets: int
    with_turns: bool
    with_packed: bool

    name: ClassVar[str] = "number_images"
    writes: ClassVar[pa.Schema] = FIRST_NUMBERS

    def __call__(self, root: str) -> Iterator[pa.Table]:
        """Yield FIRST_NUMBERS: one table, whatever the number of parts."""
        counts = [num_rows(join(root, part)) for part in part_names(root, FINGERPRINTS_TABLE)]
        num_prints = sum(counts) + (count_rows(root, TURNED_TABLE) if self.with_turns else 0)
        if self.with_packed:
            num_packed = pc.sum(read_small(root, PACKED_SHARDS_TABLE, PACKED_SHARDS)["num_samples"]).as_py()
            num_prints = max(num_prints, num_packed)
        bits = place_bits(num_prints, self.num_buckets)
        firsts = np.cumsum([0, *counts])[:-1]
        columns = [pa.array(range(len(counts)), pa.int32()), pa.array(firsts), pa.repeat(pa.scalar(bits), len(counts))]
        yield pa.table([columns[0], columns[1], columns[2].cast(pa.int32())], schema=FIRST_NUMBERS)


def read_cut(root: str, rule: Rule) -> Cut:
    """Return how the prints of a run are cut into places."""
    bits = read_small(root, NUMBERS_TABLE, FIRST_NUMBERS)["place_bits"]
    return Cut(rule, bits[0].as_py() if len(bits) else 0)


@dataclass(frozen=True)
class DescribeImages:
    """Lists the entries of each image, and the length and digest of its caption where the rule asks for them.

    The parts of images, of turned images and of pairs are the same ranges of keys. Memory: the keys of a part.
    """

    rule: Rule
    with_turns: bool
    with_captions: bool

    name: ClassVar[str] = "describe_images"
    reads: ClassVar[pa.Schema] = FINGERPRINTS
    writes: ClassVar[Mapping[str, pa.Schema]] = {KEPT: ENTRIES, CAPTIONS: CAPTION_FACTS}

    def __call__(self, batches: Iterator[pa.RecordBatch], part: Part) -> Iterator[Output]:
        """Yield entries of images, then of turned images, then the facts of captions in the images' order."""
        cut = read_cut(part.root, self.rule)
        first = read_small(part.root, NUMBERS_TABLE, FIRST_NUMBERS)["first"][part.index].as_py()
        all_keys = [pa.array([], pa.string())]
        number = first
        for batch in batches:
            keys, prints = batch.column("key"), Prints.of(batch)
            numbers = np.arange(number, number + batch.num_rows, dtype=np.int64)
            yield KEPT, cut.prints(numbers, keys, prints)
            yield KEPT, cut.contents(numbers, keys, prints)
            all_keys.append(keys)
            number += batch.num_rows
        keys = pa.concat_arrays(all_keys)
        if self.with_turns:
            yield from self._turned(part, cut, keys, first)
        if self.with_captions:
            yield CAPTIONS, _captions(part, keys)

    def _turned(self, part: Part, cut: Cut, keys: pa.Array, first: int) -> Iterator[Output]:
        for batch in _read_part(part.root, TURNED_TABLE, part.index, None):
            rows = pc.index_in(batch.column("key"), keys)
            if rows.null_count:
                missing = batch.column("key").filter(rows.is_null())[0].as_py()
                raise ContractError(f"{TURNED_TABLE}: expected turns of images in its part, found those of {missing}")
            numbers = rows.to_numpy().astype(np.int64) + first
            turns = batch.column("turn").to_numpy().astype(np.int64)
            yield KEPT, cut.prints(numbers, batch.column("key"), Prints.of(batch), turns)


def _captions(part: Part, keys: pa.Array) -> pa.RecordBatch:
    """Return CAPTION_FACTS of images; raises ContractError when a pair is missing."""
    from wit.tokens import normal_form_array

    lengths, digests = np.full(len(keys), -1, np.int64), np.zeros(len(keys), np.int64)
    for batch in _read_part(part.root, PAIRS_TABLE, part.index, ["key", "caption"]):
        place = pc.index_in(batch.column("key"), keys)
        mine = place.is_valid()
        rows = place.filter(mine).to_numpy()
        normal = normal_form_array(batch.column("caption").filter(mine))
        lengths[rows] = pc.utf8_length(normal).to_numpy()
        digests[rows] = _first_words(sha256_rows(ragged(normal)))
    if bool(np.any(lengths < 0)):
        missing = keys[int(np.argmax(lengths < 0))].as_py()
        raise ContractError(f"{PAIRS_TABLE}: expected the pair of each image in its part, found none for {missing}")
    return pa.RecordBatch.from_arrays([pa.array(lengths), pa.array(digests)], schema=CAPTION_FACTS)


def _first_words(digests: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    return np.ascontiguousarray(digests[:, :8]).view(">i8")[:, 0].astype(np.int64)


def _read_part(root: str, table: str, index: int, columns: list[str] | None) -> Iterator[pa.RecordBatch]:
    """Yield the rows of one part of a table."""
    with open_input(join(root, part_names(root, table)[index])) as file:
        yield from pq.ParquetFile(file).iter_batches(_BATCH_ROWS, columns=columns)

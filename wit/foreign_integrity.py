"""Whether a tar that somebody else made is what its index says: where samples lie, images, captions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc

from wit import tar
from wit.foreign import ForeignSample, caption_in, read_tar
from wit.image_checks import check_image
from wit.storage import base_name, open_input


def check_foreign(shard: str, index: pa.Table) -> Iterator[str]:
    """Yield what differs between a tar and its index (FOREIGN_INDEX); raises InputError where the tar is broken."""
    if pc.count_distinct(index["key"]).as_py() < len(index):
        yield "its index has a key twice"
    rows = (row for batch in index.to_batches(max_chunksize=1_000) for row in batch.to_pylist())
    expected = next(rows, None)
    with open_input(shard) as file:
        for sample in read_tar(file, shard):
            if expected is None or expected["sample_offset"] != sample.start:
                if sample.indexed_image():
                    yield f"sample {sample.stem!r} at byte {sample.start} is not in the index"
                    return  # most likely all that follows is shifted
                continue
            problems = _check_sample(file, shard, sample, expected)
            yield from (f"{expected['key']!r}: {problem}" for problem in problems)
            expected = next(rows, None)
    if expected is not None:
        yield f"{expected['key']!r}: expected its members at byte {expected['sample_offset']}, found none"


def _check_sample(file: IO[bytes], shard: str, sample: ForeignSample, row: Mapping[str, Any]) -> Iterator[str]:
    if row["shard"] != base_name(shard):
        yield f"its index row names another shard, {row['shard']!r}"
    if sample.stop - sample.start != row["sample_length"]:
        yield f"the index says {row['sample_length']} bytes, its members take {sample.stop - sample.start}"
    by_offset = {member.offset: member for member in sample.members}
    image = by_offset.get(row["image_offset"])
    if image is None or (image.name, image.length) != (row["image_member"], row["image_length"]):
        yield f"no member {row['image_member']!r} of {row['image_length']} bytes at {row['image_offset']}"
    else:
        yield from check_image(row, tar.read_member(file, image, shard))
    yield from _check_caption(file, shard, by_offset, row)


def _check_caption(
    file: IO[bytes], shard: str, by_offset: Mapping[int, tar.Member], row: Mapping[str, Any]
) -> Iterator[str]:
    for part in ("text", "json"):
        member = by_offset.get(row[f"{part}_offset"])
        if row[f"{part}_offset"] and (member is None or member.length != row[f"{part}_length"]):
            yield f"no member of {row[f'{part}_length']} bytes at {row[f'{part}_offset']} for its {part}"
            return
    text = by_offset.get(row["text_offset"])
    data = tar.read_member(file, text, shard) if text else b""
    is_json = row["text_offset"] and row["text_offset"] == row["json_offset"]
    if (caption_in(data) if is_json else data.decode("utf-8", "replace")) != row["caption"]:
        yield "the caption is not that of the index"

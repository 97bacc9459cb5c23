"""From links as a source writes them to candidates: addresses resolved and judged, captions folded, keys, ranks.

pipelines.sources.links says what becomes of a link; here whole columns are worked through, and only what is odd goes
there row by row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.sources.links import (
    INVISIBLE,
    MAX_CAPTION_BYTES,
    MAX_SHOWN_CHARACTERS,
    MAX_SHOWN_OF_DATA,
    MAX_URL_CHARACTERS,
    fold_space,
    image_address,
    valid_text,
    why_not_fetchable,
)
from pipelines.sources.source import Fault, Links
from wit.keys import key_buckets, sample_keys, uniform_ranks
from wit.ragged import U8, Ragged, frozen, ragged
from wit.schema import CANDIDATES, REJECTS

EMPTY_CAPTION, BAD_URL, HUGE_CAPTION = "empty_caption", "bad_url", "huge_caption"
_LAST_SPACE = 0x3000  # U+3000, the last character that str.split takes for white space


@dataclass(frozen=True)
class Settings:
    """What a row is given besides what the link says."""

    num_buckets: int
    salt: str
    stage: str = "extract"


class _Rows(NamedTuple):
    """Columns that rejects are made of."""

    key: Any
    url: Any
    caption: Any
    reason: Any
    detail: Any

    def take(self, rows: npt.NDArray[np.int64]) -> _Rows:
        return _Rows(*(column.take(pa.array(rows)) for column in self))


def occurrences(links: Links, archive: str, settings: Settings) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """Return candidates and rejects of a source's links, each in their order; `archive` is the file's name.

    The captions of one `links` hold less than 2 GiB, as any column of a table between stages does.
    """
    urls, wrong = _addresses(links)
    captions = _captions(links)
    keys = sample_keys(urls, captions)
    num_bytes = np.diff(ragged(captions).offsets)
    blank, huge = num_bytes == 0, num_bytes > MAX_CAPTION_BYTES
    is_good = wrong.is_null().to_numpy(zero_copy_only=False)
    is_kept = is_good & ~blank & ~huge
    kept, rest = np.flatnonzero(is_kept), np.flatnonzero(~is_kept)
    names = pa.array(list(links.attributes), pa.string()).take(pa.array(links.attribute))
    kept_keys = keys.take(pa.array(kept))
    found = {
        "key": kept_keys,
        "bucket": pa.array(key_buckets(kept_keys, settings.num_buckets)),
        "rank": pa.array(uniform_ranks(settings.salt, kept_keys)),
        "url": urls.take(pa.array(kept)),
        "caption": captions.take(pa.array(kept)),
        "page_url": _pages(links).take(pa.array(kept)),
        "archive": pa.repeat(archive, len(kept)),
        "offset": pa.array(links.offset[kept]),
        "attribute": names.take(pa.array(kept)),
        "num_occurrences": pa.repeat(pa.scalar(1, pa.int64()), len(kept)),
    }
    has_bad_text = pa.array(blank | (is_good & huge))
    texts = pc.if_else(pa.array(blank), EMPTY_CAPTION, HUGE_CAPTION)
    reasons = pc.if_else(has_bad_text, texts, BAD_URL)
    details = pc.if_else(has_bad_text, names, wrong)
    rejects = _Rows(keys, urls, captions, reasons, details).take(rest)
    return _batch(found, CANDIDATES), _rejects(rejects, settings)


def fault_rows(faults: Sequence[Fault], archive: str, settings: Settings) -> pa.RecordBatch:
    """Return the rejects of records, each named ARCHIVE#OFFSET, or of the rest of an archive, named ARCHIVE."""
    names = [archive if fault.offset is None else f"{archive}#{fault.offset}" for fault in faults]
    where, captions = pa.array(names, pa.large_string()), pa.array([""] * len(names), pa.large_string())
    reasons = pa.array([fault.reason for fault in faults], pa.string())
    details = pa.array([valid_text(fault.detail) for fault in faults], pa.string())
    return _rejects(_Rows(sample_keys(where, captions), where, captions, reasons, details), settings)


def _rejects(rows: _Rows, settings: Settings) -> pa.RecordBatch:
    shown = pc.utf8_slice_codeunits(rows.url, 0, MAX_SHOWN_CHARACTERS)
    data = pc.utf8_slice_codeunits(rows.url, 0, MAX_SHOWN_OF_DATA)
    columns = {
        "key": rows.key,
        "bucket": pa.array(key_buckets(rows.key, settings.num_buckets)),
        "stage": pa.repeat(settings.stage, len(rows.key)),
        "reason": rows.reason,
        "detail": rows.detail,
        "url": pc.if_else(pc.starts_with(rows.url, "data:", ignore_case=True), data, shown),
        "caption": pc.utf8_slice_codeunits(rows.caption, 0, MAX_SHOWN_CHARACTERS),
    }
    return _batch(columns, REJECTS)


def _batch(columns: dict[str, Any], schema: pa.Schema) -> pa.RecordBatch:
    arrays = [columns[field.name].cast(field.type) for field in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _pages(links: Links) -> pa.LargeStringArray:
    """Return each row's page; null where the source does not say, or says what is too long for an address."""
    lengths = pc.utf8_length(links.page_url)
    is_known = pc.and_(pc.greater(lengths, 0), pc.less_equal(lengths, MAX_URL_CHARACTERS))
    known = pc.if_else(is_known, links.page_url, pa.scalar(None, pa.large_string()))
    return known.take(pa.array(links.page, mask=links.page < 0))


def _captions(links: Links) -> pa.LargeStringArray:
    from pipelines.sources.occurrence_kernels import fold_spaces

    source = _decoded(links.text, links.text_has_references)
    out = np.empty(source.num_bytes, np.uint8)  # nothing grows: a gap has a byte at least
    ends = np.empty(len(links) + 1, np.int64)
    fold_spaces(*source, _kinds(), out, ends)
    return Ragged(frozen(out[: ends[-1]]), frozen(ends)).strings()


@lru_cache(maxsize=1)
def _kinds() -> U8:
    """Return what fold_space makes of each code point of the first plane."""
    from pipelines.sources.occurrence_kernels import COPIED, DROPPED, NUM_CODE_POINTS, SPACED

    kinds = np.full(NUM_CODE_POINTS, COPIED, np.uint8)
    for code in (*range(_LAST_SPACE + 1), *map(ord, INVISIBLE)):
        folded = fold_space(f"a{chr(code)}b")
        kinds[code] = SPACED if folded == "a b" else DROPPED if folded == "ab" else COPIED
    return frozen(kinds)


def _addresses(links: Links) -> tuple[pa.LargeStringArray, pa.StringArray]:
    """Return each row's address, absolute where it can be, and what is wrong with it; null: nothing."""
    from pipelines.sources.occurrence_kernels import IS_DATA, ODD

    source = _decoded(links.url, links.url_has_references)
    resolved, verdicts = _resolved(source, links)
    written = source.strings()
    odd = np.flatnonzero(verdicts == ODD)
    slow: list[str] = []
    details: list[str | None] = [None, "scheme 'data'"]
    codes = (verdicts == IS_DATA).astype(np.int32)
    for row, page in zip(odd.tolist(), links.page[odd].tolist(), strict=True):
        slow.append(image_address(written[row].as_py(), links.base[page].as_py() if page >= 0 else ""))
        codes[row] = len(details)
        details.append(why_not_fetchable(slow[-1]))
    urls = pc.replace_with_mask(resolved.strings(), pa.array(verdicts == ODD), pa.array(slow, pa.large_string()))
    return urls, pa.array(details, pa.string()).take(pa.array(codes))


def _resolved(source: Ragged, links: Links) -> tuple[Ragged, U8]:
    """Return addresses made absolute, empty for odd ones, and a verdict on each."""
    from pipelines.sources.occurrence_kernels import BASE_COLUMNS, measure_bases, resolve_addresses

    base = ragged(links.base)
    assert len(links) == 0 or -1 <= links.page.min() <= links.page.max() < len(links.base)
    bases = np.zeros((len(links.base) + 1, BASE_COLUMNS), np.int64)
    measure_bases(*base, MAX_URL_CHARACTERS, bases)
    # What is written of a row is its address, before it at most a part of its base that a kernel has measured, and "/".
    lengths = np.append(np.minimum(np.diff(base.offsets), MAX_URL_CHARACTERS), 0)  # the last: page -1
    size = source.num_bytes + int(lengths[links.page].sum()) + len(links)
    out, ends = np.empty(size, np.uint8), np.empty(len(links) + 1, np.int64)
    verdicts = np.empty(len(links), np.uint8)
    page = frozen(links.page)
    resolve_addresses(*source, page, base.text, frozen(bases), MAX_URL_CHARACTERS, out, ends, verdicts)
    return Ragged(frozen(out[: ends[-1]]), frozen(ends)), verdicts


def _decoded(strings: pa.LargeStringArray, has_references: bool) -> Ragged:
    from pipelines.sources.references import unescape_attributes

    texts = ragged(strings)
    return unescape_attributes(texts) if has_references else texts

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
from wit.schema import CANDIDATES, REJECTS

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

EMPTY_CAPTION, BAD_URL = "empty_caption", "bad_url"
_LAST_SPACE = 0x3000  # U+3000, the last character that str.split takes for white space


@dataclass(frozen=True)
class Settings:
    """What a row is given besides what the link says."""

    num_buckets: int
    salt: str
    stage: str = "extract"


class _Ragged(NamedTuple):
    """Texts: row i is text[offsets[i]:offsets[i+1]]."""

    text: U8
    offsets: I64

    def strings(self) -> pa.LargeStringArray:
        return pa.LargeStringArray.from_buffers(
            len(self.offsets) - 1, pa.py_buffer(self.offsets), pa.py_buffer(self.text)
        )


def occurrences(links: Links, archive: str, settings: Settings) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """Return candidates and rejects of a source's links, each in their order; `archive` is the file's name.

    The captions of one `links` hold less than 2 GiB, as any column of a table between stages does.
    """
    urls, wrong = _addresses(links)
    captions = _captions(links)
    keys = sample_keys(urls, captions)
    blank = np.diff(_ragged(captions).offsets) == 0
    is_kept = wrong.is_null().to_numpy(zero_copy_only=False) & ~blank
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
    reasons = pc.if_else(pa.array(blank), EMPTY_CAPTION, BAD_URL)
    details = pc.if_else(pa.array(blank), names, wrong)
    columns = (keys, urls, captions, reasons, details)
    return _batch(found, CANDIDATES), _rejects(*(column.take(pa.array(rest)) for column in columns), settings)


def fault_rows(faults: Sequence[Fault], archive: str, settings: Settings) -> pa.RecordBatch:
    """Return the rejects of records, each named ARCHIVE#OFFSET, or of the rest of an archive, named ARCHIVE."""
    names = [archive if fault.offset is None else f"{archive}#{fault.offset}" for fault in faults]
    where, captions = pa.array(names, pa.large_string()), pa.array([""] * len(names), pa.large_string())
    reasons = pa.array([fault.reason for fault in faults], pa.string())
    details = pa.array([valid_text(fault.detail) for fault in faults], pa.string())
    return _rejects(sample_keys(where, captions), where, captions, reasons, details, settings)


def _rejects(keys: Any, urls: Any, captions: Any, reasons: Any, details: Any, settings: Settings) -> pa.RecordBatch:
    shown = pc.utf8_slice_codeunits(urls, 0, MAX_SHOWN_CHARACTERS)
    data = pc.utf8_slice_codeunits(urls, 0, MAX_SHOWN_OF_DATA)
    columns = {
        "key": keys,
        "bucket": pa.array(key_buckets(keys, settings.num_buckets)),
        "stage": pa.repeat(settings.stage, len(keys)),
        "reason": reasons,
        "detail": details,
        "url": pc.if_else(pc.starts_with(urls, "data:", ignore_case=True), data, shown),
        "caption": pc.utf8_slice_codeunits(captions, 0, MAX_SHOWN_CHARACTERS),
    }
    return _batch(columns, REJECTS)


def _batch(columns: dict[str, Any], schema: pa.Schema) -> pa.RecordBatch:
    arrays = [columns[field.name].cast(field.type) for field in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _pages(links: Links) -> pa.LargeStringArray:
    """Return each row's page; null where the source does not say."""
    known = pc.if_else(pc.equal(links.page_url, ""), pa.scalar(None, pa.large_string()), links.page_url)
    return known.take(pa.array(links.page, mask=links.page < 0))


def _captions(links: Links) -> pa.LargeStringArray:
    from pipelines.sources.occurrence_kernels import fold_spaces

    source = _decoded(links.text, links.text_has_references)
    out = np.empty(source.offsets[-1] - source.offsets[0], np.uint8)  # nothing grows: a gap has a byte at least
    ends = np.empty_like(source.offsets)
    fold_spaces(frozen(source.text), frozen(source.offsets), _kinds(), out, ends)
    return _Ragged(out[: ends[-1]], ends).strings()


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
    places = np.arange(len(links), dtype=np.int64)
    places[odd] = len(links) + np.arange(len(odd))
    slow: list[str] = []
    details: list[str | None] = [None, "scheme 'data'"]
    codes = (verdicts == IS_DATA).astype(np.int32)
    for row, page in zip(odd.tolist(), links.page[odd].tolist(), strict=True):
        slow.append(image_address(written[row].as_py(), links.base[page].as_py() if page >= 0 else ""))
        codes[row] = len(details)
        details.append(why_not_fetchable(slow[-1]))
    urls = pa.concat_arrays([resolved.strings(), pa.array(slow, pa.large_string())]).take(pa.array(places))
    return urls, pa.array(details, pa.string()).take(pa.array(codes))


def _resolved(source: _Ragged, links: Links) -> tuple[_Ragged, U8]:
    """Return addresses made absolute, empty for odd ones, and a verdict on each."""
    from pipelines.sources.occurrence_kernels import BASE_COLUMNS, measure_bases, resolve_addresses

    base = _ragged(links.base)
    schemes = np.frombuffer(b"httpsdata", np.uint8)
    bases = np.zeros((len(links.base), BASE_COLUMNS), np.int64)
    measure_bases(frozen(base.text), frozen(base.offsets), MAX_URL_CHARACTERS, schemes, bases)
    # What is written of a row is its address, before it at most a part of its base that a kernel has measured, and "/".
    lengths = np.append(np.minimum(np.diff(base.offsets), MAX_URL_CHARACTERS), 0)  # the last: page -1
    size = int(source.offsets[-1] - source.offsets[0] + lengths[links.page].sum() + len(links))
    out, ends = np.empty(size, np.uint8), np.empty_like(source.offsets)
    verdicts = np.empty(len(links), np.uint8)
    inputs = (source.text, source.offsets, links.page, base.text, base.offsets, bases)
    resolve_addresses(*map(frozen, inputs), MAX_URL_CHARACTERS, schemes, out, ends, verdicts)
    return _Ragged(out[: ends[-1]], ends), verdicts


def _decoded(strings: pa.LargeStringArray, has_references: bool) -> _Ragged:
    from pipelines.sources.references import unescape_attributes

    ragged = _ragged(strings)
    return _Ragged(*unescape_attributes(*ragged)) if has_references else ragged


def _ragged(strings: pa.LargeStringArray) -> _Ragged:
    assert pa.types.is_large_string(strings.type)
    assert strings.null_count == 0
    _, offsets, text = strings.buffers()
    if not len(strings):
        return _Ragged(np.empty(0, np.uint8), np.zeros(1, np.int64))
    ends = np.frombuffer(offsets, np.int64)[strings.offset : strings.offset + len(strings) + 1]
    return _Ragged(np.frombuffer(text or b"", np.uint8), ends)


def frozen(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a read-only view: a kernel is compiled once for such arrays and once for others."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view

"""From links as a source writes them to candidates: addresses resolved and judged, captions folded, keys, ranks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipelines.sources.links import (
    MAX_SHOWN_CHARACTERS,
    fold_space,
    resolve,
    shown_url,
    unescape_attribute,
    valid_text,
    why_not_fetchable,
)
from pipelines.sources.source import Fault, Links
from wit.keys import key_bucket, sample_key, uniform_rank
from wit.schema import CANDIDATES, REJECTS

EMPTY_CAPTION, BAD_URL = "empty_caption", "bad_url"


@dataclass(frozen=True)
class Settings:
    """What a row is given besides what the link says."""

    num_buckets: int
    salt: str
    stage: str = "extract"


def occurrences(links: Links, archive: str, settings: Settings) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """Return candidates and rejects of a source's links, each in their order; `archive` is the file's name."""
    rows: list[dict[str, Any]] = []
    rejects: list[dict[str, Any]] = []
    for row in range(len(links)):
        url, caption, wrong = _judged(links, row)
        attribute = links.attributes[links.attribute[row]]
        if not caption or wrong:
            reason, detail = (BAD_URL, wrong) if caption else (EMPTY_CAPTION, attribute)
            rejects.append(_reject(url, caption, reason, detail, settings))
            continue
        key = sample_key(url, caption)
        page = int(links.page[row])
        rows.append(
            {
                "key": key,
                "bucket": key_bucket(key, settings.num_buckets),
                "rank": uniform_rank(settings.salt, key),
                "url": url,
                "caption": caption,
                "page_url": (links.page_url[page].as_py() or None) if page >= 0 else None,
                "archive": archive,
                "offset": int(links.offset[row]),
                "attribute": attribute,
                "num_occurrences": 1,
            }
        )
    return (
        pa.RecordBatch.from_pylist(rows, schema=CANDIDATES),
        pa.RecordBatch.from_pylist(rejects, schema=REJECTS),
    )


def fault_rows(faults: Sequence[Fault], archive: str, settings: Settings) -> pa.RecordBatch:
    """Return the rejects of records, each named ARCHIVE#OFFSET, or of the rest of an archive, named ARCHIVE."""
    rows = [
        _reject(
            archive if fault.offset is None else f"{archive}#{fault.offset}",
            "",
            fault.reason,
            valid_text(fault.detail),
            settings,
        )
        for fault in faults
    ]
    return pa.RecordBatch.from_pylist(rows, schema=REJECTS)


def _judged(links: Links, row: int) -> tuple[str, str, str | None]:
    """Return URL and caption of a row, and what is wrong with the URL."""
    url, text, page = links.url[row].as_py(), links.text[row].as_py(), int(links.page[row])
    base = links.base[page].as_py() if page >= 0 else ""
    url = resolve(unescape_attribute(url) if links.url_has_references else url, base)
    caption = fold_space(unescape_attribute(text) if links.text_has_references else text)
    return url, caption, why_not_fetchable(url)


def _reject(url: str, caption: str, reason: str, detail: str | None, settings: Settings) -> dict[str, Any]:
    key = sample_key(url, caption)
    return {
        "key": key,
        "bucket": key_bucket(key, settings.num_buckets),
        "stage": settings.stage,
        "reason": reason,
        "detail": detail,
        "url": shown_url(url),
        "caption": caption[:MAX_SHOWN_CHARACTERS],
    }

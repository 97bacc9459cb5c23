"""What `occurrences` must give, row by row through the definitions of pipelines.sources.links and wit.keys."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from pipelines.sources.links import (
    MAX_CAPTION_BYTES,
    MAX_SHOWN_CHARACTERS,
    MAX_URL_CHARACTERS,
    fold_space,
    image_address,
    shown_url,
    unescape_attribute,
    why_not_fetchable,
)
from pipelines.sources.occurrences import Settings
from pipelines.sources.source import Links
from wit.keys import key_bucket, sample_key, uniform_rank
from wit.schema import CANDIDATES, REJECTS


def slow_occurrences(links: Links, archive: str, settings: Settings) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """Return candidates and rejects of a source's links, each in their order."""
    found: list[dict[str, Any]] = []
    rejects: list[dict[str, Any]] = []
    for row in range(len(links)):
        page, attribute = int(links.page[row]), links.attributes[links.attribute[row]]
        url, caption = _url(links, row, page), _caption(links, row)
        wrong = why_not_fetchable(url)
        key = sample_key(url, caption)
        common = {"key": key, "bucket": key_bucket(key, settings.num_buckets)}
        if not caption:
            rejects.append({**common, **_reason("empty_caption", attribute, url, caption, settings)})
        elif wrong:
            rejects.append({**common, **_reason("bad_url", wrong, url, caption, settings)})
        elif len(caption.encode()) > MAX_CAPTION_BYTES:
            rejects.append({**common, **_reason("huge_caption", attribute, url, caption, settings)})
        else:
            page_url = links.page_url[page].as_py() if page >= 0 else ""
            page_url = page_url if len(page_url) <= MAX_URL_CHARACTERS else ""
            found.append(
                {**common, "rank": uniform_rank(settings.salt, key), "url": url, "caption": caption}
                | {"page_url": page_url or None, "archive": archive, "offset": int(links.offset[row])}
                | {"attribute": attribute, "num_occurrences": 1}
            )
    return pa.RecordBatch.from_pylist(found, CANDIDATES), pa.RecordBatch.from_pylist(rejects, REJECTS)


def _url(links: Links, row: int, page: int) -> str:
    url = links.url[row].as_py()
    base = links.base[page].as_py() if page >= 0 else ""
    return image_address(unescape_attribute(url) if links.url_has_references else url, base)


def _caption(links: Links, row: int) -> str:
    text = links.text[row].as_py()
    return fold_space(unescape_attribute(text) if links.text_has_references else text)


def _reason(reason: str, detail: str, url: str, caption: str, settings: Settings) -> dict[str, str]:
    shown = {"url": shown_url(url), "caption": caption[:MAX_SHOWN_CHARACTERS]}
    return {"stage": settings.stage, "reason": reason, "detail": detail} | shown

"""The pages of an audit: the report, and every matched pair side by side."""

from __future__ import annotations

import pyarrow as pa

from pipelines.report.overlap.results import AuditResult, Comparison, Thumbs


def write_report(out: str, result: AuditResult, matches: pa.Table, thumbs: Thumbs) -> None:
    """Write `report.html`, `figure.svg` (when some set has accuracies) and `pages/` into the folder `out`.

    `matches`: set, item, label, key, shard, distance, caption, url; label, caption and url may be null. Any order.
    """
    raise NotImplementedError


def write_comparison(out: str, found: Comparison, matches: pa.Table, thumbs: Thumbs) -> None:
    """Write `report.html` and `pages/` of two training sets, or of one with itself, into the folder `out`.

    `matches` as for `write_report`: set is the other's name (or the set's own), item the other sample as "SHARD/KEY".
    """
    raise NotImplementedError

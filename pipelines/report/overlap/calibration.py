"""The page from which the thresholds of an audit are chosen."""

from __future__ import annotations

import pyarrow as pa

from pipelines.report.overlap.results import Calibration, Thumbs


def shown_pairs(matches: pa.Table) -> pa.Table:
    """Return the matches that the page shows, some of each set and distance: only these need thumbnails."""
    raise NotImplementedError


def write_calibration(out: str, found: Calibration, matches: pa.Table, thumbs: Thumbs) -> None:
    """Write `calibration.html` into the folder `out`; `matches` as for `write_report`, all that were found."""
    raise NotImplementedError

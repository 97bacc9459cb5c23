"""filter_text: captions that say nothing of a picture, each rejected for one named reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import pyarrow as pa

from pipelines.stages.verb import RunSettings
from wit.captions import REASONS, Rules
from wit.schema import PAIRS
from wit.schema import REJECTS as REJECTED
from wit.stage import KEPT, REJECTS, Output, Part, Step


@dataclass(frozen=True)
class FilterText:
    """Which captions are worth matching."""

    min_words: int = field(default=2, metadata={"min": 0, "help": "fewest words of a caption"})
    min_chars: int = field(default=5, metadata={"min": 0, "help": "fewest characters"})
    max_chars: int = field(default=1000, metadata={"min": 1, "help": "most characters"})
    languages: tuple[str, ...] = field(
        default=("en",),
        metadata={
            "help": "languages to keep (ISO 639 codes), none: every one; captions under four words, or in doubt, pass"
        },
    )
    skip: tuple[str, ...] = field(
        default=(), metadata={"choices": tuple(REASONS), "help": "reasons for which nothing is rejected"}
    )

    name: ClassVar[str] = "filter_text"
    reads: ClassVar[pa.Schema] = PAIRS
    writes: ClassVar[Mapping[str, pa.Schema]] = {KEPT: PAIRS, REJECTS: REJECTED}
    reasons: ClassVar[dict[str, str]] = REASONS

    def __call__(self, batches: Iterator[pa.RecordBatch], part: Part) -> Iterator[Output]:
        """Yield the pairs to keep and the rejects of each batch."""
        for batch in batches:
            found = pa.array([self.judge(caption) for caption in batch.column("caption").to_pylist()], pa.string())
            is_kept = found.is_null()
            yield KEPT, batch.filter(is_kept)
            yield REJECTS, self._rejects(batch, found)

    def _rejects(self, batch: pa.RecordBatch, reasons: pa.Array) -> pa.RecordBatch:
        rejected = reasons.is_valid()
        rows, reasons = batch.filter(rejected), reasons.filter(rejected)
        nulls = pa.nulls(len(rows), pa.string())
        names = pa.array([self.name] * len(rows), pa.string())
        columns = [rows.column("key"), rows.column("bucket"), names, reasons, nulls, nulls, nulls]
        return pa.RecordBatch.from_arrays(columns, schema=REJECTED)

    def judge(self, caption: str) -> str | None:
        """Return the first reason to reject a caption; None: it stays."""
        return Rules(self.min_words, self.min_chars, self.max_chars, self.languages, self.skip).judge(caption)

    def steps(self, run: RunSettings) -> tuple[Step, ...]:
        """One map over the pairs."""
        return (Step(self, {"pairs": "extract/pairs"}, self.name),)

    def inputs(self) -> tuple[str, ...]:
        """Nothing outside the run."""
        return ()

"""filter_text: captions that say nothing of a picture, each rejected for one named reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import pyarrow as pa

from pipelines.stages.verb import RunSettings
from wit.captions import has_letters, has_markup, is_boilerplate, is_file_name, language_of
from wit.schema import PAIRS
from wit.schema import REJECTS as REJECTED
from wit.stage import KEPT, REJECTS, Output, Part, Step
from wit.text import tokens

_MIN_WORDS_FOR_LANGUAGE = 4

REASONS = {
    "no_letters": "no letter of any script",
    "too_short": "fewer than `min_words` words or `min_chars` characters",
    "too_long": "more than `max_chars` characters",
    "file_name": "the name of a file, an address or an id",
    "markup": "tags, BBCode or what is left of a template",
    "boilerplate": "a phrase of the page's machinery: click here, image 3",
    "language": "surely in a language other than `languages`",
}
"""In the order in which they are judged: a caption is rejected for the first that fits."""


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
        words = tokens(caption)
        rules: dict[str, Callable[[], bool]] = {
            "no_letters": lambda: not has_letters(caption),
            "too_short": lambda: len(words) < self.min_words or len(caption) < self.min_chars,
            "too_long": lambda: len(caption) > self.max_chars,
            "file_name": lambda: is_file_name(caption),
            "markup": lambda: has_markup(caption),
            "boilerplate": lambda: is_boilerplate(" ".join(words)),
            "language": lambda: len(words) >= _MIN_WORDS_FOR_LANGUAGE and self._is_foreign(caption),
        }
        return next((reason for reason, rejects in rules.items() if reason not in self.skip and rejects()), None)

    def _is_foreign(self, caption: str) -> bool:
        language = language_of(caption) if self.languages else None
        return language is not None and language not in self.languages

    def steps(self, run: RunSettings) -> tuple[Step, ...]:
        """One map over the pairs."""
        return (Step(self, {"pairs": "extract/pairs"}, self.name),)

    def inputs(self) -> tuple[str, ...]:
        """Nothing outside the run."""
        return ()

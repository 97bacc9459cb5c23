"""filter_text: captions that say nothing of a picture and addresses on the user's lists, each for one named reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.stages.phrases import PAIRS_TABLE, learn_phrases, read_learned
from pipelines.stages.rejects import reject_pairs
from pipelines.stages.verb import RunSettings
from wit.blocklists import Patterns, read_domains, read_patterns
from wit.captions import REASONS as CAPTION_REASONS
from wit.captions import Rules
from wit.hosts import Domains, hosts
from wit.languages import LANGUAGES
from wit.schema import PAIRS
from wit.schema import REJECTS as REJECTED
from wit.stage import KEPT, REJECTS, Output, Part, Step
from wit.text import normalise

if TYPE_CHECKING:
    from wit.judging import Verdicts

BLOCKED_DOMAIN, BLOCKED_URL, LEARNED = "blocked_domain", "blocked_url", "learned_boilerplate"

REASONS = {
    BLOCKED_DOMAIN: "the image's or the page's host lies in a domain of `blocked_domains`",
    BLOCKED_URL: "a pattern of `blocked_urls` stands in the address of the image or the page",
    **CAPTION_REASONS,
    LEARNED: "a short caption that stands as a whole on many hosts: Read our blog, Facebook share button",
}
"""In the order in which they are judged: a caption is rejected for the first that fits."""


class _Found(NamedTuple):
    """Which rows of a batch one reason fits, and what was found."""

    reason: str
    details: pa.Array
    """Null: it does not fit."""


@dataclass(frozen=True)
class _Lists:
    """What is looked up, besides what the rules say; None or empty: nothing."""

    domains: Domains | None
    patterns: Patterns | None
    learned: pa.Array
    learned_max_words: int

    def find(self, batch: pa.RecordBatch, verdicts: Verdicts) -> Iterator[_Found]:
        """Yield what is found, of the image's address before that of the page."""
        images, pages = batch.column("url"), batch.column("page_url").fill_null("")
        if self.domains is not None:
            found = pc.coalesce(self.domains.find(hosts(images)), self.domains.find(hosts(pages)))
            yield _Found(BLOCKED_DOMAIN, found)
        if self.patterns is not None:
            yield _Found(BLOCKED_URL, pc.coalesce(self.patterns.find(images), self.patterns.find(pages)))
        if len(self.learned):
            yield _Found(LEARNED, self._phrases(verdicts))

    def _phrases(self, verdicts: Verdicts) -> pa.Array:
        """Return the learned phrase that each caption is; only short ones are looked up."""
        is_short = verdicts.num_words <= self.learned_max_words
        forms = verdicts.forms.filter(pa.array(is_short)).cast(pa.string())
        places = np.full(len(is_short), -1, np.int64)
        places[is_short] = pc.index_in(forms, self.learned).fill_null(-1).to_numpy(zero_copy_only=False)
        return self.learned.take(pa.array(places, mask=places < 0))


@dataclass(frozen=True)
class FilterText:
    """Which captions are worth matching."""

    min_words: int = field(default=2, metadata={"min": 0, "help": "fewest words of a caption"})
    min_chars: int = field(default=5, metadata={"min": 0, "help": "fewest characters"})
    max_chars: int = field(default=1000, metadata={"min": 1, "help": "most characters"})
    languages: tuple[str, ...] = field(
        default=("en",),
        metadata={
            "choices": tuple(sorted(LANGUAGES)),
            "help": "languages to keep (ISO 639 codes), none: every one; captions under four words, or in doubt, pass",
        },
    )
    learned_max_words: int = field(
        default=4, metadata={"min": 1, "max": 16, "help": "most words of a caption that may be learned as boilerplate"}
    )
    learned_min_hosts: int = field(
        default=100, metadata={"min": 0, "help": "fewest hosts that show it; 0: nothing is learned"}
    )
    learned_min_share: float = field(
        default=1e-5,
        metadata={"min": 0.0, "max": 1.0, "help": "least share of all pairs that have it, and at least 100 of them"},
    )
    learned_keep: tuple[str, ...] = field(
        default=(), metadata={"help": "phrases that are no boilerplate, however frequent"}
    )
    blocked_domains: tuple[str, ...] = field(
        default=(),
        metadata={"help": "files of domains, one a line; images and pages there and on their subdomains go"},
    )
    blocked_urls: tuple[str, ...] = field(
        default=(),
        metadata={"help": "files of parts of addresses, one a line, * for any characters; case counts"},
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
        from wit.judging import Judge

        judge, lists = Judge(self.rules()), self._lists(part.root)
        for batch in batches:
            verdicts = judge.judge(batch.column("caption"))
            reasons, details = _first(verdicts, lists.find(batch, verdicts))
            is_kept = reasons.is_null()
            yield KEPT, batch.filter(is_kept)
            rows = pa.array(np.flatnonzero(~is_kept.to_numpy(zero_copy_only=False)))
            rejected = batch.select(["key", "bucket"]).take(rows)
            yield REJECTS, reject_pairs(rejected, self.name, reasons.take(rows), details.take(rows))

    def steps(self, run: RunSettings) -> tuple[Step, ...]:
        """Learn the phrases that are boilerplate, unless that is switched off, then judge every pair."""
        learn: tuple[Step, ...] = ()
        if self._learns():
            learn = learn_phrases(
                self.learned_max_words, self.learned_min_hosts, self.learned_min_share, run.num_buckets
            )
        return (*learn, Step(self, {"pairs": PAIRS_TABLE}, self.name))

    def inputs(self) -> tuple[str, ...]:
        """Return the user's lists; raises InputError for a line of them that is none of what it should be."""
        read_domains(self.blocked_domains)
        read_patterns(self.blocked_urls)
        return (*self.blocked_domains, *self.blocked_urls)

    def rules(self) -> Rules:
        """Return the rules of captions by themselves."""
        skip = tuple(reason for reason in self.skip if reason in CAPTION_REASONS)
        return Rules(self.min_words, self.min_chars, self.max_chars, self.languages, skip)

    def _learns(self) -> bool:
        return self.learned_min_hosts > 0 and LEARNED not in self.skip

    def _lists(self, root: str) -> _Lists:
        domains = None if BLOCKED_DOMAIN in self.skip else read_domains(self.blocked_domains)
        patterns = None if BLOCKED_URL in self.skip else read_patterns(self.blocked_urls)
        learned = pa.array([], pa.string())
        if self._learns():
            learned = read_learned(root)
            kept = pa.array([normalise(phrase) for phrase in self.learned_keep], pa.string())
            learned = learned.filter(pc.invert(pc.is_in(learned, kept)))
        return _Lists(domains, patterns, learned, self.learned_max_words)


def _first(verdicts: Verdicts, found: Iterable[_Found]) -> tuple[pa.Array, pa.Array]:
    """Return the first reason of each row in the order of REASONS, null where none fits, and what was found."""
    order = list(REASONS)
    places = np.array([*map(order.index, CAPTION_REASONS), len(order)], np.int64)[verdicts.codes]
    details = _column(verdicts.details, len(places))
    for reason, own in found:
        comes_first = own.is_valid().to_numpy(zero_copy_only=False) & (order.index(reason) < places)
        places[comes_first] = order.index(reason)
        details = pc.if_else(pa.array(comes_first), own.cast(pa.string()), details)
    return pa.array([*order, None], pa.string()).take(pa.array(places)), details


def _column(details: Mapping[int, str], num_rows: int) -> pa.Array:
    """Return texts by their rows as a column, null elsewhere."""
    places: npt.NDArray[np.int64] = np.full(num_rows, -1, np.int64)
    places[list(details)] = np.arange(len(details))
    texts: Any = pa.array(details.values(), pa.string())
    return texts.take(pa.array(places, mask=places < 0))

"""Boilerplate learned from frequency: short captions that stand as a whole on many hosts say nothing of their picture.

A phrase is the normal form of a caption of a few words. Counted per part by host, summed per phrase, and the few that
pass the thresholds are listed in one small table, which the filter reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines import sql
from pipelines.stages.tables import count_rows, read_small
from wit.hosts import hosts, text_hashes
from wit.schema import FREQUENT_PHRASES, LEARNED_PHRASES, PAIRS, PHRASES
from wit.stage import KEPT, Output, Part, SqlStage, Step, View

PAIRS_TABLE = "extract/pairs"
PHRASES_TABLE, FREQUENT_TABLE, LEARNED_TABLE = "filter_text/phrases", "filter_text/frequent", "filter_text/learned"

MIN_PAIRS = 100
"""Fewest pairs of a phrase: in a small run a share alone is a handful of pairs."""
MAX_PHRASE_BYTES = 100
"""Longest phrase: a few words of a script without spaces may be a paragraph."""
_ROWS_AT_ONCE = 1_000_000
"""Short captions that are held before they are counted: 50 MB."""


@dataclass(frozen=True)
class CountPhrases:
    """Counts the pairs of each short caption by host: that of the page, or of the image where there is no page."""

    name: ClassVar[str] = "count_phrases"
    reads: ClassVar[pa.Schema] = pa.schema([PAIRS.field(name) for name in ("caption", "page_url", "url")])
    writes: ClassVar[Mapping[str, pa.Schema]] = {KEPT: PHRASES}

    max_words: int
    num_buckets: int

    def __call__(self, batches: Iterator[pa.RecordBatch], part: Part) -> Iterator[Output]:
        """Yield the counts; a phrase and host have several rows where the part is large."""
        waiting: list[pa.Table] = []
        num_waiting = 0
        for batch in batches:
            waiting.append(self._short_captions(batch))
            num_waiting += waiting[-1].num_rows
            if num_waiting >= _ROWS_AT_ONCE:
                yield from self._counts(waiting)
                waiting, num_waiting = [], 0
        if num_waiting:
            yield from self._counts(waiting)

    def _short_captions(self, batch: pa.RecordBatch) -> pa.Table:
        """Return phrase and hash of the host of each row that has a phrase."""
        from wit.tokens import normal_form_array

        forms = normal_form_array(batch.column("caption"))
        sizes = pc.binary_length(forms)
        is_short = pc.and_(pc.greater(sizes, 0), pc.less_equal(sizes, MAX_PHRASE_BYTES))
        rows = np.flatnonzero(is_short.to_numpy(zero_copy_only=False))
        spaces = pc.count_substring(forms.take(pa.array(rows)), " ").to_numpy()
        chosen = pa.array(rows[spaces < self.max_words])
        urls = pc.coalesce(batch.column("page_url").take(chosen), batch.column("url").take(chosen))
        hashes = pa.array(text_hashes(hosts(urls)).view(np.int64))
        return pa.table({"phrase": forms.take(chosen).cast(pa.string()), "host": hashes})

    def _counts(self, tables: list[pa.Table]) -> Iterator[Output]:
        groups = pa.concat_tables(tables).group_by(["phrase", "host"], use_threads=False)
        grouped = groups.aggregate([([], "count_all")])
        hashes = text_hashes(grouped.column("phrase").combine_chunks())
        buckets = (hashes % np.uint64(self.num_buckets)).astype(np.int32)
        counted = pa.table(
            [grouped.column("phrase"), pa.array(buckets), grouped.column("host"), grouped.column("count_all")],
            schema=PHRASES,
        )
        order = [(name, "ascending") for name in ("phrase_bucket", "phrase", "host")]
        for batch in counted.sort_by(order).to_batches(max_chunksize=_ROWS_AT_ONCE):
            yield KEPT, batch


def find_frequent(min_hosts: int) -> SqlStage:
    """Return the step that finds the phrases of at least `min_hosts` hosts and MIN_PAIRS pairs."""
    return SqlStage(
        name="find_frequent",
        sql=sql.read("filter_text_frequent"),
        reads={"phrases": View(PHRASES, "phrase_bucket")},
        writes=FREQUENT_PHRASES,
        bucket="phrase_bucket",
        sort_by=("phrase",),
        parameters={"min_hosts": min_hosts, "min_pairs": MIN_PAIRS},
    )


@dataclass(frozen=True)
class ListLearned:
    """Lists the frequent phrases that make up a share of all pairs, in one small table that every part reads."""

    name: ClassVar[str] = "list_learned"
    writes: ClassVar[pa.Schema] = LEARNED_PHRASES

    min_share: float

    def __call__(self, root: str) -> Iterator[pa.Table]:
        """Yield the phrases, the commonest first: at most one over the share, so a hundred thousand at 1e-5."""
        num_pairs = count_rows(root, PAIRS_TABLE)
        frequent = read_small(root, FREQUENT_TABLE, FREQUENT_PHRASES)
        found = frequent.filter(pc.greater_equal(frequent.column("num_pairs"), self.min_share * num_pairs))
        found = found.sort_by([("num_pairs", "descending"), ("phrase", "ascending")])
        yield found.select(LEARNED_PHRASES.names).cast(LEARNED_PHRASES)


def learn_phrases(max_words: int, min_hosts: int, min_share: float, num_buckets: int) -> tuple[Step, ...]:
    """Return the steps that make LEARNED_TABLE of PAIRS_TABLE."""
    return (
        Step(CountPhrases(max_words, num_buckets), {"pairs": PAIRS_TABLE}, PHRASES_TABLE),
        Step(find_frequent(min_hosts), {"phrases": f"{PHRASES_TABLE}/{KEPT}"}, FREQUENT_TABLE),
        Step(ListLearned(min_share), {}, LEARNED_TABLE),
    )


def read_learned(root: str) -> pa.Array:
    """Return the learned phrases of a run."""
    return read_small(root, LEARNED_TABLE, LEARNED_PHRASES).column("phrase").combine_chunks()

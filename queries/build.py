"""The query list: words, bigrams, titles and synsets, in the order of the paper's footnote.

The list is the union of the four sources, each in an order of its own that no tie leaves open, its terms in normal form
and unique, cut at a limit. A term stands where its first source puts it and names every source that holds it.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa

from queries.ngrams import Bigram, Block, NgramCounts, count_block
from queries.titles import Articles, Title, Views
from queries.wikipedia import Dump, site_of
from queries.wordnet import Synset, data_files, read_synsets
from wit import manifest
from wit.errors import InputError, MismatchError
from wit.processes import map_in_order
from wit.progress import progress
from wit.schema import QUERIES, conform
from wit.storage import (
    expand,
    expand_files,
    is_remote,
    join,
    list_names,
    local_path,
    make_folder,
    publish_text,
    remove,
    size,
    write_parquet,
)

SOURCES = ("word", "bigram", "title", "synset")
"""In the paper's order."""

KIND = "queries"
TABLE, TEXT, MANIFEST = "queries.parquet", "queries.txt", "manifest.json"


@dataclass(frozen=True)
class Settings:
    """What decides the list, beside its inputs."""

    language: str = "en"
    min_word_count: int = 100
    min_bigram_count: int = 100
    min_pmi: float = 8.0
    """In bits."""
    min_views: int = 70
    limit: int = 500_000


@dataclass(frozen=True)
class Inputs:
    """The files the list is made from."""

    dumps: tuple[str, ...] = ()
    pageviews: tuple[str, ...] = ()
    wordnets: tuple[str, ...] = ()
    """Folders."""


@dataclass
class Term:
    """A term with what each source says of it."""

    term: str
    sources: list[str] = field(default_factory=list)
    word_count: int | None = None
    bigram_count: int | None = None
    pmi: float | None = None
    title: str | None = None
    views: int | None = None
    synsets: list[str] | None = None


class QueryList:
    """The union as it grows: add the sources in the paper's order."""

    def __init__(self) -> None:
        self.terms: dict[str, Term] = {}
        self.dropped: dict[str, Counter[str]] = {source: Counter() for source in SOURCES}
        """Candidates of each source that added no term, by reason: empty (no token is left of it), duplicate."""

    def _entry(self, term: str, source: str) -> Term | None:
        """Return the term's entry, marked with the source; None when its normal form is empty."""
        if not term:
            self.dropped[source]["empty"] += 1
            return None
        if term in self.terms:
            self.dropped[source]["duplicate"] += 1
        entry = self.terms.setdefault(term, Term(term))
        if source not in entry.sources:
            entry.sources.append(source)
        return entry

    def add_words(self, words: Iterable[tuple[str, int]]) -> None:
        """Add words with their counts; they are normal forms already."""
        for word, count in words:
            entry = self._entry(word, "word")
            assert entry is not None
            entry.word_count = count

    def add_bigrams(self, bigrams: Iterable[Bigram]) -> None:
        """Add bigrams; they are normal forms already."""
        for bigram in bigrams:
            entry = self._entry(bigram.term, "bigram")
            assert entry is not None
            entry.bigram_count, entry.pmi = bigram.count, bigram.pmi

    def add_titles(self, titles: Iterable[Title]) -> None:
        """Add titles, the most viewed first: of those with one normal form the first gives the row title and views."""
        for title in titles:
            entry = self._entry(title.term, "title")
            if entry is not None and entry.title is None:
                entry.title, entry.views = title.title, title.views

    def add_synsets(self, synsets: Iterable[Synset]) -> None:
        """Add synsets; a term names all those that it heads."""
        for synset in synsets:
            entry = self._entry(synset.term, "synset")
            if entry is not None:
                entry.synsets = [*(entry.synsets or []), synset.id]

    def table(self, limit: int) -> pa.Table:
        """Return the first `limit` terms as a table of schema QUERIES."""
        rows = [{"query_id": index, **vars(entry)} for index, entry in enumerate(list(self.terms.values())[:limit])]
        return conform(pa.Table.from_pylist(rows, schema=QUERIES), QUERIES)


def build(inputs: Inputs, settings: Settings, out: str, processes: int) -> dict[str, Any] | None:
    """Write queries.parquet, queries.txt and manifest.json to the folder `out`; return the manifest's result.

    Returns None when the folder already holds the list of these inputs, settings and code. The bytes written do not
    depend on `processes`. Raises InputError for an input that is missing or damaged, MismatchError for a folder that
    holds something else, OutputError when it cannot be written.
    """
    made_from = _made_from(inputs, settings)
    if not _claim(out, made_from):
        return None
    with _spill_folder(out) as folder:
        queries, facts = _collect(inputs, settings, folder, processes)
    table = queries.table(settings.limit)
    write_parquet(join(out, TABLE), table)
    publish_text(join(out, TEXT), "".join(f"{term}\n" for term in table.column("term").to_pylist()))
    result = _result(queries, table, facts)
    written = {name: manifest.fingerprint_file(join(out, name)) for name in (TABLE, TEXT)}
    whole = {"kind": KIND, "made_from": made_from, "result": result, "written": written}
    manifest.write(join(out, MANIFEST), whole)
    return result


def resolve_inputs(dumps: Iterable[str], pageviews: Iterable[str], wordnets: Iterable[str]) -> Inputs:
    """Return the files that paths, URLs, brace and glob patterns name; raises InputError when one names nothing."""
    return Inputs(_once(dumps, expand_files), _once(pageviews, expand_files), _once(wordnets, expand))


def _once(patterns: Iterable[str], expanded: Callable[[str], list[str]]) -> tuple[str, ...]:
    files = [file for pattern in patterns for file in expanded(pattern)]
    twice = sorted(file for file, count in Counter(files).items() if count > 1)
    if twice:
        raise InputError(f"{twice[0]}: expected each input once, found it named twice")
    return tuple(files)


def _made_from(inputs: Inputs, settings: Settings) -> dict[str, Any]:
    wordnet_files = [file for folder in inputs.wordnets for file in data_files(folder)]
    return {
        "settings": asdict(settings),
        "inputs": {
            "dumps": manifest.fingerprint_inputs(inputs.dumps),
            "pageviews": manifest.fingerprint_inputs(inputs.pageviews),
            "wordnets": manifest.fingerprint_inputs(wordnet_files),
        },
        "code": manifest.fingerprint_code("queries", "wit"),
    }


def _claim(out: str, made_from: dict[str, Any]) -> bool:
    """Make the folder ours; return False when it already holds the finished list."""
    make_folder(out)
    names = list_names(out)
    remedy = "choose another --out, or remove this folder"
    if MANIFEST not in names:
        if names:
            raise MismatchError(
                f"{out}: expected an empty folder or a query list, found {names[0]!r} and no {MANIFEST}; {remedy}"
            )
        manifest.write(join(out, MANIFEST), {"kind": KIND, "made_from": made_from})
        return True
    before = manifest.read(join(out, MANIFEST))
    if before.get("kind") != KIND or "made_from" not in before:
        raise MismatchError(f"{out}: expected a query list, found a {MANIFEST} of something else; {remedy}")
    if names == [MANIFEST]:  # a build that an input's fault ended
        manifest.write(join(out, MANIFEST), {"kind": KIND, "made_from": made_from})
        return True
    manifest.require_same(out, before["made_from"], made_from, remedy)
    finished = before.get("written") == {
        name: manifest.fingerprint_file(join(out, name)) for name in (TABLE, TEXT) if name in names
    }
    return not finished


@contextmanager
def _spill_folder(out: str) -> Iterator[str]:
    """Give a folder for what does not fit in memory: beside a local list, else the system's temporary one."""
    if is_remote(out):
        with tempfile.TemporaryDirectory() as folder:
            yield folder
        return
    folder = os.path.join(local_path(out), ".tmp-spill")
    remove(folder)
    make_folder(folder)
    try:
        yield folder
    finally:
        remove(folder)


def _collect(inputs: Inputs, settings: Settings, folder: str, processes: int) -> tuple[QueryList, dict[str, Any]]:
    counts = NgramCounts(folder)
    articles = _count_dumps(inputs.dumps, settings.language, counts, processes)
    views = Views(settings.language)
    with progress("reading page views", len(inputs.pageviews), "files") as advance:
        for file in inputs.pageviews:
            views.add_file(file)
            advance(1)
    titles, fates = views.titles(articles, settings.min_views)
    queries = QueryList()
    queries.add_words(counts.words(settings.min_word_count))
    queries.add_bigrams(counts.bigrams(settings.min_bigram_count, settings.min_pmi))
    queries.add_titles(titles)
    queries.add_synsets(synset for wordnet in inputs.wordnets for synset in read_synsets(wordnet))
    facts = {
        "pages": dict(counts.pages),
        "num_words": counts.num_words,
        "num_pairs": counts.num_pairs,
        "pageview_lines": dict(views.lines),
        "titles": dict(fates),
    }
    return queries, facts


def _count_dumps(dumps: tuple[str, ...], language: str, counts: NgramCounts, processes: int) -> Articles:
    """Count every dump; return the articles of all, with the first one's site."""
    if not dumps:
        return Articles(site_of(language, {}), titles=None)
    with ExitStack() as stack:
        opened = [stack.enter_context(Dump(url)) for url in dumps]
        for dump in opened:
            if dump.site.language not in ("", language):
                found = f"found one in {dump.site.language!r}; see --language"
                raise InputError(f"{dump.url}: expected a dump in {language!r}, {found}")
        titles: set[str] = set()
        redirects: dict[str, str] = {}
        with progress("reading the dump", sum(map(size, dumps)), "bytes") as advance:
            for block in map_in_order(count_block, _blocks(opened, advance), processes):
                counts.add(block)
                titles.update(block.titles)
                redirects.update(block.redirects)
        return Articles(opened[0].site, titles, redirects)


def _blocks(dumps: Iterable[Dump], advance: Callable[[int], None]) -> Iterator[Block]:
    for dump in dumps:
        before = 0
        for xml in dump.blocks():
            yield Block(xml, dump.url, dump.site)
            advance(dump.position - before)
            before = dump.position


def _result(queries: QueryList, table: pa.Table, facts: dict[str, Any]) -> dict[str, Any]:
    lists = table.column("sources").to_pylist()
    first = Counter(sources[0] for sources in lists)
    every = Counter(source for sources in lists for source in sources)
    return {
        "num_terms": table.num_rows,
        "num_over_limit": len(queries.terms) - table.num_rows,
        "by_first_source": {source: first[source] for source in SOURCES},
        "by_source": {source: every[source] for source in SOURCES},
        "dropped": {source: dict(queries.dropped[source]) for source in SOURCES},
        **facts,
    }

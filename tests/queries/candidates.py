"""Small files of candidates for the union, drawn or planted, and the union by the plainest code there is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from queries.fitting import PROPORTIONS, SOURCES
from queries.union import Candidates
from wit.schema import QUERIES
from wit.text import normalise

FILES = {
    "words": pa.schema({"word": pa.string(), "count": pa.int64()}),
    "bigrams": pa.schema({"term": pa.string(), "count": pa.int64(), "pmi": pa.float64(), "npmi": pa.float64()}),
    "titles": pa.schema(
        {
            "title": pa.string(),
            "name": pa.string(),
            "disambiguator": pa.string(),
            "term": pa.string(),
            "views": pa.int64(),
        }
    ),
    "synsets": pa.schema({"position": pa.int64(), "id": pa.string(), "lemma": pa.string(), "term": pa.string()}),
}

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Rows:
    """The rows of the four files, put in their orders."""

    words: list[Row] = field(default_factory=list)
    bigrams: list[Row] = field(default_factory=list)
    titles: list[Row] = field(default_factory=list)
    synsets: list[Row] = field(default_factory=list)

    def write(self, folder: Path) -> Candidates:
        """Write all four files."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, rows in vars(self).items():
            pq.write_table(pa.Table.from_pylist(rows, schema=FILES[name]), folder / f"{name}.parquet")
        return Candidates(*(str(folder / f"{name}.parquet") for name in FILES))


def word(term: str, count: int) -> Row:
    """Return a row of the words."""
    return {"word": term, "count": count}


def bigram(term: str, count: int, pmi: float, npmi: float = 0.5) -> Row:
    """Return a row of the bigrams."""
    return {"term": term, "count": count, "pmi": pmi, "npmi": npmi}


def title(name: str, views: int, disambiguator: str | None = None) -> Row:
    """Return a row of the titles."""
    whole = f"{name} ({disambiguator})" if disambiguator else name
    return {"title": whole, "name": name, "disambiguator": disambiguator, "term": normalise(name), "views": views}


def synsets(*lemmas: str) -> list[Row]:
    """Return the rows of synsets n0, n1, ... with these lemmas."""
    return [
        {"position": number, "id": f"n{number}", "lemma": lemma, "term": normalise(lemma)}
        for number, lemma in enumerate(lemmas)
    ]


_letters = st.sampled_from("abcdef")
_pairs = st.tuples(_letters, _letters).map(" ".join)
_names = st.one_of(_letters, _pairs, _letters.map(str.upper), st.sampled_from(["C++", "!!!", ".b", "A & B", "x-y"]))


@st.composite
def rows(draw: st.DrawFn) -> Rows:
    """Draw files in which terms come from several sources, values tie, and some names hold no word."""
    words = draw(st.dictionaries(_letters, st.integers(1, 5)))
    pairs = draw(st.dictionaries(_pairs, st.tuples(st.integers(1, 3), st.integers(-2, 3), st.sampled_from([0.2, 0.6]))))
    names = draw(st.dictionaries(st.tuples(_names, st.sampled_from([None, "x", "y"])), st.integers(0, 5)))
    titles = [title(name, views, brackets) for (name, brackets), views in names.items()]
    return Rows(
        [word(term, count) for term, count in sorted(words.items(), key=lambda item: (-item[1], item[0]))],
        [
            bigram(term, count, float(pmi), npmi)
            for term, (count, pmi, npmi) in sorted(pairs.items(), key=lambda item: (-item[1][1], item[0]))
        ],
        sorted(titles, key=lambda row: (-row["views"], row["term"], row["title"])),
        synsets(*draw(st.lists(_names, max_size=8))),
    )


@dataclass
class Term:
    """A term with what each source says of it."""

    term: str
    sources: list[str] = field(default_factory=list)
    word_count: int | None = None
    bigram_count: int | None = None
    pmi: float | None = None
    npmi: float | None = None
    title: str | None = None
    disambiguator: str | None = None
    views: int | None = None
    synsets: list[str] | None = None


class NaiveUnion:
    """The union as it grows in a dictionary: add the sources in the paper's order."""

    def __init__(self) -> None:
        self.terms: dict[str, Term] = {}
        self.empty = dict.fromkeys(SOURCES, 0)

    def _entries(self, found: Iterable[Row], source: str) -> Iterator[tuple[Row, Term]]:
        for row in found:
            term = row["word"] if source == "word" else row["term"]
            if not term:
                self.empty[source] += 1
                continue
            entry = self.terms.setdefault(term, Term(term))
            if source not in entry.sources:
                entry.sources.append(source)
            yield row, entry

    def add(self, admitted: Rows) -> NaiveUnion:
        """Add all rows of the four sources."""
        for row, entry in self._entries(admitted.words, "word"):
            entry.word_count = row["count"]
        for row, entry in self._entries(admitted.bigrams, "bigram"):
            entry.bigram_count, entry.pmi, entry.npmi = row["count"], row["pmi"], row["npmi"]
        for row, entry in self._entries(admitted.titles, "title"):
            if entry.title is None:
                entry.title, entry.disambiguator, entry.views = row["title"], row["disambiguator"], row["views"]
        for row, entry in self._entries(admitted.synsets, "synset"):
            entry.synsets = [*(entry.synsets or []), row["id"]]
        return self

    def rows(self, limit: int) -> list[dict[str, Any]]:
        """Return the first `limit` terms as rows of QUERIES."""
        numbered = [{"query_id": number, **vars(entry)} for number, entry in enumerate(self.terms.values())]
        return pa.Table.from_pylist(numbered[:limit], schema=QUERIES).to_pylist()  # type: ignore[no-any-return]


def naive_fit(given: Rows, reached: Rows, fitted: list[str], limit: int) -> Rows:
    """Return the rows that the rule of the fit admits, found by trying one prefix after the other.

    `given`: the admitted rows of the other sources; `reached`: the rows of the fitted ones to choose from.
    """
    taken = dict.fromkeys(fitted, 0)

    def admitted() -> Rows:
        cut = {f"{source}s": getattr(reached, f"{source}s")[:num] for source, num in taken.items()}
        return Rows(**{**vars(given), **cut})

    def size() -> int:
        return len(NaiveUnion().add(admitted()).terms)

    open_sources = list(fitted)
    while size() < limit and open_sources:
        for index, source in enumerate(open_sources):
            room = limit - size()
            whole = sum(PROPORTIONS[other] for other in open_sources[index:])
            goal = size() + room * PROPORTIONS[source] // whole
            while size() < goal and taken[source] < len(getattr(reached, f"{source}s")):
                taken[source] += 1
            if size() < goal:
                open_sources = [*open_sources[:index], "", *open_sources[index + 1 :]]
        open_sources = [source for source in open_sources if source]
    return admitted()

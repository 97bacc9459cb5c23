"""The report on a query list: one page for the person who checks what the thresholds let in and what they kept out.

Terms and titles are hostile text; wit.page escapes them. The page depends on the list and its facts alone, and holds
samples and extremes only, so that it stays small however long the list is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from queries.fitting import NAMES, SOURCES
from queries.report_figures import rank_frequency
from queries.unmatchable import REASONS
from wit.keys import uniform_rank
from wit.page import (
    Cell,
    Divider,
    Html,
    Section,
    beside,
    document,
    element,
    figure,
    foreign,
    glossary,
    headline,
    joined,
    number,
    paragraph,
    table,
    warning,
)
from wit.storage import publish_text

PLURALS = dict(zip(SOURCES, ("words", "bigrams", "titles", "synsets"), strict=True))

SAMPLE_SALT = "query report"
SAMPLE_TERMS = 20
EXAMPLES = 5  # for each reason and source
MAX_DAMAGE_ROWS = 50
MAX_INPUT_ROWS = 300
MAX_SYNSETS = 3
MAX_TERM = 100  # characters

_THRESHOLDS = {
    "min_word_count": ("word", 0, "least number of times that a word is seen in the prose of the articles"),
    "min_bigram_count": ("bigram", 0, "least number of times that two words are seen side by side"),
    "min_pmi": ("bigram", 3, "least pointwise mutual information, in bits"),
    "min_npmi": ("bigram", 3, "least normalised pointwise mutual information"),
    "min_views": ("title", 0, "least number of views of an article, those of its redirects included"),
}
"""Source, decimals and meaning of each threshold."""

_VALUES: dict[str, dict[str, tuple[str, int | None]]] = {
    "word": {"count": ("word_count", 0)},
    "bigram": {"count": ("bigram_count", 0), "PMI": ("pmi", 2), "NPMI": ("npmi", 3)},
    "title": {"article": ("title", None), "views": ("views", 0)},
    "synset": {"synsets": ("synsets", None)},
}
"""What each source says of a term: heading, column of QUERIES, decimals."""


_MARGINS: dict[str, list[tuple[str, str, int | None]]] = {
    "word": [("word", "term", None), ("count", "count", 0)],
    "bigram": [("bigram", "term", None), ("count", "count", 0), ("PMI", "pmi", 3), ("NPMI", "npmi", 3)],
    "title": [("article", "title", None), ("views", "views", 0)],
}
"""Heading, name and decimals of what is shown beside a threshold."""


def write_report(
    queries: pa.Table,
    facts: Mapping[str, Any],
    out_url: str,
    *,
    made_from: Mapping[str, Any] | None = None,
    unmatchable: pa.Table | None = None,
) -> None:
    """Write the report as one HTML file.

    `queries` has schema QUERIES, `unmatchable` schema UNMATCHABLE; `facts` and `made_from` (settings, inputs, code) are
    those of the list's manifest. Raises OutputError when the file cannot be written.
    """
    publish_text(out_url, render(queries, facts, made_from or {}, unmatchable))


def render(
    queries: pa.Table, facts: Mapping[str, Any], made_from: Mapping[str, Any], unmatchable: pa.Table | None
) -> str:
    """Return the page; `write_report` says of what."""
    opening = [
        paragraph(
            "The terms that captions are searched for: where they come from, what the thresholds let in and kept out, "
            "and a sample to judge them by."
        ),
        _headline(facts, made_from),
        *_damage(facts),
    ]
    sections = [
        Section("Terms by source", tuple(_sources(facts["by_source"])), "sources"),
        Section("Terms of several sources", tuple(_overlaps(facts["overlaps"])), "overlaps"),
        Section("Rank and frequency", tuple(_ranks(facts)), "ranks"),
        Section("At the thresholds", tuple(_thresholds(facts)), "thresholds"),
        Section("A sample of the list", tuple(_sample(queries)), "sample"),
        Section("What captions cannot match", tuple(_unmatchable(facts, unmatchable)), "unmatchable"),
        Section("What was read", tuple(_read(facts)), "read"),
        Section("How it was made", tuple(_made(made_from)), "made"),
    ]
    return document("Query list", opening, sections)


def _headline(facts: Mapping[str, Any], made_from: Mapping[str, Any]) -> Html:
    inputs = made_from.get("inputs", {})
    numbers = {
        "terms on the list": facts["num_terms"],
        "limit of the list": made_from.get("settings", {}).get("limit"),
        "terms beyond the limit, cut off": facts["num_over_limit"],
        "input files": sum(map(len, inputs.values())) if inputs else None,
        "pages read": sum(facts.get("pages", {}).values()) or None,
        "words counted": facts.get("num_words"),
        "bigrams counted": facts.get("num_pairs"),
    }
    return headline({name: number(value) for name, value in numbers.items() if value is not None})


def _damage(facts: Mapping[str, Any]) -> Iterator[Html]:
    damage, num_damaged = facts.get("damage", []), facts.get("num_damaged", 0)
    if not damage:
        return
    rows = [
        (
            element("div", foreign(each["url"]), class_="long"),
            each["offset"],
            each["reason"].replace("_", " "),
            element("div", foreign(each["detail"]), class_="long"),
            each["pages"],
        )
        for each in damage[:MAX_DAMAGE_ROWS]
    ]
    columns = {"file": None, "near byte": 0, "reason": None, "what is known": None, "pages lost, at least": 0}
    more = [paragraph(f"The first {len(rows):,} of {num_damaged:,}; damage.jsonl has all.")]
    yield warning(
        "Part of the input could not be read",
        paragraph(
            f"The list is made from what could be read. Places with damage: {num_damaged:,}; pages known to be lost: "
            f"{facts['num_lost_pages']:,}. Counts are too low by what was lost: fetch these files again and build the "
            "list anew."
        ),
        table(columns, rows),
        *(more if num_damaged > len(rows) else []),
    )


def _sources(by_source: Mapping[str, Mapping[str, int]]) -> Iterator[Html]:
    fates = ("candidates", "new", "duplicate", "unmatchable", "listed", "listed_first")
    columns = {"source": None, "candidates": 0, "new": 0, "duplicates": 0, "unmatchable": 0, "listed": 0, "first": 0}
    yield paragraph("The sources are united in this order; a term stands where its first source puts it.")
    yield table(dict(columns), [(PLURALS[name], *(by_source[name][fate] for fate in fates)) for name in SOURCES])
    yield glossary(
        {
            "candidates": "what reaches the thresholds of its source: new, duplicate or unmatchable",
            "new": "of these, what added a term to the union, which the limit then cuts",
            "duplicates": "what had become a term already; its source is noted there",
            "unmatchable": "what no caption can match",
            "listed": "terms of the finished list that name this source; a term of two sources counts in both lines",
            "first": "terms of the finished list that this source put there; they add up to the list",
        }
    )


def _overlaps(overlaps: Sequence[Mapping[str, Any]]) -> Iterator[Html]:
    if not overlaps:
        yield paragraph("The list is empty.")
        return
    most, total = max(each["terms"] for each in overlaps), sum(each["terms"] for each in overlaps)
    rows = [
        (
            *_dots(each["sources"]),
            each["terms"],
            100 * each["terms"] / total,
            element("div", class_="bar", style=f"width: {100 * each['terms'] / most:.2f}%"),
        )
        for each in overlaps
    ]
    yield paragraph(
        "Each line is a set of sources and the terms that exactly these sources hold. Terms of several sources are the "
        "surest ones."
    )
    yield element(
        "div",
        table({**dict.fromkeys(PLURALS.values()), "terms": 0, "percent": 2, "share of the list": None}, rows),
        class_="upset",
    )


def _dots(sources: Sequence[str]) -> Iterator[Html]:
    """Yield a dot for each source, filled for those in the set; a line joins the first of the set with its last."""
    held = [source in sources for source in SOURCES]
    first, last = held.index(True), len(held) - 1 - held[::-1].index(True)
    for place, filled in enumerate(held):
        marks = {"filled": filled, "left": first < place <= last, "right": first <= place < last}
        classes = " ".join(["dot", *(name for name, applies in marks.items() if applies)])
        yield element("span", element("span", "yes" if filled else "no", class_="heard"), class_=classes)


def _ranks(facts: Mapping[str, Any]) -> Iterator[Html]:
    yield paragraph(
        "The candidates of each source from the most frequent on, both axes logarithmic. In a large text the curve is "
        "smooth and nearly straight; a step in it says that something was counted that no person wrote or asked for: "
        "the text of a template, the page views of a robot. What is coloured reaches the dashed threshold."
    )
    drawn = []
    for source, name in (("word", "min_word_count"), ("bigram", "min_bigram_count"), ("title", "min_views")):
        ranks = [(rank, amount) for rank, amount in facts["ranks"][source] if amount > 0]
        if ranks:
            amount = "views" if source == "title" else "count"
            drawing = rank_frequency(PLURALS[source], amount, ranks, facts["thresholds"][name]["value"])
            num_reached, num_ranked = facts["by_source"][source]["candidates"], ranks[-1][0]
            caption = f"{PLURALS[source].capitalize()}: {number(num_reached)} of {number(num_ranked)} reach the "
            caption += "least mutual information, too" if source == "bigram" else "threshold"
            drawn.append(figure(drawing, caption))
    yield beside(*drawn) if drawn else paragraph("Nothing was counted.")


def _thresholds(facts: Mapping[str, Any]) -> Iterator[Html]:
    rows = [
        (PLURALS[source], element("code", _option(name)), *_threshold(facts["thresholds"][name], decimals, meaning))
        for name, (source, decimals, meaning) in _THRESHOLDS.items()
    ]
    yield paragraph(
        "A threshold is right when the terms just above it are worth searching for and those just below it are not. "
        "The tables show the nearest on either side; the coloured line between them is the threshold."
    )
    yield table({"source": None, "option": None, "value": 0, "meaning": None}, rows)
    yield glossary(
        {
            "fitted": "not given but chosen by the build, so that the list fills exactly to its limit",
            "PMI": "how much more often two words stand together than by chance, in bits: 8 bits are 2⁸ = 256 times",
            "NPMI": "PMI as a share of the highest that a bigram so frequent can have: 1 for words that are never "
            "apart, 0 for words that only chance puts together",
        }
    )
    yield beside(*(_margin(facts, source) for source in NAMES))


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _threshold(threshold: Mapping[str, Any], decimals: int, meaning: str) -> tuple[Cell, Cell]:
    """Return the value, marked when it was fitted, and the meaning with what the fit left over."""
    value = None if threshold["value"] is None else number(threshold["value"], decimals)
    if not threshold["fitted"]:
        return value, element("div", meaning, class_="long")
    if threshold["exhausted"]:
        meaning += "; there were too few candidates to fill the list"
    elif value is None:
        meaning += "; the list was full without any"
    elif threshold["ties_cut"]:
        meaning += f"; {number(threshold['ties_cut'])} more of just this value are left out, by the order of ties"
    return joined([element("span", "fitted", class_="tag"), " ", value or "–"]), element("div", meaning, class_="long")


def _margin(facts: Mapping[str, Any], source: str) -> Html:
    """Return the candidates on both sides of the threshold that orders a source, the highest first."""
    name = NAMES[source]
    margins, threshold = facts["margins"][source], facts["thresholds"][name]
    words = f"{'fitted' if threshold['fitted'] else 'given'}: {_option(name)}"
    if threshold["value"] is not None:
        words += f" {number(threshold['value'], _THRESHOLDS[name][1])}"
    columns = {heading: decimals for heading, _, decimals in _MARGINS[source]}
    names = [column for _, column, _ in _MARGINS[source]]
    rows: list[Sequence[Cell] | Divider] = [_cells(row, names) for row in margins["above"][::-1]]
    rows += [Divider(words), *(_cells(row, names) for row in margins["below"])]
    empty = "" if len(rows) > 1 else paragraph(f"There are no {PLURALS[source]}.", class_="quiet")
    return element("div", element("h3", PLURALS[source].capitalize()), table(columns, rows), empty)


def _cells(row: Mapping[str, Any], names: Iterable[str]) -> tuple[Cell, ...]:
    return tuple(_shown(row.get(name)) for name in names)


def _shown(value: Any) -> Cell:
    if isinstance(value, list):
        more = [f" and {len(value) - MAX_SYNSETS:,} more"] if len(value) > MAX_SYNSETS else []
        return joined([joined(map(foreign, value[:MAX_SYNSETS]), ", "), *more])
    return foreign(value, MAX_TERM) if isinstance(value, str) else value


def _sample(queries: pa.Table) -> Iterator[Html]:
    yield paragraph(
        f"Up to {SAMPLE_TERMS} terms of each source, drawn by a hash of the term: the same ones for the same list, and "
        "mostly the same ones for lists that differ little. Would you expect them in the captions of pictures?"
    )
    ranks = pa.array([uniform_rank(SAMPLE_SALT, term) for term in queries["term"].to_pylist()], pa.int64())
    members = pc.list_flatten(queries["sources"].combine_chunks())
    parents = pc.list_parent_indices(queries["sources"].combine_chunks())
    tables = []
    for source, plural in PLURALS.items():
        mine = parents.filter(pc.equal(members, source))
        lowest = pc.array_sort_indices(ranks.take(mine))[:SAMPLE_TERMS]
        rows = queries.take(pa.array(sorted(mine.take(lowest).to_pylist()), pa.int64())).to_pylist()
        tables.append(element("div", element("h3", plural.capitalize()), _sample_table(source, rows)))
    yield from (beside(*tables[:2]), beside(*tables[2:]))


def _sample_table(source: str, rows: Sequence[Mapping[str, Any]]) -> Html:
    if not rows:
        return paragraph("None.", class_="quiet")
    values = _VALUES[source]
    names = ["term", *(column for column, _ in values.values())]
    others = (", ".join(other for other in row["sources"] if other != source) for row in rows)
    return table(
        {"term": None, **{heading: decimals for heading, (_, decimals) in values.items()}, "also": None},
        [(*_cells(row, names), other) for row, other in zip(rows, others, strict=True)],
    )


def _unmatchable(facts: Mapping[str, Any], unmatchable: pa.Table | None) -> Iterator[Html]:
    yield paragraph(
        "What no caption can match is left out of the list. A name that loses its symbols stays in, as a term that "
        "captions without the symbols match too: the most frequent ones are worth a look."
    )
    counts = {
        "no_word": {source: facts["unmatchable"][source]["no_word"] for source in SOURCES},
        "symbols_lost": facts["symbols_lost"],
        "mark": {"list": facts["unmatchable_metaclip"]["mark"]},
    }
    for reason, by_source in counts.items():
        yield element("h3", reason.replace("_", " ").capitalize(), ": ", number(sum(by_source.values())))
        yield paragraph(f"{REASONS[reason][0].upper()}{REASONS[reason][1:]}.")
        found = [f"{PLURALS.get(source, source)} {number(count)}" for source, count in by_source.items() if count]
        yield paragraph(f"By source: {', '.join(found)}." if found else "None.", class_="quiet")
        examples = [] if unmatchable is None else list(_examples(unmatchable, reason))
        if examples:
            yield table({"source": None, "as written": None, "sought as": None, "count or views": 0}, examples)


def _examples(unmatchable: pa.Table, reason: str) -> Iterator[tuple[Cell, ...]]:
    mine = unmatchable.filter(pc.equal(unmatchable["reason"], reason))
    mine = mine.sort_by([("amount", "descending"), ("text", "ascending")])
    for source in (*SOURCES, "list"):
        for row in mine.filter(pc.equal(mine["source"], source)).slice(0, EXAMPLES).to_pylist():
            yield source, *_cells({**row, "term": row["term"] or None}, ("text", "term", "amount"))


def _read(facts: Mapping[str, Any]) -> Iterator[Html]:
    groups = {"pages of the dumps": "pages", "lines of page views": "pageview_lines", "names with page views": "titles"}
    rows = [
        (group, foreign(kind.replace("_", " ")), count)
        for group, name in groups.items()
        for kind, count in sorted(facts.get(name, {}).items(), key=lambda item: (-item[1], item[0]))
    ]
    yield paragraph("What became of all that the inputs hold; words are counted in articles only.")
    yield table({"read": None, "as": None, "number": 0}, rows) if rows else paragraph("Nothing.", class_="quiet")


def _made(made_from: Mapping[str, Any]) -> Iterator[Html]:
    settings = made_from.get("settings", {})
    yield paragraph("The same settings, inputs and code give the same list, byte for byte.")
    yield element("h3", "Settings")
    values = [(element("code", _option(name)), _setting(settings[name])) for name in sorted(settings)]
    yield table({"option": None, "value": None}, values)
    files = [
        (kind, url, mark)
        for kind, marks in sorted(made_from.get("inputs", {}).items())
        for url, mark in sorted(marks.items())
    ]
    rows = [
        (kind, foreign(url), int(size), element("span", digest, class_="digest") if digest else None)
        for kind, url, mark in files[:MAX_INPUT_ROWS]
        for size, _, digest in [mark.partition(":")]
    ]
    yield element("h3", "Inputs")
    yield table({"kind": None, "file": None, "bytes": 0, "SHA-256": None}, rows)
    if len(files) > len(rows):
        yield paragraph(f"The first {len(rows):,} of {len(files):,}; manifest.json has all.")
    yield paragraph("Code: ", element("span", str(made_from.get("code", "unknown")), class_="digest"))


def _setting(value: Any) -> Cell:
    if value is None:
        return None
    return number(value) if type(value) is int else foreign(str(value))

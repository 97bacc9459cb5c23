"""The report on a run: what became of its candidates, with examples of each, and how the balance changed.

Captions and URLs are hostile text; wit.page escapes them. The page depends on the run's tables alone, and holds samples
and extremes only, so that it stays small however large the run is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from pipelines.ledger import Entry, funnel_rows
from pipelines.report.run_figures import count_by_rank, pairs_by_matches
from wit.balancing import Statistics, counts_by_rank, statistics, sum_histogram
from wit.page import (
    Divider,
    Html,
    Section,
    beside,
    document,
    figure,
    foreign,
    glossary,
    headline,
    number,
    paragraph,
    table,
)

EXAMPLES = 5  # of each reason
KEPT_EXAMPLES = 20
MAX_TERMS = 25
MAX_ROWS = 20
MAX_PHRASES = 200

_METACLIP = {
    "terms": 500_000, "terms without a match": 114_000, "terms over the cap": 16_000,
    "terms with a match, not over it": 370_000,
    "share of the matches in those over the cap, before": 0.945, "matches of a pair, before": 3.5,
}  # fmt: skip
"""Of MetaCLIP's pool of 1.6 billion pairs at a cap of 20,000. Source: arXiv 2309.16671."""


def render(name: str, entries: Sequence[Entry], recipe: dict[str, Any], tables: Any) -> str:
    """Return the page of a run as HTML.

    `recipe`: its sections by name. `tables`: a DuckDB connection with the run's tables (`ledger.open_tables`).
    """
    names = {row[0] for row in tables.sql("show tables").fetchall()}
    sections = [_stages(entries)]
    if "extract_pairs" in names:
        sections.append(_sources(tables))
    if "rejects" in names:
        sections.append(_rejects(tables, entries))
    if "filter_text_learned" in names:
        sections += _learned(tables)
    if {"balance_counts", "balance_histogram"} <= names:
        sections += _balance(tables, recipe["balance"])
    if "balance_kept" in names:
        sections.append(_kept(tables))
    return document(f"Run {name}", [_opening(entries)], sections)


def _opening(entries: Sequence[Entry]) -> Html:
    first, last = entries[0], entries[-1]
    rejected = sum(sum(entry.rejects.values()) for entry in entries)
    return headline(
        {
            "candidates found": number(first.num_in),
            f"left after {last.stage}": number(last.num_out),
            "merged into an equal pair": number(first.num_merged),
            "rejected": number(rejected),
        }
    )


def _stages(entries: Sequence[Entry]) -> Section:
    found = entries[0].num_in
    rows: list[Divider | list[Any]] = []
    for stage, reason, num, share in funnel_rows(entries):
        if share is None:
            rows.append([reason, num, 100.0 * num / found if found else 0.0])
        else:
            rows.append(Divider(f"{stage}: {number(num)}, {100.0 * share:.1f} %"))
    columns = {"": None, "candidates": 0, "% of those found": 2}
    body = paragraph("What goes stands above what is left.")
    return Section("What became of the candidates", (body, table(columns, rows)), "stages")


def _sources(tables: Any) -> Section:
    attributes = tables.sql(
        "select attribute, count(*), sum(num_occurrences) from extract_pairs group by all order by 2 desc, 1"
    ).fetchall()
    hosts = tables.sql(
        "select regexp_extract(url, '^https?://([^/?#]+)', 1) as host, count(*) as num from extract_pairs group by all"
    )
    ((num_hosts, most),) = hosts.aggregate("count(*), max(num)").fetchall()
    largest = hosts.order("num desc, host").limit(MAX_ROWS).fetchall()
    total = sum(row[1] for row in attributes)
    share = f"{100 * most / total:.2f}" if total else "0"
    return Section(
        "Where they come from",
        (
            paragraph(
                f"Images on {number(num_hosts)} hosts; the one with most has {share} % of the pairs.",
            ),
            beside(
                table(
                    {"text taken from": None, "pairs": 0, "occurrences": 0},
                    [[foreign(row[0]), row[1], row[2]] for row in attributes[:MAX_ROWS]],
                ),
                table({"host": None, "pairs": 0}, [[foreign(host), num] for host, num in largest]),
            ),
        ),
        "sources",
    )


def _rejects(tables: Any, entries: Sequence[Entry]) -> Section:
    """Show a few of each reason, those of the lowest keys: a uniform sample."""
    rows = tables.sql(
        f"""
        with shown as (
            select stage, reason, key, detail, url, caption from rejects
            qualify row_number() over (partition by stage, reason order by key) <= {EXAMPLES}
        )
        select shown.stage, shown.reason, coalesce(shown.caption, pairs.caption), shown.detail,
            coalesce(shown.url, pairs.url)
        from shown left join extract_pairs pairs on pairs.key = shown.key
        order by shown.stage, shown.reason, shown.key
        """
    ).fetchall()
    order = {(entry.stage, reason): place for place, (entry, reason) in enumerate(_reasons(entries))}
    shown: list[Divider | list[Any]] = []
    last = None
    for stage, reason, caption, detail, url in sorted(rows, key=lambda row: order.get((row[0], row[1]), len(order))):
        if (stage, reason) != last:
            shown.append(Divider(f"{stage}: {reason}"))
            last = (stage, reason)
        shown.append([foreign(caption or ""), foreign(detail or ""), foreign(url or "")])
    return Section(
        "Rejected, for example",
        (
            paragraph(f"{EXAMPLES} of each reason, drawn by key: a fair sample, in which a rule that errs shows."),
            table({"caption": None, "detail": None, "address": None}, shown),
        ),
        "rejected",
    )


def _reasons(entries: Iterable[Entry]) -> Iterator[tuple[Entry, str]]:
    for entry in entries:
        for reason in entry.rejects:
            yield entry, reason


def _learned(tables: Any) -> list[Section]:
    rows = tables.sql(
        f"select phrase, num_pairs, num_hosts from filter_text_learned order by 2 desc, 1 limit {MAX_PHRASES}"
    ).fetchall()
    if not rows:
        return []
    return [
        Section(
            "Phrases learned to be boilerplate",
            (
                paragraph("Captions that are nothing but one of these, on so many hosts, say little of any one image."),
                table({"phrase": None, "pairs": 0, "hosts": 0}, [[foreign(row[0]), *row[1:]] for row in rows]),
            ),
            "learned",
        )
    ]


def _balance(tables: Any, section: dict[str, Any]) -> list[Section]:
    counts: pa.Table = tables.sql("select query_id, num_before, num_after from balance_counts").to_arrow_table()
    histogram = sum_histogram(tables.sql("select * from balance_histogram").to_arrow_table())
    figures = statistics(counts, histogram, section["cap"])
    before, after = counts_by_rank(counts)
    return [
        Section(
            "Balance",
            (
                table({"": None, "this run": 3, "MetaCLIP, 1.6 billion pairs": 3}, _figures(figures)),
                beside(
                    figure(
                        count_by_rank(before, after, section["cap"]),
                        "Pairs of each term, the terms in descending order of pairs before balancing.",
                    ),
                    figure(pairs_by_matches(histogram), "Pairs by the number of terms that they match."),
                ),
                glossary(
                    {"cap": f"{section['cap']:,}, mode {section['mode']}, oversampled {section['oversample']:g} times"}
                ),
            ),
            "balance",
        ),
        _terms(tables),
    ]


def _figures(found: Statistics) -> list[list[Any]]:
    mine = {
        "terms": found.num_terms,
        "terms without a match": found.num_unmatched,
        "terms over the cap": found.num_head,
        "terms with a match, not over it": found.num_tail,
        "share of the matches in those over the cap, before": found.head_share_before,
        "share of the matches in those over the cap, after": found.head_share_after,
        "matches before": found.num_matches_before,
        "matches after": found.num_matches_after,
        "matches of a pair, before": found.mean_matches_before,
        "matches of a pair, after": found.mean_matches_after,
    }
    return [[name, _plain(value), _plain(_METACLIP.get(name))] for name, value in mine.items()]


def _plain(value: float | None) -> str | float | None:
    """Return a whole number as text, so that it stands without decimals beside shares."""
    return number(value) if isinstance(value, int) else value


def _terms(tables: Any) -> Section:
    most = tables.sql(
        f"select term, num_before, num_after from balance_counts order by 2 desc, query_id limit {MAX_TERMS}"
    ).fetchall()
    # Ids follow the sources, so the lowest would be words only; a hash of the term draws from all.
    none = tables.sql(
        f"select term from balance_counts where num_before = 0 order by md5(term), term limit {3 * MAX_TERMS}"
    ).fetchall()
    unmatched = ", ".join(term for (term,) in none)
    return Section(
        "Terms",
        (
            table({"most matched": None, "before": 0, "after": 0}, [[foreign(row[0]), *row[1:]] for row in most]),
            paragraph("Some of the terms that nothing matches: ", foreign(unmatched, 4_000), ".")
            if none
            else paragraph("Every term matches something."),
        ),
        "terms",
    )


def _kept(tables: Any) -> Section:
    rows = tables.sql(
        f"""
        select kept.caption, kept.attribute, kept.url, terms.names
        from (select * from balance_kept order by rank, key limit {KEPT_EXAMPLES}) kept
        join (
            select each.key, string_agg(queries.term, ', ' order by each.query_id) as names
            from (
                select key, unnest(query_ids) as query_id
                from (select * from balance_kept order by rank, key limit {KEPT_EXAMPLES})
            ) each
            join match_queries queries on queries.query_id = each.query_id group by each.key
        ) terms on terms.key = kept.key
        order by kept.rank, kept.key
        """
    ).fetchall()
    shown = [[foreign(caption), foreign(names), attribute, foreign(url)] for caption, attribute, url, names in rows]
    return Section(
        "Kept, for example",
        (
            paragraph("The pairs of lowest rank after balancing: a uniform sample."),
            table({"caption": None, "terms": None, "text taken from": None, "address": None}, shown),
        ),
        "kept",
    )

"""The pages of an audit: what was found of each set, what it does to a model's accuracy, and every matched pair.

They work without a network or scripts, and everything that came from the web is escaped: captions are hostile input.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import pyarrow as pa

from pipelines.report.overlap.figure import both_panels, panels
from pipelines.report.overlap.pairs import PAGES, Book, books, long_distance, show, write_pages
from pipelines.report.overlap.results import ALPHA, Accuracies, AuditResult, Comparison, SetResult, Thumbs
from wit.page import (
    Cell,
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
    svg_file,
    table,
)
from wit.storage import join, publish_text, remove

REPORT, FIGURE = "report.html", "figure.svg"
ITEMS_SHOWN = 5  # of a set, the nearest, and as many of the farthest
SAMPLES_SHOWN = 2  # of each of them

_WORDS = {
    "overlap": "images of the set that some training sample shows",
    "clean": "the other images that could be read; all is both",
    "share": "overlap / all, the set's contamination",
    "interval": "Clopper-Pearson at 99.5 %: exact, of the share, or of the accuracy on the overlap",
    "blank": "images without detail, which no hash can tell apart: compared by their content alone",
    "all − clean": "what the overlap adds to the accuracy that would be reported",
    "p": "one-tailed binomial test that the accuracy on the overlap is above that on clean, which it takes as known",
    "significant": "only alone: p is at most 0.05, but not after the correction; worse: the interval lies below clean",
    "p, Fisher": "the same question when the accuracy on clean is an estimate too: look here when clean is not "
    "much larger than the overlap",
}


def write_report(out: str, result: AuditResult, matches: pa.Table, thumbs: Thumbs) -> None:
    """Write `report.html`, `figure.svg` (when some set has accuracies) and `pages/` into the folder `out`.

    `matches`: set, item, label, key, shard, turn, distance (integer or float), caption, url; label, caption and url
    may be null; any order. What an audit wrote there before is replaced. Memory: `matches` and one page.
    """
    found = books([each.contamination.set for each in result.sets], matches, result.unit)
    write_pages(out, found, thumbs)
    if result.num_tests:
        publish_text(join(out, FIGURE), svg_file(both_panels(result)))
    else:
        remove(join(out, FIGURE))
    publish_text(join(out, REPORT), _report(result, found, thumbs))


def _report(result: AuditResult, found: Sequence[Book], thumbs: Thumbs) -> str:
    overlap = sum(each.contamination.num_overlap for each in result.sets)
    images = sum(each.contamination.num_items for each in result.sets)
    opening = [
        paragraph("Training shards: ", foreign(result.shards), f". A copy is {result.rule}."),
        headline(
            {
                "training samples": number(result.num_samples),
                "evaluation sets": number(len(result.sets)),
                "evaluation images": number(images),
                "of them in the training shards": number(overlap),
            }
        ),
    ]
    sections = [_contamination(result)]
    if result.num_tests:
        sections += [_accuracies(result), _figure(result)]
    for index, (each, book) in enumerate(zip(result.sets, found, strict=True), 1):
        sections.append(_set(each, book, f"set-{index}", thumbs))
    return document("Overlap with evaluation sets", opening, [*sections, *_made(result.versions)])


def _contamination(result: AuditResult) -> Section:
    columns = {
        "set": None, "images": 0, "overlap": 0, "share": 0, "99.5 % interval": 0, "clean": 0, "blank": 0,
        "unreadable": 0, f"threshold, {result.unit}": 0,
    }  # fmt: skip
    notes = [glossary({word: _WORDS[word] for word in ("overlap", "clean", "share", "interval", "blank")})]
    if result.num_unreadable_samples:
        notes.append(paragraph(f"{result.num_unreadable_samples:,} training samples could not be compared."))
    rows = [_contamination_row(each, index) for index, each in enumerate(result.sets, 1)]
    return Section("Contamination", (table(columns, rows), *notes), "contamination")


def _contamination_row(each: SetResult, index: int) -> tuple[Cell, ...]:
    found = each.contamination
    return (
        element("a", foreign(found.set), href=f"#set-{index}"),
        found.num_items,
        found.num_overlap,
        f"{found.share:.2%}",
        _interval(found.interval),
        found.num_items - found.num_overlap,
        found.num_blank,
        found.num_unreadable,
        f"{found.threshold:g}",
    )


def _interval(interval: tuple[float, float] | None) -> str | None:
    return None if interval is None else f"{interval[0]:.2%} to {interval[1]:.2%}"


def _accuracies(result: AuditResult) -> Section:
    columns = {
        "set": None, "all": 0, "clean": 0, "overlap": 0, "99.5 % interval": 0, "all − clean": 0, "p": 0,
        "p, Fisher": 0, "significant": None,
    }  # fmt: skip
    rows = [row for each in result.sets if (row := _accuracy_row(result, each))]
    level = ALPHA / result.num_tests
    note = paragraph(
        f"{_plural(result.num_tests, 'set')} with predictions: after Bonferroni's correction a set is significant when "
        f"p is at most {ALPHA} / {result.num_tests:,} = {level:.2g}."
    )
    words = glossary({word: _WORDS[word] for word in ("all − clean", "p", "p, Fisher", "significant")})
    return Section("Accuracy", (table(columns, rows), note, words, *_unjoined(result)), "accuracy")


def _unjoined(result: AuditResult) -> list[Html]:
    """Say what is in no split, where there is such."""
    columns = {"in no split": None, "images without a prediction": 0, "predictions of images that the set lacks": 0}
    rows = [
        (foreign(each.contamination.set), each.num_missing, each.num_unknown)
        for each in result.sets
        if each.num_missing or each.num_unknown
    ]
    return [table(columns, rows)] if rows else []


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _accuracy_row(result: AuditResult, each: SetResult) -> tuple[Cell, ...] | None:
    found = each.accuracies
    if found is None:
        return None
    return (
        foreign(each.contamination.set),
        _accuracy(found.accuracy_all),
        _accuracy(found.accuracy_clean),
        _overlap_accuracy(found),
        _interval(found.interval),
        None if found.difference is None else f"{100 * found.difference:+.2f}",
        _p_value(found.p_value),
        _p_value(found.fisher_p_value),
        _verdict(result, each),
    )


def _accuracy(share: float | None) -> str | None:
    return None if share is None else f"{share:.2%}"


def _overlap_accuracy(found: Accuracies) -> Html | None:
    """Return the accuracy on the overlap with its number of items, which is small more often than not."""
    share = _accuracy(found.accuracy_overlap)
    if share is None:
        return None
    return joined([share, " ", element("span", f"of {found.num_overlap:,}", class_="quiet")])


def _p_value(value: float | None) -> str | None:
    return None if value is None else "< 1e-12" if value < 1e-12 else f"{value:.2g}"


def _verdict(result: AuditResult, each: SetResult) -> Html:
    found = each.accuracies
    assert found is not None
    if result.is_significant(each):
        return element("span", "yes", class_="tag")
    if found.p_value is not None and found.p_value <= ALPHA:
        return element("code", "only alone")
    return element("code", "worse" if found.excludes_clean else "no")


def _figure(result: AuditResult) -> Section:
    left, right = panels(result)
    source = "After figure 17 of the CLIP paper (arXiv 2103.00020)"
    body = beside(
        figure(left, f"{source}, left: bars are 99.5 % Clopper-Pearson intervals."),
        figure(right, f"{source}, right. Names that find no room are in the tables."),
    )
    alone = paragraph("Both panels: ", element("a", FIGURE, href=FIGURE), ".")
    return Section("Did it matter?", (body, alone), "figure")


def _set(each: SetResult, book: Book, name: str, thumbs: Thumbs) -> Section:
    found = each.contamination
    heading = foreign(found.set)
    if not book.pages:
        none = "No pair is shown; matches.parquet has all." if found.num_overlap else "None of its images was found."
        return Section(heading, (paragraph(none),), name)
    num_items = len(book.starts)
    notes = [paragraph(f"{_plural(found.num_overlap, 'image')} of {found.num_items:,}: ", *_links(book), ".")]
    if num_items < found.num_overlap:
        notes.append(paragraph(f"They show {num_items:,} of the images; matches.parquet has all."))
    return Section(heading, (*notes, *_shown(book, thumbs)), name)


def _links(book: Book) -> list[str]:
    """Return the links to the pages of a set, as words of a sentence."""

    def link(words: str, page: int) -> Html:
        return element("a", words, href=f"{PAGES}/{book.file(page)}")

    pages, pairs = len(book.pages), _plural(len(book.rows), "pair")
    if pages == 1:
        return [link(f"all {pairs} side by side" if len(book.rows) > 1 else "the pair side by side", 0)]
    return [
        link(f"all {pairs} side by side, on {pages:,} pages", 0),
        " (",
        link("the last", pages - 1),
        " has the farthest)",
    ]


def _shown(book: Book, thumbs: Thumbs) -> list[Html]:
    """Return the nearest items and the farthest, where the errors of a threshold are."""
    ranges = list(pairwise((*book.starts, len(book.rows))))

    def groups(chosen: Sequence[tuple[int, int]]) -> list[Html]:
        return [group for begin, stop in chosen for group in show(book, begin, stop, thumbs, SAMPLES_SHOWN)]

    if len(ranges) <= 2 * ITEMS_SHOWN:
        return groups(ranges)
    farthest = ranges[-ITEMS_SHOWN:]
    distance = long_distance(book.rows["distance"][farthest[0][0]].as_py(), book.unit)
    return [
        element("h3", "The nearest"),
        *groups(ranges[:ITEMS_SHOWN]),
        element("h3", f"The farthest, from {distance}: are they still copies?"),
        *groups(farthest),
    ]


def _made(versions: Mapping[str, str]) -> list[Section]:
    if not versions:
        return []
    rows = [(foreign(name), element("span", foreign(value), class_="digest")) for name, value in versions.items()]
    return [Section("How it was made", (table({"what": None, "which": None}, rows),), "made")]


def write_comparison(out: str, found: Comparison, matches: pa.Table, thumbs: Thumbs) -> None:
    """Write `report.html` and `pages/` of two training sets, or of one with itself, into the folder `out`.

    `matches` as for `write_report`, some of the pairs or all: set is `found.name`, item the other sample as
    "SHARD/KEY", key and shard the first set's sample. Thumbnails are asked for as of an audit.
    """
    (book,) = books([found.name], matches, found.unit)
    write_pages(out, [book], thumbs)
    remove(join(out, FIGURE))  # of an audit in the same folder
    publish_text(join(out, REPORT), _comparison(found, book, thumbs))


def _comparison(found: Comparison, book: Book, thumbs: Thumbs) -> str:
    what = ("with itself",) if found.other is None else ("with ", foreign(found.other))
    facts = {"samples": number(found.num_samples)}
    if found.other is not None:
        facts["samples of the other"] = number(found.num_other)
    facts |= {
        "pairs": number(found.num_pairs),
        "samples in a pair": f"{number(found.num_matched)} ({_percent(found.num_matched, found.num_samples)})",
        "groups that pairs join": number(found.num_clusters),
    }
    opening = [
        paragraph(foreign(found.shards), " compared ", *what, f". A copy is {found.rule}."),
        headline(facts),
    ]
    title = "Near-duplicates in a training set" if found.other is None else "Near-duplicates of two training sets"
    return document(title, opening, [_compared_pairs(found, book, thumbs), *_made(found.versions)])


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.2%}" if whole else "0 %"


def _compared_pairs(found: Comparison, book: Book, thumbs: Thumbs) -> Section:
    if not book.pages:
        return Section("Pairs", (paragraph("There are none."),), "pairs")
    notes = [paragraph("See ", *_links(book), ".")]
    if len(book.rows) < found.num_pairs:
        notes.append(paragraph(f"They show {len(book.rows):,} of {found.num_pairs:,}; matches.parquet has all."))
    return Section("Pairs", (*notes, *_shown(book, thumbs)), "pairs")

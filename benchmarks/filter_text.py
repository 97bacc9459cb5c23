"""Captions a second through filter_text's rules, one core: columns, and caption by caption; and what lists cost.

    python -m benchmarks.filter_text CAPTIONS.parquet [--pages PAGES.tsv] [--rows 200000] [--rounds 5]

CAPTIONS.parquet has the columns URL and TEXT; --pages names a file whose last column is a caption of another language.
Half of the captions are real ones, half have the end of another. A round does each line once, all on the same rows, in
batches of 16,384 as a part is read; the table has the least CPU time of the rounds.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.executors.parts import BATCH_ROWS
from pipelines.stages.filter_text import FilterText
from pipelines.stages.phrases import CountPhrases
from wit.blocklists import Patterns
from wit.caption_features import measure
from wit.captions import Rules
from wit.hosts import Domains, hosts
from wit.judging import Judge
from wit.languages import language_of
from wit.schema import PAIRS
from wit.tokens import normal_form_array

SLOW_SHARE = 20  # one row of so many is enough to time a line of plain Python


def main() -> None:
    """Time each line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("captions", type=Path)
    parser.add_argument("--pages", type=Path)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    pairs = make_pairs(options.captions, options.rows)
    lines = make_lines(pairs)
    if options.pages:
        foreign = foreign_captions(options.pages, options.rows)
        lines["rules, captions of many languages"] = lambda: judge_columns(foreign)
    seconds: dict[str, list[float]] = {name: [] for name in lines}
    for _ in range(options.rounds + 1):
        for name, run in lines.items():
            started = time.process_time()
            num_rows = run()
            seconds[name].append((time.process_time() - started) / num_rows)
    characters = sum(map(len, pairs.column("caption").to_pylist())) / pairs.num_rows
    print(f"{platform.machine()}, {os.cpu_count()} cores; {pairs.num_rows:,} captions of {characters:.0f} characters\n")
    print("| one core | us a caption | captions/s |\n|---|---|---|")
    for name, taken in seconds.items():
        best = min(taken[1:])  # the first compiles
        print(f"| {name} | {best * 1e6:.2f} | {1 / best:,.0f} |")


def make_pairs(path: Path, num_rows: int, seed: int = 0) -> pa.Table:
    """Return PAIRS with real captions and addresses, of 50,000 pages' hosts."""
    table = pq.read_table(path, columns=["URL", "TEXT"])
    known = [(url, " ".join(text.split())) for url, text in zip(*table.to_pydict().values(), strict=True) if text]
    draw = random.Random(seed)
    rows = []
    for number in range(num_rows):
        url, caption = known[number % len(known)]
        if number % 2:
            words, others = caption.split(), draw.choice(known)[1].split()
            caption = " ".join(words[: len(words) // 2] + others[len(others) // 2 :])
        page = f"https://www.site-{draw.randrange(50_000)}.example/page/{number}"
        rows.append((f"{number:032x}", 0, 0, url, caption, page, "a", number, "img@alt", 1))
    columns = [pa.array(column, field.type) for column, field in zip(zip(*rows, strict=True), PAIRS, strict=True)]
    return pa.table(columns, schema=PAIRS)


def foreign_captions(path: Path, num_rows: int) -> pa.Table:
    """Return the captions of a file, again and again."""
    texts = [line.split("\t")[-1] for line in path.read_text(encoding="utf-8").splitlines()]
    return pa.table({"caption": [texts[number % len(texts)] for number in range(num_rows)]})


def make_lines(pairs: pa.Table) -> dict[str, Callable[[], int]]:
    """Return what is timed: each does some rows and says how many."""
    few = pairs.column("caption").to_pylist()[::SLOW_SHARE]
    domains = Domains([f"blocked-{number}.example" for number in range(100_000)])
    patterns = Patterns([f"/ads/{number}/" for number in range(1000)])
    forms = [normal_form_array(batch.column("caption")) for batch in pairs.to_batches(BATCH_ROWS)]

    def columns(work: Callable[[pa.RecordBatch], object]) -> Callable[[], int]:
        return lambda: [work(batch) for batch in pairs.to_batches(BATCH_ROWS)] and pairs.num_rows

    def features() -> int:
        for batch, own in zip(pairs.to_batches(BATCH_ROWS), forms, strict=True):
            measure(batch.column("caption"), own)
        return pairs.num_rows

    return {
        "normal forms": columns(lambda batch: normal_form_array(batch.column("caption"))),
        "features": features,
        "rules": lambda: judge_columns(pairs),
        "the stage: rules, kept and rejected rows": lambda: filter_pairs(pairs),
        "rules, one caption at a time": lambda: len([Rules().judge(caption) for caption in few]),
        "CLD2 alone, one caption at a time": lambda: len([language_of(caption) for caption in few]),
        "100,000 domains, image and page": columns(
            lambda batch: [domains.find(hosts(batch.column(name))) for name in ("url", "page_url")]
        ),
        "1,000 patterns, image and page": columns(
            lambda batch: [patterns.find(batch.column(name)) for name in ("url", "page_url")]
        ),
        "counting phrases": lambda: count_phrases(pairs),
    }


def judge_columns(table: pa.Table) -> int:
    """Judge every caption."""
    judge = Judge(Rules())
    for batch in table.to_batches(BATCH_ROWS):
        judge.judge(batch.column("caption"))
    return table.num_rows


def filter_pairs(pairs: pa.Table) -> int:
    """Do what a part of the stage does between reading and writing."""
    stage = FilterText(learned_min_hosts=0)
    return sum(batch.num_rows for _, batch in stage(iter(pairs.to_batches(BATCH_ROWS)), _Part()))


def count_phrases(pairs: pa.Table) -> int:
    """Do what a part of the first step of learning does."""
    stage = CountPhrases(4, 16)
    narrow = pairs.select(stage.reads.names)
    list(stage(iter(narrow.to_batches(BATCH_ROWS)), _Part()))
    return pairs.num_rows


class _Part:
    """A part that nothing is asked of."""

    index, root = 0, ""

    def blob(self, suffix: str) -> tuple[str, object]:
        raise NotImplementedError(suffix)


if __name__ == "__main__":
    main()

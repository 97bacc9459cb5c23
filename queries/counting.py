"""Counting the inputs in parallel: each part of a dump and each file of page views by whichever process is free.

A part is finished when its folder stands in the work folder; a restart counts what is missing.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from queries.dumps import Dump, Part, PartReader, parts, stitch
from queries.pages import scan_pages
from queries.seams import PartEdges
from queries.wikipedia import Chunk, Damage, Site
from queries.work import is_whole, read_facts, whole_folder, write_facts
from wit.processes import Pool
from wit.progress import progress
from wit.storage import TEMPORARY_PREFIX, make_folder, remove, size

if TYPE_CHECKING:
    from queries.wikitext import LinkRules, Prose

PAGES = pa.schema([pa.field("title", pa.string(), nullable=False), pa.field("target", pa.string())])
"""The pages of the article namespace; target: the title that a redirect leads to."""

PAGES_FILE, EDGES_FILE, VIEWS_FILE = "pages.parquet", "edges.json", "views.parquet"
_PAGE = b"<page><title>A</title><ns>0</ns><id>1</id><revision><id>1</id><text>a b</text></revision></page>"

SEAMS = "seams"
"""The folder, beside those of a dump's parts, for the pages that cross their borders."""


@dataclass(frozen=True)
class CountedDumps:
    """What was counted of dumps."""

    runs: list[str]
    """Folders with runs of words and bigrams."""
    pages: list[str]
    """Parquet files of PAGES."""
    kinds: Counter[str]
    """Pages by kind: article, redirect, other_namespace, other_model."""
    damage: list[Damage]
    """In the order of the dumps, then of the bytes."""


def compile_kernels(pool: Pool) -> None:
    """Have each kernel compiled by one process, the first time they are used: not all of them by every process."""
    with progress("preparing", 2, "kernels") as advance:
        pool.run((_compile_prose, _compile_counts), advance)


def _compile_prose() -> int:
    from queries.wikitext import LinkRules

    chunk = scan_pages(_PAGE, "", 0)
    _prose(LinkRules())(chunk.text, chunk.offsets)
    return 1


def _compile_counts() -> int:
    from queries.ngrams import NgramCounter
    from wit.tokens import normal_lines

    chunk = scan_pages(_PAGE, "", 0)
    with tempfile.TemporaryDirectory() as folder:
        ngrams = NgramCounter(folder, memory_bytes=1 << 20)
        ngrams.add(*normal_lines(chunk.text, chunk.offsets))
        ngrams.close()
    return 1


def count_dumps(dumps: Mapping[str, Dump], each_bytes: int, pool: Pool) -> CountedDumps:
    """Count dumps, each into the folder that is its key, where finished parts stay.

    `each_bytes`: memory for the counts of one process. Raises what reading a dump raises; what of it cannot be read is
    in `damage`.
    """
    with progress("reading the dumps", sum(dump.size for dump in dumps.values()), "bytes") as advance:
        pool.run(_part_tasks(dumps, each_bytes, advance), advance)
        pool.run((partial(_count_seams, *each, each_bytes) for each in dumps.items()), advance)
    done = [os.path.join(folder, name) for folder in dumps for name in sorted(os.listdir(folder))]
    facts = [read_facts(folder) for folder in done]
    damage = [Damage(**each) for part in facts for each in part["damage"]]
    place = {dump.url: number for number, dump in enumerate(dumps.values())}
    return CountedDumps(
        [folder for folder, part in zip(done, facts, strict=True) if part["num_runs"]],
        [os.path.join(folder, PAGES_FILE) for folder in done],
        sum((Counter(part["kinds"]) for part in facts), Counter()),
        sorted(damage, key=lambda each: (place[each.url], each.offset, each.reason, each.detail)),
    )


def _part_tasks(
    dumps: Mapping[str, Dump], each_bytes: int, advance: Callable[[int], None]
) -> Iterator[Callable[[], int]]:
    """Yield a task for each part that is not finished; each returns the stored bytes that it read."""
    for folder, dump in dumps.items():
        make_folder(folder)
        finished = {name for name in os.listdir(folder) if is_whole(os.path.join(folder, name))}
        advance(sum(read_facts(os.path.join(folder, name))["num_bytes"] for name in finished))

        def spool(index: int, folder: str = folder) -> str:
            return os.path.join(folder, f"{TEMPORARY_PREFIX}{_part_name(index)}.xml")

        def wanted(index: int, finished: set[str] = finished) -> bool:
            return _part_name(index) not in finished

        for part in parts(dump, spool, wanted):
            yield partial(_count_part, part, folder, each_bytes)


def _part_name(index: int) -> str:
    return f"part-{index:05d}"


def _count_part(part: Part, folder: str, each_bytes: int) -> int:
    with whole_folder(os.path.join(folder, _part_name(part.index))) as draft:
        reader = PartReader(part)
        _count(reader, draft, part.dump, each_bytes, part.size)
        with open(os.path.join(draft, EDGES_FILE), "wb") as file:
            file.write(reader.edges.to_bytes())
    if part.path is not None:
        remove(part.path)
    return part.size


def _count_seams(folder: str, dump: Dump, each_bytes: int) -> int:
    """Count the pages that cross the borders of a dump's parts."""
    names = sorted(os.listdir(folder))
    if SEAMS not in names:
        with whole_folder(os.path.join(folder, SEAMS)) as draft:
            edges = (_read_edges(os.path.join(folder, name)) for name in names)
            _count(stitch(edges, dump), draft, dump, each_bytes, num_bytes=0)
    return 0


def _read_edges(folder: str) -> PartEdges:
    with open(os.path.join(folder, EDGES_FILE), "rb") as file:
        return PartEdges.from_bytes(file.read())


def _count(chunks: Iterable[Chunk], folder: str, dump: Dump, each_bytes: int, num_bytes: int) -> None:
    """Write the runs of words and bigrams of chunks, their pages, and what is to know of them, to a folder."""
    from queries.ngrams import NgramCounter
    from wit.tokens import normal_lines

    prose, ngrams = _prose(dump.site.link_rules()), NgramCounter(folder, each_bytes)
    kinds: Counter[str] = Counter()
    damage: list[Damage] = []
    pages = [PAGES.empty_table()]
    for chunk in chunks:
        ngrams.add(*normal_lines(*prose(chunk.text, chunk.offsets)))
        kinds += chunk.kinds
        damage += chunk.damage
        titles = chunk.titles + [title for title, _ in chunk.redirects]
        targets = [None] * len(chunk.titles) + [target for _, target in chunk.redirects]
        pages.append(pa.table([titles, targets], schema=PAGES))
    pq.write_table(pa.concat_tables(pages), os.path.join(folder, PAGES_FILE), compression="zstd")
    facts = {
        "num_runs": ngrams.close().num_runs,
        "num_bytes": num_bytes,
        "kinds": dict(kinds),
        "damage": [asdict(each) for each in damage],
    }
    write_facts(folder, facts)


@lru_cache(maxsize=1)
def _prose(rules: LinkRules) -> Prose:
    """Return the wikitext passes: their tables are made once a process, not once a part."""
    from queries.wikitext import Prose

    return Prose(rules)


@dataclass(frozen=True)
class CountedViews:
    """What was summed of files of page views."""

    files: list[str]
    """Parquet files of titles and views, one a file of page views."""
    lines: Counter[str]
    """Lines by what became of them."""
    damage: list[Damage]


def count_views(files: Mapping[str, str], site: Site, each_bytes: int, pool: Pool) -> CountedViews:
    """Sum the views of each file by title, into the folder that is its key.

    Raises InputError for a file that is missing or in no known format; what of one cannot be read is in `damage`.
    """
    with progress("reading page views", sum(map(size, files.values())), "bytes") as advance:
        finished = {folder for folder in files if is_whole(folder)}
        advance(sum(size(files[folder]) for folder in finished))
        missing = ((folder, file) for folder, file in files.items() if folder not in finished)
        pool.run((partial(_count_file, *each, site, each_bytes) for each in missing), advance)
    facts = [read_facts(folder) for folder in files]
    return CountedViews(
        [os.path.join(folder, VIEWS_FILE) for folder in files],
        sum((Counter(each["lines"]) for each in facts), Counter()),
        [Damage(**damage) for each in facts for damage in each["damage"]],
    )


def _count_file(folder: str, file: str, site: Site, each_bytes: int) -> int:
    from queries.pageviews import read_views

    with whole_folder(folder) as draft:
        lines, damage = read_views(file, os.path.join(draft, VIEWS_FILE), site, each_bytes)
        write_facts(draft, {"lines": dict(lines), "damage": [asdict(each) for each in damage]})
    return size(file)

"""Writes the miniature web to a folder: encyclopedia, web, archives, table, evaluation sets, truth.

Blocks of the plan are drawn in worker processes and joined in their order, so the bytes do not depend on how many
processes there are, and memory does not grow with the number of pairs.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from io import BytesIO

import pyarrow as pa
import pyarrow.parquet as pq

from wit.errors import MismatchError, OutputError
from wit.keys import sample_key
from wit.processes import map_in_order
from wit.progress import progress
from wit.sample.archives import WarcWriter
from wit.sample.encyclopedia import TRUTH as QUERIES_TRUTH
from wit.sample.encyclopedia import write_encyclopedia
from wit.sample.evaluation import write_evaluation_sets
from wit.sample.hosts import HOSTS
from wit.sample.model import BLOCK_PAIRS, Block, Candidate
from wit.sample.pages import Rendered, render
from wit.sample.plan import num_blocks, plan_block
from wit.sample.truth import SALT, SOURCES, TRUTH, VIEWS, Census, Judge, Matched, candidates, matched, truth_table
from wit.sample.web import Answer, WebWriter, block_answers, common_answers
from wit.storage import (
    ROW_GROUP_ROWS,
    join,
    local_path,
    make_folder,
    publish,
    publish_bytes,
    publish_text,
    read_bytes,
    read_parquet,
    remove,
)

VERSION = 1
SETTINGS = "sample.json"
_UNFINISHED = "sample.unfinished.json"
_PARTS = ("wiki", "pageviews", "wordnet", QUERIES_TRUTH, "web", "archives", "tables", "eval", "truth.parquet")
_MIN_CAP = 10
NUM_MALFORMED = 3
"""Records of the first WARC, and of the first WAT, that cannot be parsed."""

URL_TABLE = pa.schema([pa.field("URL", pa.string(), nullable=False), pa.field("TEXT", pa.string(), nullable=False)])


@dataclass(frozen=True)
class SampleSettings:
    """What a sample was made from, and the settings of a run that its truth assumes (`sample.json`)."""

    seed: int
    pairs: int
    cap: int
    version: int = VERSION
    salt: str = SALT
    min_side_px: int = 32
    max_side_px: int = 256
    max_aspect: float = 3.0
    radius_bits: int = 3
    languages: tuple[str, ...] = ("en",)


def default_settings(num_pairs: int, seed: int) -> SampleSettings:
    """Return the settings of a sample: a cap of 5 % of its pairs rejects about one candidate in ten."""
    return SampleSettings(seed, num_pairs, max(_MIN_CAP, num_pairs // 20))


def write_sample(folder: str, num_pairs: int, seed: int, num_processes: int) -> bool:
    """Write the miniature web; return False when the same one is there already.

    Raises MismatchError when another sample is there, OutputError when something else is.
    """
    settings = default_settings(num_pairs, seed)
    document = json.dumps(asdict(settings), indent=2) + "\n"
    if _claim(folder, document):
        return False
    terms = write_encyclopedia(folder, seed)
    censuses = _write_blocks(folder, settings, num_processes)
    _write_cut_archive(join(folder, "archives"), f"sample-{num_blocks(num_pairs):05d}")
    _write_truth(folder, settings, terms, censuses)
    write_evaluation_sets(join(folder, "eval"), seed, num_pairs)
    publish_text(join(folder, SETTINGS), document)
    remove(join(folder, _UNFINISHED))
    return True


def _claim(folder: str, document: str) -> bool:
    """Return whether `folder` holds this very sample; else make it ready to be written."""
    make_folder(folder)
    names = set(os.listdir(local_path(folder)))
    if SETTINGS in names:
        found = read_bytes(join(folder, SETTINGS)).decode("utf-8", "replace")
        if found == document:
            return True
        present, wanted = _differences(found, document)
        raise MismatchError(f"{folder}: expected the sample of {wanted}, found one of {present}; choose another folder")
    if names and _UNFINISHED not in names:
        foreign = sorted(names)[0]
        raise OutputError(f"{folder}: expected an empty folder, found {foreign!r} in it; choose another folder")
    for name in _PARTS:
        remove(join(folder, name))
    publish_text(join(folder, _UNFINISHED), document)
    return False


def _differences(found: str, document: str) -> tuple[str, str]:
    """Return the lines in which two settings differ, in words."""
    lines = [[line.strip(" ,") for line in text.splitlines()] for text in (found, document)]
    first, second = ([line for line in ours if line not in other] for ours, other in (lines, lines[::-1]))
    return ", ".join(first) or "other settings", ", ".join(second) or "other settings"


# --- blocks ---


@dataclass(frozen=True)
class _BlockOutput:
    answers: list[Answer]
    table: pa.Table
    matched: dict[str, Matched]


@lru_cache(maxsize=1)
def _terms(folder: str) -> dict[str, int]:
    terms: list[str] = read_parquet(join(folder, QUERIES_TRUTH))["term"].to_pylist()
    return {term: index for index, term in enumerate(terms)}


def _longest(terms: dict[str, int]) -> int:
    return max(term.count(" ") for term in terms) + 1


def _write_block(folder: str, seed: int, num_pairs: int, index: int) -> _BlockOutput:
    """Write the archives of a block; return what goes into files that all blocks share."""
    block = plan_block(seed, index, num_pairs)
    rendered = [render(page) for page in block.pages]
    answers = block_answers(block, rendered)
    _write_archives(join(folder, "archives"), block, rendered, answers)
    terms = _terms(folder)
    census = {view: matched(block, view, terms, _longest(terms)) for view in VIEWS}
    return _BlockOutput(answers, _url_rows(block), census)


def _write_archives(folder: str, block: Block, rendered: list[Rendered], answers: list[Answer]) -> None:
    name = f"sample-{block.index:05d}"
    archived = {candidate.url for candidate in candidates(block, "warc").values() if candidate.archived}
    with publish(join(folder, f"{name}.warc.gz")) as warc, publish(join(folder, f"{name}.warc.wat.gz")) as wat:
        writer = WarcWriter(warc, wat, name)
        for page, each in zip(block.pages, rendered, strict=True):
            writer.page(page.url, each)
        for answer in answers:
            if answer.url in archived:
                writer.image(answer.url, answer.headers, answer.body)
        for number in range(NUM_MALFORMED if block.index == 0 else 0):
            writer.malformed(f"http://{HOSTS[number]}/malformed.html")


def _write_cut_archive(folder: str, name: str) -> None:
    """Write a WARC and a WAT that break off inside their last record, as an interrupted download leaves them."""
    page = Rendered("text/html", b"<p>Nothing to see here." * 20, "Nothing", "", (), ())
    files = (BytesIO(), BytesIO())
    writer = WarcWriter(*files, name)
    writer.page(f"http://{HOSTS[0]}/cut.html", page)
    for file, suffix in zip(files, (".warc.gz", ".warc.wat.gz"), strict=True):
        publish_bytes(join(folder, f"{name}{suffix}"), file.getvalue()[:-40])


def _url_rows(block: Block) -> pa.Table:
    shown = [pair.warc for page in block.pages for pair in (*page.pairs, *page.repeats)]
    return pa.table({"URL": [each.url for each in shown], "TEXT": [each.caption for each in shown]}, schema=URL_TABLE)


def _write_blocks(folder: str, settings: SampleSettings, num_processes: int) -> dict[str, Census]:
    """Draw and write all blocks; return the census of each view."""
    censuses = {view: Census(settings.cap) for view in VIEWS}
    blocks = num_blocks(settings.pairs)
    with (
        progress("sample", settings.pairs, "pairs") as advance,
        WebWriter(join(folder, "web")) as web,
        publish(join(folder, "tables", "urls.parquet")) as file,
        pq.ParquetWriter(file, URL_TABLE, compression="zstd") as table,
    ):
        web.add(common_answers())
        write = partial(_write_block, folder, settings.seed, settings.pairs)
        for index, output in enumerate(map_in_order(write, range(blocks), min(num_processes, blocks))):
            web.add(output.answers)
            table.write_table(output.table)
            for view, census in censuses.items():
                census.add(output.matched[view])
            advance(min(BLOCK_PAIRS, settings.pairs - index * BLOCK_PAIRS))
    return censuses


# --- truth ---


def _write_truth(folder: str, settings: SampleSettings, terms: list[str], censuses: dict[str, Census]) -> None:
    ids = {term: index for index, term in enumerate(terms)}
    judge = Judge(ids, _longest(ids), {view: census.last_kept() for view, census in censuses.items()})
    waiting: list[pa.Table] = []
    with publish(join(folder, "truth.parquet")) as file, pq.ParquetWriter(file, TRUTH, compression="zstd") as writer:
        with progress("truth", num_blocks(settings.pairs), "blocks") as advance:
            for index in range(num_blocks(settings.pairs)):
                block = plan_block(settings.seed, index, settings.pairs)
                rows = ((source, *fate) for source in SOURCES for fate in judge.fates(block, source))
                waiting.append(truth_table(rows))
                if sum(table.num_rows for table in waiting) >= ROW_GROUP_ROWS:
                    writer.write_table(pa.concat_tables(waiting))
                    waiting = []
                advance(1)
        waiting.append(_faulty_records())
        writer.write_table(pa.concat_tables(waiting))


def _faulty_records() -> pa.Table:
    """Return the truth about records that hold no candidate: each is one row of the run's rejects, whatever its key."""
    reasons = [("malformed_record", NUM_MALFORMED), ("unreadable_archive", 1)]
    return truth_table(
        (source, sample_key(reason, str(number)), Candidate("", ""), ("extract", reason))
        for source in ("warc", "wat", "warc_bodies")
        for reason, count in reasons
        for number in range(count)
    )

"""The map stages of fetch: the distinct URLs of a part are asked for, what they give is stored, rows follow.

Whatever bodies come from, three things are one: a URL is asked once for all its pairs; what it gave goes into the
part's journal, from which a killed part goes on; rows and tar are written from the journal, in key order, in the end.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import orjson
import pyarrow as pa

from pipelines.fetching.archive import ArchiveReader, read_located
from pipelines.fetching.http import HttpClient
from pipelines.fetching.img2dataset import Img2dataset
from pipelines.fetching.journal import Journal
from pipelines.fetching.network import Network
from pipelines.fetching.outcome import Body, Refused
from pipelines.fetching.robots import product_token
from pipelines.fetching.schedule import Schedule, fetch_all
from pipelines.stages.tables import first_text, parts
from wit.hosts import hosts, text_buckets
from wit.image import ImageRejected, Limits, prepare
from wit.recipe import identity
from wit.schema import ASKED, IMAGES, LOCATED, MATCHED, REJECTS
from wit.stage import KEPT, Output, Part
from wit.stage import REJECTS as REJECTS_TABLE
from wit.storage import TEMPORARY_PREFIX

if TYPE_CHECKING:
    from pipelines.stages.fetch import Fetch

Outcome = Body | Refused
QUEUE = "fetch/queue"
"""The table of what is asked for, by part of the fetch."""
_NUM_ELSEWHERE = 16


@dataclass(frozen=True)
class PlaceHosts:
    """Says which part of the fetch asks for each pair's image: all URLs of a host are asked for by one."""

    num_buckets: int

    name: ClassVar[str] = "fetch_hosts"
    reads: ClassVar[pa.Schema] = pa.schema([MATCHED.field(name) for name in ("key", "bucket", "rank", "url")])
    writes: ClassVar[Mapping[str, pa.Schema]] = {KEPT: ASKED}

    def __call__(self, batches: Iterator[pa.RecordBatch], part: Part) -> Iterator[Output]:
        """Yield ASKED in the order read."""
        for batch in batches:
            places = pa.array(text_buckets(hosts(batch["url"]), self.num_buckets))
            yield KEPT, pa.RecordBatch.from_arrays([*batch.columns, places], schema=ASKED)


@dataclass(frozen=True)
class _Work:
    """The pairs of a part, and the URLs to ask for them."""

    rows: pa.Table
    """key, bucket, rank, number: the place of the pair's URL in `urls`."""
    urls: pa.StringArray
    """Each once, in the order of the rows."""

    @classmethod
    def of(cls, pairs: pa.Table) -> _Work:
        encoded = pairs["url"].combine_chunks().dictionary_encode()
        rows = pairs.select(["key", "bucket", "rank"]).append_column("number", encoded.indices)
        return cls(rows, encoded.dictionary)

    def identity(self, settings: Fetch) -> bytes:
        """Return a digest of what decides the outcome of each number: the URLs in order, and the settings.

        Where archives hold them is not part of it: the run knows its archives.
        """
        digest = hashlib.sha256(orjson.dumps(identity(settings), option=orjson.OPT_SORT_KEYS))
        for url in self.urls.to_pylist():
            digest.update(b"\0" + url.encode())
        return digest.digest()


def _fetch(
    pairs: pa.Table, part: Part, settings: Fetch, ask: Callable[[_Work, Journal, str], None]
) -> Iterator[Output]:
    """Have `ask(work, journal, folder)` note the outcome of every URL that is not done; yield the rows of both tables.

    `folder` is where temporary files of the part may lie.
    """
    work = _Work.of(pairs)
    name, blob = part.blob("tar")
    with Journal(part.scratch("journal"), work.identity(settings), len(work.urls)) as journal:
        ask(work, journal, os.path.dirname(os.path.abspath(blob.name)))
        yield from journal.outputs(work.rows, blob, name, "fetch")


@dataclass(frozen=True)
class FetchFromWeb:
    """Asks the web for each distinct URL of a part once."""

    settings: Fetch

    name: ClassVar[str] = "fetch"
    reads: ClassVar[pa.Schema] = ASKED
    writes: ClassVar[Mapping[str, pa.Schema]] = {KEPT: IMAGES, REJECTS_TABLE: REJECTS}

    def __call__(self, batches: Iterator[pa.RecordBatch], part: Part) -> Iterator[Output]:
        """Yield facts and rejects in the order of the rows; the tar's members lie in the same order."""
        pairs = pa.Table.from_batches(batches, ASKED)
        others = partial(_urls_elsewhere, part)
        yield from _fetch(
            pairs, part, self.settings, lambda work, journal, _: asyncio.run(self._ask(work, journal, others))
        )

    async def _ask(self, work: _Work, journal: Journal, others: Callable[[], list[str]]) -> None:
        settings, limits = self.settings, self.settings.limits()
        loop = asyncio.get_running_loop()
        network = Network(settings.outage_s, check=settings.check_network, others=others)
        schedule = Schedule(work.urls, journal.done, settings.rules())
        with ThreadPoolExecutor(settings.decoders) as decoders:

            async def deliver(number: int, outcome: Outcome) -> None:
                if isinstance(outcome, Refused):
                    journal.reject(number, outcome.reason, outcome.detail)
                else:
                    await loop.run_in_executor(decoders, _keep, number, outcome, limits, journal)

            async with HttpClient(settings.policy(), settings.resolver(), network.hear) as client:
                await fetch_all(schedule, client, deliver, settings.concurrency, network)


def _urls_elsewhere(part: Part) -> list[str]:
    """Return a URL of each of some other parts, evenly spread: hosts to ask when a part's own are silent."""
    others = [name for index, name in enumerate(parts(part.root, QUEUE)) if index != part.index]
    urls = (first_text(name, "url") for name in others[:: -(-len(others) // _NUM_ELSEWHERE) or 1])
    return [url for url in urls if url is not None]


@dataclass(frozen=True)
class FetchWithImg2dataset:
    """Has img2dataset ask the web for each distinct URL of a part; its shards lie in the run until they are read."""

    settings: Fetch

    name: ClassVar[str] = "fetch"
    reads: ClassVar[pa.Schema] = ASKED
    writes: ClassVar[Mapping[str, pa.Schema]] = {KEPT: IMAGES, REJECTS_TABLE: REJECTS}

    def __call__(self, batches: Iterator[pa.RecordBatch], part: Part) -> Iterator[Output]:
        """Yield facts and rejects in the order of the rows; the tar's members lie in the same order."""
        yield from _fetch(pa.Table.from_batches(batches, ASKED), part, self.settings, self._ask)

    def _ask(self, work: _Work, journal: Journal, beside: str) -> None:
        numbers = {work.urls[number].as_py(): number for number in np.flatnonzero(~journal.done).tolist()}
        with tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=beside) as folder:
            found = Img2dataset(self.settings.policy(), self.settings.retries).fetch(list(numbers), folder)
            _keep_all(((numbers[url], outcome) for url, outcome in found), self.settings, journal)


@dataclass(frozen=True)
class FetchFromArchives:
    """Reads the body of each distinct URL of a part from where it lies."""

    settings: Fetch

    name: ClassVar[str] = "fetch"
    reads: ClassVar[pa.Schema] = LOCATED
    writes: ClassVar[Mapping[str, pa.Schema]] = {KEPT: IMAGES, REJECTS_TABLE: REJECTS}

    def __call__(self, batches: Iterator[pa.RecordBatch], part: Part) -> Iterator[Output]:
        """Yield facts and rejects in the order of the rows; the tar's members lie in the same order."""
        located = pa.Table.from_batches(batches, LOCATED)
        yield from _fetch(located, part, self.settings, lambda work, journal, _: self._ask(located, work, journal))

    def _ask(self, located: pa.Table, work: _Work, journal: Journal) -> None:
        settings = self.settings
        numbers = work.rows["number"].to_numpy()
        with ArchiveReader(settings.max_bytes, product_token(settings.user_agent), settings.opt_outs) as reader:
            found = read_located(located, numbers, journal.done, reader, settings.max_redirects)
            _keep_all(found, settings, journal)


def _keep(number: int, body: Body, limits: Limits, journal: Journal) -> None:
    """Note the stored image of a URL, or why its body is none."""
    try:
        prepared = prepare(body.data, limits)
    except ImageRejected as rejected:
        journal.reject(number, rejected.reason, rejected.detail)
    else:
        journal.add(number, prepared, body.final_url)


def _keep_all(outcomes: Iterable[tuple[int, Outcome]], settings: Fetch, journal: Journal) -> None:
    """Note all outcomes; bodies are decoded in threads, a few of them ahead."""
    limits = settings.limits()
    waiting: deque[Future[None]] = deque()
    with ThreadPoolExecutor(settings.decoders) as decoders:
        for number, outcome in outcomes:
            if isinstance(outcome, Refused):
                journal.reject(number, outcome.reason, outcome.detail)
                continue
            waiting.append(decoders.submit(_keep, number, outcome, limits, journal))
            if len(waiting) > 2 * settings.decoders:
                waiting.popleft().result()
        for kept in waiting:
            kept.result()

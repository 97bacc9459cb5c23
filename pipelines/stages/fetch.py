"""fetch: the image of each pair, from the web or out of archives, stored in a tar beside a table of its facts.

The web: one event loop a part, decoding in threads beside it. What a part's rows and tar hold depends on what the web
answered, not on when. Archives: their answers are indexed once, joined with the pairs, and read record by record.
img2dataset: the web too, asked by that command.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import pyarrow as pa
from aiohttp.abc import AbstractResolver

from pipelines import sql
from pipelines.fetching import archive
from pipelines.fetching.addresses import CheckedResolver, FixedResolver
from pipelines.fetching.http import HttpClient, Policy
from pipelines.fetching.img2dataset import Img2dataset, require_installed
from pipelines.fetching.outcome import NOT_IN_ARCHIVE, Body, Refused
from pipelines.fetching.robots import product_token
from pipelines.fetching.schedule import Schedule, fetch_all
from pipelines.fetching.spool import Row, Spool
from pipelines.stages.verb import RunSettings
from wit.errors import RecipeError
from wit.image import ImageRejected, Limits, Prepared, prepare
from wit.schema import BODIES, IMAGES, INPUTS, LOCATED, MATCHED, REJECTS
from wit.stage import KEPT, Output, Part, SqlStage, Step, View
from wit.stage import REJECTS as REJECTS_TABLE
from wit.storage import TEMPORARY_PREFIX, expand

_BODIES_BATCH_ROWS = 4096
_MIB = 1 << 20
_NOT_BY_IMG2DATASET = ("connect_to", "per_host", "give_up_after", "retry_wait_s", "max_redirects")


def _setting(default: Any, about: str, **limits: Any) -> Any:
    return field(default=default, metadata={"help": about, **limits})


@dataclass(frozen=True)
class Fetch:
    """Brings the image of each pair and stores it: upright, in sRGB, its longer side at most `max_side`."""

    backend: str = _setting(
        "http",
        "where bodies come from: the web (http), archives, or the web by img2dataset, which asks no robots.txt, may be "
        "led to private addresses by names and redirects, limits no host, and takes bodies of any size "
        "(docs/decisions/006-img2dataset-backend.md)",
        choices=("http", "archive", "img2dataset"),
    )
    archives: tuple[str, ...] = _setting(
        (), "WARC files (paths, URLs, patterns) that hold the bodies, for the archive backend"
    )
    user_agent: str = _setting(
        "wit/0.1 (+https://example.org/contact)",
        "who asks, with a contact; the name before '/' is sought in robots.txt",
    )
    connect_to: str = _setting("", "HOST:PORT to which every host name is connected in place of DNS", identity=False)
    allow_private: bool = _setting(
        False, "connect to loopback, private and other addresses that are not of the public internet"
    )
    obey_robots: bool = _setting(True, "ask robots.txt first (RFC 9309)")
    obey_headers: bool = _setting(True, "drop images whose X-Robots-Tag or tdm-reservation header opts out")
    concurrency: int = _setting(64, "connections of one part; also the most bodies in memory", min=1, max=4096)
    per_host: int = _setting(4, "connections to one host", min=1, max=256)
    give_up_after: int = _setting(10, "failures in a row, with nothing heard, after which a host is given up", min=1)
    deadline_s: float = _setting(20.0, "time for one URL, redirects, retries and body included, in seconds", min=0.01)
    retries: int = _setting(
        1, "times a URL is asked again where that may help (no connection, HTTP 429, 502, 503, 504)", min=0, max=10
    )
    retry_wait_s: float = _setting(
        1.0, "wait before asking again, in seconds, where the host names none (Retry-After)", min=0.0
    )
    max_redirects: int = _setting(5, "redirects followed for one URL", min=0, max=50)
    max_bytes: int = _setting(10 * _MIB, "largest body, in bytes", min=1)
    max_pixels: int = _setting(
        50_000_000, "most pixels of an image, judged by its header before it is decoded", min=1, max=178_956_970
    )
    max_side: int = _setting(512, "longer side as stored, in pixels; larger images are resized", min=1, max=65_500)
    quality: int = _setting(95, "JPEG quality of images that cannot be stored as they came", min=1, max=95)
    decoders: int = _setting(2, "threads of one part that decode and encode", min=1, max=256, identity=False)

    name: ClassVar[str] = "fetch"
    reasons: ClassVar[dict[str, str]] = {
        "unsupported_url": "not http or https, no host, credentials in it, or not a URL",
        "robots_disallowed": "the host's robots.txt forbids it, or fails (HTTP 5xx, 429)",
        "opted_out": "a header forbids its use: X-Robots-Tag (noai, noimageai, noindex, noimageindex, none, noml) "
        "or tdm-reservation",
        "private_address": "the host, or a redirect's, is not on the public internet",
        "dns_error": "the host's name does not resolve",
        "connection_error": "no connection, or no HTTP answer on it",
        "timeout": "not complete by the deadline",
        "too_many_redirects": "more than max_redirects",
        "http_status": "an answer other than success",
        "rate_limited": "HTTP 429, also when asked again",
        "too_large": "a body over max_bytes, stated or sent",
        "truncated_body": "the body ended before its stated length",
        "not_image": "the body is no image of a known format (JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF)",
        "corrupt_image": "an image that its decoder refuses, or that breaks off",
        "too_many_pixels": "more than max_pixels",
        "not_in_archive": "no archive holds a body for the URL (archive backend)",
    }

    def __post_init__(self) -> None:
        if self.backend == "archive" and not self.archives:
            raise RecipeError(
                "fetch.archives: expected the archives that hold the bodies, found none; the archive backend needs them"
            )
        port = self.connect_to.rpartition(":")[2]
        if self.connect_to and not (port.isdecimal() and 0 < int(port) < 65_536):
            raise RecipeError(f"fetch.connect_to: expected HOST:PORT, found {self.connect_to!r}")
        if not product_token(self.user_agent):
            raise RecipeError(
                f"fetch.user_agent: expected a name such as wit/0.1 (+https://...), found {self.user_agent!r}"
            )
        if self.backend == "img2dataset":
            self._check_img2dataset()

    def _check_img2dataset(self) -> None:
        """Raise RecipeError for what img2dataset cannot honour, UserError when it is not installed."""
        if self.obey_robots:
            raise RecipeError(
                "fetch.obey_robots: img2dataset never asks robots.txt; say obey_robots = false if that is meant, "
                "or leave it to the http backend"
            )
        for setting in fields(self):
            if setting.name in _NOT_BY_IMG2DATASET and getattr(self, setting.name) != setting.default:
                raise RecipeError(
                    f"fetch.{setting.name}: img2dataset cannot do this; leave it out, or use the http backend"
                )
        require_installed()

    def steps(self, run: RunSettings) -> tuple[Step, ...]:
        """From the web: one map. From archives: list them, index them, join with the pairs, then one map."""
        if self.backend != "archive":
            stage = FetchFromWeb(self) if self.backend == "http" else FetchWithImg2dataset(self)
            return (Step(stage, {"pairs": "balance/kept"}, "fetch"),)
        locate = SqlStage(
            name=self.name,
            sql=sql.read("fetch_locate"),
            reads={"pairs": View(MATCHED, "bucket"), "bodies": View(BODIES, None)},
            writes=LOCATED,
            bucket="bucket",
            sort_by=("key",),
        )
        return (
            Step(ListArchives(self.archives), {}, "fetch/archives"),
            Step(IndexArchives(), {"archives": "fetch/archives"}, "fetch/bodies"),
            Step(locate, {"pairs": "balance/kept", "bodies": "fetch/bodies/kept"}, "fetch/located"),
            Step(FetchFromArchives(self), {"located": "fetch/located"}, "fetch"),
        )

    def inputs(self) -> tuple[str, ...]:
        """The archives, if bodies come from them."""
        return self.archives if self.backend == "archive" else ()

    def limits(self) -> Limits:
        """How images are stored."""
        return Limits(self.max_side, self.quality, self.max_pixels)

    def policy(self) -> Policy:
        """How the web is asked."""
        return Policy(**{setting.name: getattr(self, setting.name) for setting in fields(Policy)})

    def resolver(self) -> AbstractResolver:
        """The way from names to addresses: DNS, checked; or `connect_to` for every name."""
        if not self.connect_to:
            return CheckedResolver(allow_private=self.allow_private)
        host, _, port = self.connect_to.rpartition(":")
        return FixedResolver(host.strip("[]"), int(port))


@dataclass(frozen=True)
class FetchFromWeb:
    """Asks the web for each distinct URL of a part once."""

    settings: Fetch

    name: ClassVar[str] = "fetch"
    reads: ClassVar[pa.Schema] = MATCHED
    writes: ClassVar[Mapping[str, pa.Schema]] = {KEPT: IMAGES, REJECTS_TABLE: REJECTS}

    def __call__(self, batches: Iterator[pa.RecordBatch], part: Part) -> Iterator[Output]:
        """Yield facts and rejects in the order of the rows; the tar's members lie in the same order."""
        rows = list(_rows(batches))
        name, blob = part.blob("tar")
        with Spool(blob) as spool:
            asyncio.run(self._fetch(list(dict.fromkeys(row.url for row in rows)), spool))
            yield from spool.outputs(rows, name, self.name)

    async def _fetch(self, urls: list[str], spool: Spool) -> None:
        settings, limits = self.settings, self.settings.limits()
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(settings.decoders) as decoders:

            async def deliver(url: str, outcome: Body | Refused) -> None:
                if isinstance(outcome, Refused):
                    spool.reject(url, outcome.reason, outcome.detail)
                    return
                try:
                    spool.add(
                        url, await loop.run_in_executor(decoders, prepare, outcome.data, limits), outcome.final_url
                    )
                except ImageRejected as rejected:
                    spool.reject(url, rejected.reason, rejected.detail)

            schedule = Schedule(urls, settings.per_host, settings.give_up_after, 4 * settings.concurrency)
            async with HttpClient(settings.policy(), settings.resolver()) as client:
                await fetch_all(urls, client.fetch, deliver, settings.concurrency, schedule)


@dataclass(frozen=True)
class FetchWithImg2dataset:
    """Has img2dataset ask the web for each distinct URL of a part; its shards lie in the run until they are read."""

    settings: Fetch

    name: ClassVar[str] = "fetch"
    reads: ClassVar[pa.Schema] = MATCHED
    writes: ClassVar[Mapping[str, pa.Schema]] = {KEPT: IMAGES, REJECTS_TABLE: REJECTS}

    def __call__(self, batches: Iterator[pa.RecordBatch], part: Part) -> Iterator[Output]:
        """Yield facts and rejects in the order of the rows; the tar's members lie in the same order."""
        rows = list(_rows(batches))
        name, blob = part.blob("tar")
        beside = os.path.dirname(os.path.abspath(blob.name))
        with Spool(blob) as spool, tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=beside) as folder:
            urls = list(dict.fromkeys(row.url for row in rows))
            _store(Img2dataset(self.settings.policy()).fetch(urls, folder), self.settings, spool)
            yield from spool.outputs(rows, name, self.name)


@dataclass(frozen=True)
class ListArchives:
    """Plans one part of work for each archive."""

    archives: tuple[str, ...]

    name: ClassVar[str] = "fetch_archives"
    writes: ClassVar[pa.Schema] = INPUTS

    def __call__(self, root: str) -> Iterator[pa.Table]:
        """Yield each archive; raises InputError for one that is missing."""
        for pattern in self.archives:
            for url in expand(pattern):
                yield pa.Table.from_pylist([{"kind": "warc", "url": url, "start": 0, "stop": None}], schema=INPUTS)


@dataclass(frozen=True)
class IndexArchives:
    """Writes where archives hold which bodies."""

    name: ClassVar[str] = "fetch_bodies"
    reads: ClassVar[pa.Schema] = INPUTS
    writes: ClassVar[Mapping[str, pa.Schema]] = {KEPT: BODIES}

    def __call__(self, batches: Iterator[pa.RecordBatch], part: Part) -> Iterator[Output]:
        """Yield the answers of each archive in its order."""
        for batch in batches:
            for url in batch["url"].to_pylist():
                rows = [
                    {"url": target, "archive": url, "record_offset": offset, "digest": digest, "is_revisit": is_revisit}
                    for target, offset, digest, is_revisit in archive.index(url)
                ]
                for start in range(0, len(rows), _BODIES_BATCH_ROWS):
                    yield KEPT, pa.RecordBatch.from_pylist(rows[start : start + _BODIES_BATCH_ROWS], schema=BODIES)


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
        rows = list(_rows(located.to_batches()))
        name, blob = part.blob("tar")
        with Spool(blob) as spool:
            places = dict(zip(located["url"].to_pylist(), _places(located), strict=True))
            _store(self._fetch(places), self.settings, spool)
            yield from spool.outputs(rows, name, self.name)

    def _fetch(self, places: dict[str, tuple[str, int] | None]) -> Iterator[tuple[str, Body | Refused]]:
        settings = self.settings
        reader = archive.ArchiveReader(
            settings.max_bytes, product_token(settings.user_agent), obey_headers=settings.obey_headers
        )
        with closing(reader):
            for url, place in sorted(places.items(), key=lambda item: (item[1] or ("", 0), item[0])):
                try:
                    yield url, reader.read(*place) if place else Refused(NOT_IN_ARCHIVE)
                except Refused as refusal:
                    yield url, refusal


def _store(outcomes: Iterable[tuple[str, Body | Refused]], settings: Fetch, spool: Spool) -> None:
    """Prepare bodies in threads, a few of them ahead of the one that is stored."""
    limits = settings.limits()
    waiting: deque[tuple[str, Body, Future[Prepared]]] = deque()
    with ThreadPoolExecutor(settings.decoders) as decoders:
        for url, outcome in outcomes:
            if isinstance(outcome, Refused):
                spool.reject(url, outcome.reason, outcome.detail)
                continue
            waiting.append((url, outcome, decoders.submit(prepare, outcome.data, limits)))
            if len(waiting) > 2 * settings.decoders:
                _collect(waiting.popleft(), spool)
        for job in waiting:
            _collect(job, spool)


def _collect(job: tuple[str, Body, Future[Prepared]], spool: Spool) -> None:
    url, body, prepared = job
    try:
        spool.add(url, prepared.result(), body.final_url)
    except ImageRejected as rejected:
        spool.reject(url, rejected.reason, rejected.detail)


def _rows(batches: Iterable[pa.RecordBatch]) -> Iterator[Row]:
    for batch in batches:
        columns = (batch[name].to_pylist() for name in ("key", "bucket", "rank", "url"))
        yield from (Row(*values) for values in zip(*columns, strict=True))


def _places(located: pa.Table) -> Iterator[tuple[str, int] | None]:
    for name, offset in zip(located["archive"].to_pylist(), located["record_offset"].to_pylist(), strict=True):
        yield None if name is None else (name, offset)

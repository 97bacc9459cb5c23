"""fetch: the image of each pair, from the web or out of archives, stored in a tar beside a table of its facts.

The web is asked host by host: all URLs of a host are one part's, so that what one host is spared (connections, rate,
robots.txt, DNS) holds for the whole run. A part is one event loop, with decoding in threads beside it. What a part's
rows and tar hold depends on what the web answered, not on when. Archives: their answers are indexed once, joined with
the pairs, and read in order. img2dataset: the web too, asked by that command.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from aiohttp.abc import AbstractResolver

from pipelines import sql
from pipelines.fetching.addresses import CheckedResolver, FixedResolver
from pipelines.fetching.archive_index import archive_files
from pipelines.fetching.host import Rules
from pipelines.fetching.http import Policy
from pipelines.fetching.img2dataset import require_installed
from pipelines.fetching.optout import OPT_OUTS
from pipelines.fetching.robots import product_token
from pipelines.stages.bodies import QUEUE, FetchFromArchives, FetchFromWeb, FetchWithImg2dataset, PlaceHosts
from pipelines.stages.locate import locate_steps
from pipelines.stages.verb import RunSettings
from wit.errors import RecipeError
from wit.image import Limits
from wit.resizing import MODES
from wit.schema import ASKED
from wit.stage import SqlStage, Step, View

_MIB = 1 << 20
_NOT_BY_IMG2DATASET = (
    "connect_to", "per_host", "host_rate", "max_crawl_delay_s", "give_up_after", "max_host_s", "retry_wait_s",
    "max_wait_s", "max_redirects",
)  # fmt: skip


def _setting(default: Any, about: str, **limits: Any) -> Any:
    return field(default=default, metadata={"help": about, **limits})


@dataclass(frozen=True)
class Fetch:
    """Brings the image of each pair and stores it: upright, in sRGB, in the size that is asked for."""

    backend: str = _setting(
        "http",
        "where bodies come from: the web (http), archives, or the web by img2dataset, which asks no robots.txt, may be "
        "led to private addresses by names and redirects, limits no host, and takes bodies of any size "
        "(docs/decisions/006-img2dataset-backend.md)",
        choices=("http", "archive", "img2dataset"),
    )
    archives: tuple[str, ...] = _setting(
        (), "WARC, ARC and WebDataset tar files (paths, URLs, patterns) that hold the bodies, for the archive backend"
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
    max_crawl_delay_s: float = _setting(
        10.0, "longest Crawl-delay of a robots.txt that is kept to, in seconds; a longer one counts as this", min=0.0
    )
    opt_outs: tuple[str, ...] = _setting(
        tuple(OPT_OUTS), "directives of X-Robots-Tag, and tdm-reservation, that are obeyed", choices=tuple(OPT_OUTS)
    )
    concurrency: int = _setting(
        64, "connections of one part; also the most bodies in memory", min=1, max=4096, identity=False
    )
    per_host: int = _setting(4, "connections to one host", min=1, max=256, identity=False)
    host_rate: float = _setting(
        10.0, "requests to one host, a second; 0: as fast as it answers", min=0.0, identity=False
    )
    give_up_after: int = _setting(
        5, "failures in a row, with nothing heard or with HTTP 429 or 503, after which a host is given up", min=1
    )
    max_host_s: float = _setting(
        86_400.0, "time that one host may hold up a part, in seconds, before its other URLs are given up", min=1.0
    )
    deadline_s: float = _setting(20.0, "time for one request, redirects and body included, in seconds", min=0.01)
    retries: int = _setting(
        1, "times a URL is asked again, later, where that may help (no answer, cut off, HTTP 429, 502, 503, 504)",
        min=0, max=10,
    )  # fmt: skip
    retry_wait_s: float = _setting(
        5.0,
        "least time before a URL is asked again, in seconds; first pause of a busy host, doubled each time",
        min=0.0,
    )
    max_wait_s: float = _setting(
        120.0, "longest wait that a host may ask for (HTTP 429, 503, Retry-After), in seconds", min=0.0
    )
    check_network: bool = _setting(
        True, "stop, and lose nothing, when no host answers any more; false: believe that they are all gone",
        identity=False,
    )  # fmt: skip
    outage_s: float = _setting(
        600.0, "time without any answer, in seconds, before the run stops; nothing is lost, the same command goes on",
        min=0.0, identity=False,
    )  # fmt: skip
    max_redirects: int = _setting(5, "redirects followed for one URL; in archives 8 at most", min=0, max=50)
    max_bytes: int = _setting(10 * _MIB, "largest body, in bytes", min=1)
    max_pixels: int = _setting(
        50_000_000, "most pixels of an image, judged by its header before it is decoded", min=1, max=178_956_970
    )
    resize: str = _setting(
        "longer",
        "what `side` is: the longer side, the shorter side, that of a square with a white border, or of a square cut "
        "from the middle; keep: images stay as large as they are",
        choices=tuple(MODES),
    )
    side: int = _setting(512, "side as stored, in pixels; larger images are resized", min=1, max=65_500)
    enlarge: bool = _setting(False, "resize smaller images, too")
    quality: int = _setting(95, "JPEG quality of images that cannot be stored as they came", min=1, max=95)
    keep_metadata: bool = _setting(
        False, "leave EXIF (with positions), XMP, IPTC and comments in images that are stored as they came"
    )
    decoders: int = _setting(1, "threads of one part that decode and encode", min=1, max=256, identity=False)

    name: ClassVar[str] = "fetch"
    reasons: ClassVar[dict[str, str]] = {
        "unsupported_url": "not http or https, no host, credentials in it, or not a URL",
        "robots_disallowed": "the host's robots.txt forbids it, or fails (HTTP 5xx, 429)",
        **{reason: f"a header forbids its use: {directive}" for directive, reason in OPT_OUTS.items()},
        "opted_out": "a header forbids its use (img2dataset, which does not say which)",
        "private_address": "the host, or a redirect's, is not on the public internet",
        "dns_error": "the host's name does not resolve",
        "connection_error": "no connection, or no HTTP answer on it",
        "timeout": "not complete by the deadline",
        "too_many_redirects": "more than max_redirects",
        "http_status": "an answer other than success",
        "rate_limited": "HTTP 429, also when asked again",
        "host_exhausted": "its host took longer than max_host_s",
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
        host, _, port = self.connect_to.rpartition(":")
        if self.connect_to and not (host and port.isdecimal() and 0 < int(port) < 65_536):
            raise RecipeError(f"fetch.connect_to: expected HOST:PORT, found {self.connect_to!r}")
        if not product_token(self.user_agent) or not self.user_agent.isprintable():
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
        """Bring each host's URLs together and ask; or list archives, index them, join with the pairs, and read."""
        if self.backend == "archive":
            located = locate_steps(self.archives, "balance/kept", run.num_buckets, self.max_redirects)
            return (*located, Step(FetchFromArchives(self), {"located": "fetch/located"}, "fetch"))
        stage = FetchFromWeb(self) if self.backend == "http" else FetchWithImg2dataset(self)
        queue = SqlStage(
            name=self.name,
            sql=sql.read("fetch_queue"),
            reads={"asked": View(ASKED, "place")},
            writes=ASKED,
            bucket="place",
            sort_by=("key",),
        )
        return (
            Step(PlaceHosts(run.num_buckets), {"pairs": "balance/kept"}, "fetch/asked"),
            Step(queue, {"asked": "fetch/asked/kept"}, QUEUE),
            Step(stage, {"asked": QUEUE}, "fetch"),
        )

    def inputs(self) -> tuple[str, ...]:
        """The archives, if bodies come from them; raises InputError for one that is none."""
        return tuple(url for _, url in archive_files(self.archives)) if self.backend == "archive" else ()

    def limits(self) -> Limits:
        """How images are stored."""
        return Limits(self.resize, self.side, self.quality, self.max_pixels, self.enlarge, self.keep_metadata)

    def policy(self) -> Policy:
        """How the web is asked."""
        return Policy(**{setting.name: getattr(self, setting.name) for setting in fields(Policy)})

    def rules(self) -> Rules:
        """How hosts are spared, and what is asked again."""
        return Rules(**{setting.name: getattr(self, setting.name) for setting in fields(Rules)})

    def resolver(self) -> AbstractResolver:
        """The way from names to addresses: DNS, checked; or `connect_to` for every name."""
        if not self.connect_to:
            return CheckedResolver(allow_private=self.allow_private)
        host, _, port = self.connect_to.rpartition(":")
        return FixedResolver(host.strip("[]"), int(port))

"""What a plan of the miniature web is made of: candidates and their fates, responses, pages, blocks."""

from __future__ import annotations

from dataclasses import dataclass, field

from wit.sample.encoding import Picture

BLOCK_PAIRS = 500
"""Pairs planned together: one WARC and one WAT file, and one unit of parallel work."""

PAGE_PAIRS = 8
"""Pairs that one page shows."""


@dataclass(frozen=True)
class Candidate:
    """An image URL with a caption, and what is known of its fate by construction; an empty reason: it passes."""

    url: str
    caption: str
    extract_reason: str = ""
    text_reason: str = ""
    fetch_reason: str = ""
    image_reason: str = ""
    archived: bool = True
    """Whether the body lies in the WARC, as it does when a crawler got a 200."""
    shows: str = ""
    """What the picture shows: pictures that show the same are near-duplicates, all others are far apart."""
    num_pixels: int = 0
    planted: bool = False
    """Whether an evaluation set holds a copy of the picture."""


@dataclass(frozen=True)
class Response:
    """What a server answers for a URL."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    behaviour: str = "normal"
    """normal, slow, drip, hang, truncated, lying_type, endless, reset."""
    picture: Picture | None = None
    text: bytes = b""
    """The body where there is no picture."""


@dataclass(frozen=True)
class Pair:
    """One planned pair: how a page shows it, and what the WARC and WAT readers make of that."""

    index: int
    intent: str
    form: str
    """How the page says it: a name of `wit.sample.pages.FORMS`."""
    warc: Candidate
    wat: Candidate | None
    """None where a WAT, which knows only IMG@/src with alt, has nothing of it."""
    small_url: str = ""
    """For srcset and picture: what `src` says."""


@dataclass(frozen=True)
class Page:
    """One page: its pairs in order, and earlier pairs of the block that it shows again."""

    url: str
    charset: str
    """utf-8, utf-8-meta, iso-8859-1 (by header), windows-1252 (by meta), utf-16 (by byte order mark and header)."""
    base: str
    """What <base href> says, resolved; empty without one."""
    pairs: tuple[Pair, ...]
    repeats: tuple[Pair, ...] = ()


@dataclass(frozen=True)
class Block:
    """The pages of BLOCK_PAIRS pairs and every response they need, in a fixed order."""

    index: int
    pages: tuple[Page, ...]
    responses: dict[str, Response] = field(default_factory=dict)

"""What a plan assumes. Each value says where it comes from, and can be changed (`wit plan --assume`).

Rates are of one core of the machine of the benchmarks; `--run` replaces those, shares and sizes by what a run saw.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

_HERE = "benchmarks/candidates_epyc-2core_2026-11-21.md"
_CHAIN = "benchmarks/chain_epyc-2core_2026-11-21.md"
_FETCHING = "benchmarks/fetching_epyc-2core_2026-11-21.md"
_PRINTS = "benchmarks/fingerprints_epyc-2core_2026-11-21.md"
_HASHES = "benchmarks/hamming_epyc-2core_2026-11-21.md"
_METACLIP = "MetaCLIP (arXiv 2309.16671)"
_GUESS = "assumed"


_MOST = 1e15
"""Most of anything that a plan may assume: beyond it the arithmetic would leave the numbers."""


def _value(default: float, unit: str, about: str, source: str, most: float = _MOST) -> Any:
    return field(default=default, metadata={"min": 0.0, "max": most, "unit": unit, "help": about, "source": source})


def _share(default: float, about: str, source: str) -> Any:
    return _value(default, "", about, source, most=1.0)


@dataclass(frozen=True)
class Crawl:
    """One monthly crawl of Common Crawl."""

    pages: float = _value(2.64e9, "pages", "pages of a crawl", "Common Crawl, December 2024")
    new_share: float = _share(0.4, "share of a further crawl's pages that are new", "Common Crawl, December 2024")
    hosts: float = _value(47.5e6, "hosts", "hosts of a crawl", "Common Crawl, December 2024")
    wat_bytes_a_page: float = _value(6_600, "bytes", "compressed WAT a page", "Common Crawl, September 2016")
    candidates_a_page: float = _value(5.2, "candidates", "images with a text a page", "88 of 17 real pages (2015)")


@dataclass(frozen=True)
class Shares:
    """What is left after each stage, of what came in."""

    extract: float = _share(0.6, "addresses that can be fetched, equal pairs merged", _GUESS)
    filter_text: float = _share(0.3, "English and more than a file's name", _GUESS)
    match: float = _share(0.5, "captions that hold a query", _METACLIP)
    fetch: float = _share(0.84, "images that still are there", "img2dataset, issue 277: LAION-400M after 18 months")
    filter_image: float = _share(0.9, "large and varied enough", _GUESS)
    dedup: float = _share(0.8, "not a near-duplicate of another", _GUESS)
    overlap: float = _share(0.99, "in no evaluation set", _GUESS)


@dataclass(frozen=True)
class Matches:
    """How matches spread over queries: shares proportional to 1 / (rank + 1,000)^2.

    So spread, 16,000 of the 386,000 queries that match anything hold 94.4 % of 5.6 billion matches, and the 16,000th
    has 19,400; MetaCLIP reports 94.5 % and 20,000. Its result, 400 million pairs of 1.6 billion, then says how many of
    a pair's matches choose independently.
    """

    num_queries: float = _value(386_000, "queries", "queries that match anything", _METACLIP, most=1e7)
    a_pair: float = _value(3.5, "matches", "matches of a pair", _METACLIP)
    independent_a_pair: float = _value(
        2.39,
        "matches",
        "of these, as many as choose independently",
        f"{_METACLIP}: 400 million of 1.6 billion at 20,000",
    )


@dataclass(frozen=True)
class Rates:
    """Core-seconds of each stage."""

    extract_s_a_gb: float = _value(38.0, "core-s", "a GB of compressed WAT", _HERE)
    filter_text_s: float = _value(2.9, "core-s", "a million pairs, nearly all in English", _HERE)
    match_s: float = _value(5.6, "core-s", "a million pairs", _HERE)
    balance_s: float = _value(2.9, "core-s", "a million pairs", _HERE)
    fetch_s: float = _value(1_700.0, "core-s", "a million images: network, decoding, resizing", _FETCHING)
    filter_image_s: float = _value(4.2, "core-s", "a million images", _CHAIN)
    fingerprint_s: float = _value(670.0, "core-s", "a million images of 512 pixels at most", _PRINTS)
    dedup_s: float = _value(9.0, "core-s", "a million images, but for comparing them", _HASHES)
    dedup_pairs_s: float = _value(0.2, "core-s", "a million images compared with another million", _HASHES)
    overlap_s: float = _value(7.6, "core-s", "a million images", _CHAIN)
    pack_s: float = _value(97.0, "core-s", "a million images of 256 pixels at most", _CHAIN)


@dataclass(frozen=True)
class Sizes:
    """Bytes on disk, as Parquet or tar, of what a stage writes for each row that comes in."""

    extract: float = _value(152, "bytes", "a candidate, found and merged", _HERE)
    filter_text: float = _value(81, "bytes", "a pair", _HERE)
    match: float = _value(301, "bytes", "a pair, with its matches", _HERE)
    balance: float = _value(170, "bytes", "a pair", _HERE)
    image: float = _value(63_000, "bytes", "a stored image", "a public copy of LAION-400M: 4.41 TB of 69.9 million")
    body: float = _value(100_000, "bytes", "a body on the wire", _GUESS)
    facts: float = _value(764, "bytes", "of all later tables, an image", _CHAIN)


@dataclass(frozen=True)
class Web:
    """How fast the web may be asked."""

    busiest_host_share: float = _share(0.01, "of all images lie on one host", _GUESS)
    request_s: float = _value(0.5, "s", "a request takes on its connection", _GUESS)


@dataclass(frozen=True)
class Machine:
    """What the run has."""

    cores: float = _value(64, "cores", "at work at once", _GUESS)
    network_gbit_s: float = _value(10, "Gbit/s", "into the machines", _GUESS)


@dataclass(frozen=True)
class Prices:
    """Of a cloud, in US dollars."""

    core_hour: float = _value(0.04, "$", "a core-hour", _GUESS)
    disk_gb_month: float = _value(0.023, "$", "a GB and month of object storage", _GUESS)
    in_gb: float = _value(0.0, "$", "a GB that comes in", _GUESS)


@dataclass(frozen=True)
class Assumptions:
    """All that a plan rests on but the recipe."""

    crawl: Crawl = field(default_factory=Crawl)
    shares: Shares = field(default_factory=Shares)
    matches: Matches = field(default_factory=Matches)
    rates: Rates = field(default_factory=Rates)
    sizes: Sizes = field(default_factory=Sizes)
    web: Web = field(default_factory=Web)
    machine: Machine = field(default_factory=Machine)
    prices: Prices = field(default_factory=Prices)


def rows(assumptions: Assumptions) -> list[tuple[str, float, str, str, str]]:
    """Return (name, value, unit, what it is, source) of every assumption; a value that was changed says so."""
    found = []
    for section in fields(assumptions):
        values = getattr(assumptions, section.name)
        for each in fields(values):
            value = getattr(values, each.name)
            source = each.metadata["source"] if value == each.default else "given"
            found.append((f"{section.name}.{each.name}", value, each.metadata["unit"], each.metadata["help"], source))
    return found

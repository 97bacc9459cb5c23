"""Small dumps for the tests of `queries`, as MediaWiki writes them."""

from __future__ import annotations

import bz2
import gzip
from collections.abc import Iterable
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

NAMESPACES = {-1: "Special", 0: "", 1: "Talk", 4: "Wikipedia", 6: "File", 14: "Category"}


def header(
    version: str = "0.11", language: str = "en", namespaces: dict[int, str] | None = None, case: str = "first-letter"
) -> str:
    """Return a dump's head, up to its first page."""
    names = "".join(
        f'<namespace key="{key}" case="first-letter">{name}</namespace>\n'
        for key, name in (namespaces or NAMESPACES).items()
    )
    return (
        f'<mediawiki xmlns="http://www.mediawiki.org/xml/export-{version}/" version="{version}"'
        f' xml:lang="{language}">\n'
        f"<siteinfo><sitename>Test</sitename><case>{case}</case><namespaces>\n{names}</namespaces></siteinfo>\n"
    )


def page(
    title: str, text: str, *, page_id: int = 1, namespace: int = 0, redirect: str | None = None, model: str = "wikitext"
) -> str:
    """Return a page's XML."""
    to = f"<redirect title={quoteattr(redirect)} />" if redirect is not None else ""
    return (
        f"  <page>\n    <title>{escape(title)}</title>\n    <ns>{namespace}</ns>\n    <id>{page_id}</id>\n    {to}"
        f"<revision>\n<id>{page_id + 1000}</id><contributor><username>A</username><id>7</id></contributor>"
        f"<comment>[[x]]</comment><model>{model}</model><format>text/x-wiki</format>"
        f'<text bytes="1" xml:space="preserve">{escape(text)}</text></revision>\n  </page>\n'
    )


def dump(pages: Iterable[str], **head: str) -> bytes:
    """Return a whole dump."""
    return (header(**head) + "".join(pages) + "</mediawiki>\n").encode()  # type: ignore[arg-type]


def multistream(pages: list[str], a_stream: int = 2) -> bytes:
    """Return a dump as bz2 streams one after the other: the head, some pages each, the end."""
    parts = ["".join(pages[start : start + a_stream]) for start in range(0, len(pages), a_stream)]
    return b"".join(bz2.compress(part.encode()) for part in (header(), *parts, "</mediawiki>\n"))


def write_all(folder: Path, pages: list[str]) -> list[Path]:
    """Write one dump in each form it can have: XML, bz2 of one stream, of many, gzip."""
    whole = dump(pages)
    forms = {
        "a.xml": whole,
        "a.xml.bz2": bz2.compress(whole),
        "multi.xml.bz2": multistream(pages),
        "a.xml.gz": gzip.compress(whole),
    }
    for name, data in forms.items():
        (folder / name).write_bytes(data)
    return [folder / name for name in forms]


def zstd(*frames: bytes) -> bytes:
    """Return each piece as a zstd frame, one after the other."""
    import pyarrow as pa

    return b"".join(pa.Codec("zstd").compress(frame, asbytes=True) for frame in frames)


def forms(pages: list[str]) -> dict[str, bytes]:
    """Return a dump in every form that can be read, by file name."""
    whole = dump(pages)
    cuts = [whole[start : start + 700] for start in range(0, len(whole), 700)]
    bzip2 = {f"level{level}.xml.bz2": bz2.compress(whole, level) for level in (1, 9)}
    return {
        "a.xml": whole,
        **bzip2,
        "pages.xml.bz2": multistream(pages),
        "cut.xml.bz2": b"".join(bz2.compress(cut) for cut in cuts),
        "a.xml.gz": gzip.compress(whole),
        "members.xml.gz": b"".join(gzip.compress(cut) for cut in cuts),
        "a.xml.zst": zstd(whole),
        "frames.xml.zst": zstd(*cuts),
    }

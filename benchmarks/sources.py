"""Real archives and pages read by us, by warcio with lxml, and where they differ by Chromium: counts, page by page.

    python -m benchmarks.sources WIT_DATA --peers PEERS_PYTHON [--chromium PATH]

PEERS_PYTHON has warcio and lxml. Every file under WIT_DATA/webarchive, and every .html under WIT_DATA/html, is read.
Counted on each page are <img> elements, those with an alt, those whose alt says something, with a title, with a
srcset, and <picture> elements. Chromium gets each page as we decoded it, its scripts forbidden by a policy; what it
keeps as text in <noscript> is counted as elements, as it is by the others.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

COUNTED = ("img", "alt", "alt text", "title", "srcset", "picture")
_HTML_TYPES = ("text/html", "application/xhtml+xml")
_VIEW = ["--headless", "--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND", "--dump-dom"]
_DOCTYPE = re.compile(r"\A\s*(?:<!--.*?-->\s*)*(?:<!doctype[^>]*>)?", re.IGNORECASE | re.DOTALL)
_POLICY = '<meta http-equiv="Content-Security-Policy" content="script-src \'none\'">'


class _Tags(HTMLParser):
    """Counts the images of a serialised DOM."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.counts.update(_counted(tag, dict(attrs)))


def _counted(tag: str, attributes: dict[str, Any]) -> Iterator[str]:
    if tag == "picture":
        yield "picture"
    if tag == "img":
        yield "img"
        yield from (name for name in ("alt", "title", "srcset") if name in attributes)
        if (attributes.get("alt") or "").strip():
            yield "alt text"


def _lxml_counts(body: bytes) -> Counter[str]:
    from lxml import etree, html

    counts: Counter[str] = Counter()
    try:
        document = html.document_fromstring(body or b"<p>", parser=html.HTMLParser(huge_tree=True))
    except (etree.ParserError, ValueError):
        return counts
    for element in document.iter("img", "picture"):
        counts.update(_counted(element.tag, dict(element.attrib)))
    return counts


def peer_pages(path: str) -> dict[str, Any]:
    """Return the counts of each page of a file by warcio and lxml, and where warcio gives up."""
    from warcio.archiveiterator import ArchiveIterator
    from warcio.exceptions import ArchiveLoadFailed

    if path.endswith(".html"):
        return {"records": 0, "pages": [_lxml_counts(Path(path).read_bytes())], "error": ""}
    pages, records, error = [], 0, ""
    with open(path, "rb") as file:
        try:
            for record in ArchiveIterator(file, arc2warc=True):
                records += 1
                status = record.http_headers.get_statuscode() if record.http_headers else ""
                media_type = (record.http_headers.get_header("Content-Type") or "") if record.http_headers else ""
                is_page = media_type.partition(";")[0].strip().lower() in _HTML_TYPES and status.startswith("2")
                if record.rec_type == "response" and is_page:
                    pages.append(_lxml_counts(record.content_stream().read()))
        except (ArchiveLoadFailed, EOFError, OSError, ValueError) as failure:
            error = f"{type(failure).__name__}: {failure}"
    return {"records": records, "pages": pages, "error": error}


def our_pages(path: Path) -> tuple[int, list[tuple[str, Counter[str]]], list[str]]:
    """Return the number of records, (markup, counts) of each page, and the faults of a file."""
    from pipelines.sources.archive import records
    from pipelines.sources.charset import decode
    from pipelines.sources.source import Fault
    from pipelines.sources.warc import MAX_PAGE_BYTES, page_markup

    if path.suffix == ".html":
        markup = decode(path.read_bytes(), None)
        return 0, [(markup, _our_counts(markup))], []
    pages, num_records, faults = [], 0, []
    for record in records(str(path), ("response",), MAX_PAGE_BYTES):
        if isinstance(record, Fault):
            faults.append(f"{record.detail} ({record.offset})")
            continue
        num_records += 1
        markup = page_markup(record)
        if isinstance(markup, Fault):
            faults.append(f"{markup.detail} ({markup.offset})")
        elif markup is not None:
            pages.append((markup.text, _our_counts(markup.text)))
    return num_records, pages, faults


def _our_counts(markup: str) -> Counter[str]:
    from selectolax.lexbor import LexborHTMLParser

    counts: Counter[str] = Counter()
    for element in LexborHTMLParser(markup).css("img, picture"):
        counts.update(_counted(element.tag or "", element.attributes))
    return counts


def chromium_counts(chromium: str, markup: str) -> Counter[str]:
    """Return the counts of Chromium's DOM of a page."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "page.html")
        doctype = _DOCTYPE.match(markup)
        start = doctype.end() if doctype else 0
        file.write_text(f"\ufeff{markup[:start]}{_POLICY}{markup[start:]}", "utf-8", "replace")
        command = [chromium, *_VIEW, f"--user-data-dir={folder}/profile", f"file://{file}"]
        shown = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=120).stdout
    tags = _Tags()
    tags.feed(shown)
    return tags.counts


def candidates(path: Path) -> Counter[str]:
    """Return how many images with a text we find in a file, by the attribute that the text comes from."""
    from pipelines.sources import page
    from pipelines.sources.charset import decode
    from pipelines.sources.source import Fault, Slice
    from pipelines.sources.warc import Warc

    if path.suffix == ".html":
        return Counter(each.attribute for each in page.parse(decode(path.read_bytes(), None), "http://x.example/")[1])
    found: Counter[str] = Counter()
    for links in Warc().findings(Slice(str(path))):
        if not isinstance(links, Fault):
            found.update(links.attributes[place] for place in links.attribute)
    return found


def main() -> None:
    """Print a table a kind of file, a row a file, and every page on which the counts differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--peers", required=True)
    parser.add_argument("--chromium", default="")
    options = parser.parse_args()
    archives = sorted(path for path in Path(options.data, "webarchive").rglob("*") if path.is_file())
    pages = sorted(Path(options.data, "html").rglob("*.html"))
    command = [options.peers, __file__, "peer", *map(str, [*archives, *pages])]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    peer = {path: json.loads(line) for path, line in zip([*archives, *pages], output.splitlines(), strict=True)}
    print("| file | records | pages | " + " | ".join(COUNTED) + " | candidates | faults |\n" + "|---" * 11 + "|")
    differences: list[str] = []
    total: Counter[str] = Counter()
    for path in [*archives, *pages]:
        num_records, found, faults = our_pages(path)
        ours = sum((counts for _, counts in found), Counter())
        theirs = peer[path]
        differences += _differences(path, found, num_records, theirs, options.chromium)
        offered = candidates(path)
        if path.suffix == ".html":
            total += ours + Counter({f"candidates: {name}": number for name, number in offered.items()})
            continue
        cells = [num_records, len(found), *(ours[name] for name in COUNTED), offered.total(), "; ".join(faults)]
        print(f"| {path.relative_to(options.data / 'webarchive')} | " + " | ".join(map(str, cells)) + " |")
    print(f"\n{len(pages)} pages: {dict(total)}\n")
    print("\n".join(differences))


def _differences(
    path: Path, ours: list[tuple[str, Counter[str]]], num_records: int, theirs: dict[str, Any], chromium: str
) -> Iterator[str]:
    if theirs["error"] or num_records != theirs["records"] or len(ours) != len(theirs["pages"]):
        peer = f"{theirs['records']} records, {len(theirs['pages'])} pages {theirs['error']}"
        yield f"- {path.name}: ours {num_records} records, {len(ours)} pages; warcio {peer}"
    for number, ((markup, counts), peer) in enumerate(zip(ours, theirs["pages"], strict=False)):
        unequal = [name for name in COUNTED if counts[name] != peer.get(name, 0)]
        if unequal:
            dom = chromium_counts(chromium, markup) if chromium else Counter()
            shown = ", ".join(f"{name} {counts[name]}/{peer.get(name, 0)}/{dom[name]}" for name in unequal)
            yield f"- {path.parent.name}/{path.name} page {number}: ours/lxml/Chromium {shown}"


if __name__ == "__main__":
    if sys.argv[1:2] == ["peer"]:
        for each in sys.argv[2:]:
            print(json.dumps(peer_pages(each)))
    else:
        main()

"""How much markup is left in the prose of real pages: ours, gensim's and mwparserfromhell's, in one run.

    python -m benchmarks.markup DUMP.bz2 [...] [--peers PYTHON]

Each kind of markup is a regular expression; its rate is the characters that it matches per million characters of
prose. The patterns see what an article holds as text, too: `|x|` in a formula spelt in letters, `[[` in an article on
a programming language; so 0 is not within reach, and what is left of ours is printed for reading. Pages are the
articles of the dumps (namespace 0, no redirect). Speed is the best of three rounds over all pages in one process.
PYTHON is an interpreter that has the peers: `python3 -m venv peers && peers/bin/pip install gensim mwparserfromhell`.
"""

from __future__ import annotations

import argparse
import bz2
import json
import platform
import re
import subprocess
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks.peers import REPEATS
from queries import wikitext

PEERS_SCRIPT = Path(__file__).with_name("peers.py")

_ATTRIBUTES = "align|valign|colspan|rowspan|style|class|bgcolor|cellpadding|cellspacing|border|scope|width|height"
KINDS = {
    "template braces": r"\{\{+|\}\}+",
    "link brackets": r"\[\[+|\]\]+|\[(?=(?:https?:)?//)",
    "pipes": r"\|",
    "table marks": r"(?m)\{\||\|\}|^[ \t]*(?:\|-|\|\+|!)|!!|\|\|",
    "apostrophe runs": r"''+",
    "HTML tags": r"</?[A-Za-z][^<>\n]{0,500}>|<!--|-->",
    "references": r"(?i)<ref\b|</ref>|\bref +name *=|\bcite (?:web|book|news|journal)\b",
    "entities": r"&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});",
    "addresses": r"(?i)\b(?:https?|ftp)://[^\s\[\]<>\"|]*",
    "link prefixes": r"(?i)\b(?:file|image|category|media|wikt|:?[a-z]{2}):(?=[^\s/0-9])(?<![0-9]:)",
    "magic words": r"__[A-Z]{3,30}__",
    "attributes": rf"(?i)\b(?:{_ATTRIBUTES}) *= *(?:\"[^\"\n]{{0,100}}\"|[\w#%]+)",
    "image options": r"(?i)(?:^|\|)[ \t]*(?:thumb|frame|left|right|center|upright|[0-9]{1,4}(?:x[0-9]+)?px)(?=\|)",
    "headings and lists": r"(?m)^[ \t]*(?:==+|[*#:;]+)|==+[ \t]*$",
}
"""Kinds of markup, and what one looks like in prose that still holds it."""


@dataclass(frozen=True)
class Prose:
    """The prose that one tool gives for the pages, in their order."""

    tool: str
    texts: list[str]
    seconds: float


def articles(dump: Path) -> Iterator[tuple[str, str]]:
    """Yield (title, wikitext) of a dump's articles: namespace 0, no redirect."""
    title, namespace, redirect, text = "", "", False, ""
    with bz2.open(dump) as file:
        for _, element in ElementTree.iterparse(file):
            name = element.tag.rpartition("}")[2]
            if name == "title":
                title = element.text or ""
            elif name == "ns":
                namespace = element.text or ""
            elif name == "redirect":
                redirect = True
            elif name == "text":
                text = element.text or ""
            elif name == "page":
                if namespace == "0" and not redirect:
                    yield title, text
                redirect = False
                element.clear()


def ours(wikitexts: list[str]) -> Prose:
    """Return our prose of the pages, all in one call, as the counter of words makes it."""
    pages = [text.encode() for text in wikitexts]
    text = np.frombuffer(b"".join(pages), np.uint8)
    offsets = np.cumsum([0, *map(len, pages)], dtype=np.int64)
    convert = wikitext.Prose()
    seconds = []
    for _ in range(REPEATS + 1):  # the first loads or compiles the machine code
        started = time.perf_counter()
        prose, bounds = convert(text, offsets)
        seconds.append(time.perf_counter() - started)
    texts = [prose[start:end].tobytes().decode() for start, end in pairwise(bounds)]
    return Prose("wit", texts, min(seconds[1:]))


def peers(python: str, tool: str, wikitexts: list[str]) -> Prose:
    """Return a peer's prose of the pages, made by another interpreter."""
    with tempfile.TemporaryDirectory() as folder:
        pages, out = Path(folder, "pages.jsonl"), Path(folder, "prose.jsonl")
        pages.write_text("".join(json.dumps(text) + "\n" for text in wikitexts))
        command = [python, str(PEERS_SCRIPT), "prose", tool, str(pages), str(out)]
        result = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        texts = [json.loads(line) for line in out.read_text().splitlines()]
    return Prose(f"{tool} {result['version']}", texts, result["seconds"])


def residue(texts: list[str]) -> dict[str, int]:
    """Return the characters of markup by kind, and under "any" those of all kinds together, each counted once."""
    counts = dict.fromkeys([*KINDS, "any"], 0)
    for text in texts:
        marked = bytearray(len(text))
        for kind, pattern in KINDS.items():
            for match in re.finditer(pattern, text):
                counts[kind] += match.end() - match.start()
                marked[match.start() : match.end()] = b"\1" * (match.end() - match.start())
        counts["any"] += marked.count(1)
    return counts


def table(proses: list[Prose], num_bytes: int) -> Iterator[str]:
    """Yield the lines of the Markdown table: a column a tool."""
    yield "| characters per million of prose | " + " | ".join(each.tool for each in proses) + " |"
    yield "|---" * (len(proses) + 1) + "|"
    sizes = [sum(map(len, each.texts)) for each in proses]
    counts = [residue(each.texts) for each in proses]
    for kind in [*KINDS, "any"]:
        rates = [1e6 * count[kind] / size for count, size in zip(counts, sizes, strict=True)]
        yield f"| {kind} | " + " | ".join(f"{rate:,.1f}" for rate in rates) + " |"
    yield "| characters of prose | " + " | ".join(f"{size:,}" for size in sizes) + " |"
    speeds = [num_bytes / each.seconds / 1e6 for each in proses]
    yield "| MB/s of wikitext, one core | " + " | ".join(f"{speed:,.1f}" for speed in speeds) + " |"


def left_over(titles: list[str], texts: list[str]) -> Iterator[str]:
    """Yield a line for each piece of markup in the texts: kind, title, the piece with what is around it."""
    for title, text in zip(titles, texts, strict=True):
        for kind, pattern in KINDS.items():
            for match in re.finditer(pattern, text):
                around = text[max(0, match.start() - 30) : match.end() + 30].replace("\n", "\u21b5")
                yield f"{kind:<20}{title:<30.28}{around}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dumps", type=Path, nargs="+")
    parser.add_argument("--peers", default="peers/bin/python", help="interpreter that has the peers")
    options = parser.parse_args()
    pages = [page for dump in options.dumps for page in articles(dump)]
    titles, wikitexts = [title for title, _ in pages], [text for _, text in pages]
    num_bytes = sum(len(text.encode()) for text in wikitexts)
    proses = [ours(wikitexts), *(peers(options.peers, tool, wikitexts) for tool in ("gensim", "mwparserfromhell"))]
    python = platform.python_version()
    print(f"{platform.machine()}, Python {python}; {len(pages)} articles, {num_bytes:,} B of wikitext\n")
    print("\n".join(table(proses, num_bytes)))
    print("\nLeft in ours:\n")
    print("\n".join(f"    {line}" for line in left_over(titles, proses[0].texts)))


if __name__ == "__main__":
    main()

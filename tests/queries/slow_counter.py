"""A second, slow and obvious counter of a dump's words and bigrams, written apart from `queries` to check it.

It shares no code with `queries` or `wit.text`: XML through ElementTree, wikitext by peeling the innermost markup with
plain regular expressions until nothing changes, words by looking at each character's Unicode category.
"""

from __future__ import annotations

import bz2
import html
import re
import unicodedata
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

GONE = (
    "ref|references|math|gallery|source|syntaxhighlight|timeline|score|imagemap|hiero|chem|ce|graph|script|style|"
    "includeonly"
)
HTML = (
    "b|big|blockquote|br|center|cite|code|dd|del|div|dl|dt|em|font|h[1-6]|hr|i|ins|kbd|li|noinclude|ol|onlyinclude|p|poem|"
    "q|rp|rt|ruby|s|samp|section|small|span|strike|strong|sub|sup|table|tbody|td|th|thead|tr|tt|u|ul|var|wbr|abbr|bdi|ref|math"
)
BLOCK = "blockquote|center|dd|div|dl|dt|h[1-6]|hr|li|ol|p|poem|table|tbody|td|th|thead|tr|ul"


def articles(dump: Path) -> Iterator[tuple[str, str]]:
    """Yield (title, wikitext) of the pages of namespace 0 that are no redirects."""
    root = ElementTree.fromstring(bz2.decompress(dump.read_bytes()))
    for page in root.iter():
        if page.tag.endswith("}page"):
            parts = {part.tag.rpartition("}")[2]: part for part in page.iter()}
            if parts["ns"].text == "0" and "redirect" not in parts:
                yield next(part.text for part in page if part.tag.endswith("}title")) or "", parts["text"].text or ""


def peel(pattern: str, by: str, text: str, flags: int = re.DOTALL) -> str:
    """Replace until nothing changes."""
    before = None
    while before != text:
        before, text = text, re.sub(pattern, by, text, flags=flags | re.IGNORECASE)
    return text


def plain_lines(text: str) -> list[str]:
    """Return the prose of a page, a line each."""
    kept: list[str] = []

    def keep(match: re.Match[str]) -> str:
        kept.append(match.group(2))
        return f"\x02{len(kept) - 1}\x02"

    text = re.sub(r"<!--.*?(-->|\Z)", "", text, flags=re.DOTALL)
    text = re.sub(r"<(nowiki|pre)(?:\s[^<>]*)?>(.*?)</\1\s*>", keep, text, flags=re.DOTALL | re.IGNORECASE)
    text = re.sub(rf"<({GONE})(\s[^<>]*)?/>", "", text, flags=re.IGNORECASE)
    text = re.sub(rf"<({GONE})(\s[^<>]*)?>.*?</\1\s*>", "", text, flags=re.DOTALL | re.IGNORECASE)
    before = None
    while before != text:
        before = text
        text = peel(r"\{\{\{[^{}]*\}\}\}", "", text)
        text = peel(r"\{\{(?:[^{}]|\{(?!\{)(?!\|)|(?<!\})\}(?!\}))*?\}\}", "", text)
        text = re.sub(r"^[:*# ]*\{\|(?:(?!^[:*# ]*\{\|).)*?^\s*\|\}", "", text, flags=re.DOTALL | re.MULTILINE)
    vanishing = r"(?:file|image|category|[a-z]{2,3}|be-x-old|simple|zh-[a-z-]+)\s*:"
    before = None
    while before != text:
        before = text
        text = re.sub(
            rf"\[\[\s*{vanishing}(?:[^\[\]]|(?<!\[)\[(?!\[)[^\[\]]*\](?!\]))*\]\]", "", text, flags=re.IGNORECASE
        )
        text = re.sub(rf"\[\[(?!\s*{vanishing})[^\[\]|]*\|([^\[\]]+)\]\]", r"\1", text, flags=re.IGNORECASE)
        text = re.sub(rf"\[\[(?!\s*{vanishing}):?([^\[\]|]*)\|?\]\]", r"\1", text, flags=re.IGNORECASE)
    text = re.sub(
        r"\[(?:https?:|ftp:|mailto:|news:)?//[^\s\[\]<>\"]+[ \t]*([^\[\]\n]*)\]", r"\1", text, flags=re.IGNORECASE
    )
    text = re.sub(r"\b(?:https?|ftp)://[^\s\[\]<>\"]+", "", text, flags=re.IGNORECASE)
    text = re.sub(r"<br(\s[^<>]*)?/?>", " ", text, flags=re.IGNORECASE)
    text = re.sub(rf"</?({BLOCK})(\s[^<>]*)?/?>", "\n\n", text, flags=re.IGNORECASE)
    text = re.sub(rf"</?({HTML}|{GONE})(\s[^<>]*)?/?>", "", text, flags=re.IGNORECASE)
    text = re.sub(r"''+", "", text)
    text = re.sub(r"__[A-Z]+__", "", text)
    text = re.sub(r"^[ \t]*(\||----|\{\|).*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"^[ \t]*(=+[^\n]*=+|[*#:;][^\n]*)[ \t]*$", r"\n\1\n", text, flags=re.MULTILINE)
    text = re.sub("\x02(\\d+)\x02", lambda match: kept[int(match.group(1))], text)
    return [html.unescape(paragraph.replace("\n", " ")) for paragraph in re.split(r"\n\s*\n", text)]


def words(line: str) -> list[str]:
    """Return a line's words; None's place, a break in a run of words, is held by the possessive "'s"."""
    line = unicodedata.normalize("NFKC", line)
    line = unicodedata.normalize("NFKC", "".join("'" if char in "’‘ʼʹ＇′´`" else char for char in line).casefold())
    found: list[str] = []
    word = ""
    for char in f"{line} ":
        if unicodedata.category(char)[0] in "LMN":
            word += char
        elif char in "'’‘ʼʹ＇′´`":
            word += "'"
        else:
            found += split_apostrophes(word)
            word = ""
    return found


def split_apostrophes(run: str) -> list[str]:
    """Split a run of letters and apostrophes: they stay between letters only, "'s" at the end stands alone."""
    found: list[str] = []
    for index, part in enumerate(run.split("'")):
        if index and part == "s":
            found.append("'s")
        elif part and index and found and found[-1] != "" and found[-1] != "'s":
            found[-1] += "'" + part
        else:
            found.append(part)
    return [part for part in found if part]


def count(dump: Path) -> tuple[dict[str, Counter[str]], Counter[tuple[str, str]]]:
    """Return the words of each article, and the bigrams of all."""
    by_article: dict[str, Counter[str]] = {}
    bigrams: Counter[tuple[str, str]] = Counter()
    for title, text in articles(dump):
        counter = by_article.setdefault(title, Counter())
        for line in plain_lines(text):
            found = words(line)
            counter.update(word for word in found if word != "'s")
            bigrams.update((a, b) for a, b in pairwise(found) if "'s" not in (a, b))
    return by_article, bigrams

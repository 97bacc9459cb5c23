"""A second, slow and obvious counter of a dump's words and bigrams, written apart from `queries` to check it.

It shares no code with `queries` or `wit.text`, nor with `slow_wikitext`, which makes the same passes: XML through
ElementTree, wikitext by peeling the innermost markup with plain regular expressions until nothing changes, words by
looking at each character's Unicode category.
"""

from __future__ import annotations

import bz2
import html
import re
import unicodedata
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import regex

GAP = "\x01"  # stands where something was cut
STASH = "\x02"  # around the number of a text that is no markup

GONE = (
    "ref|references|math|gallery|source|syntaxhighlight|timeline|score|imagemap|hiero|chem|ce|graph|script|style|"
    "includeonly|indicator"
)
BLOCK = "blockquote|center|dd|div|dl|dt|h[1-6]|hr|li|ol|p|poem|table|tbody|td|th|thead|tr|ul"
INLINE = (
    "b|big|cite|code|del|em|font|i|ins|kbd|noinclude|onlyinclude|q|rp|rt|ruby|s|samp|section|small|span|strike|strong|"
    "sub|sup|tt|u|var|wbr|abbr|bdi"
)
VANISHING = rf"[\s{GAP}]*(?:file|image|category|[a-z]{{2,3}}|be-x-old|simple|zh-[a-z-]+)\s*:"


@dataclass(frozen=True)
class Page:
    """A page of a dump."""

    title: str
    namespace: int
    text: str
    is_redirect: bool


@dataclass
class Counts:
    """How often articles hold each word, and each two words that follow each other in a line."""

    words: Counter[str] = field(default_factory=Counter)
    bigrams: Counter[tuple[str, str]] = field(default_factory=Counter)


def read_pages(dump: Path) -> Iterator[Page]:
    """Yield the pages of a dump in bzip2, in its order."""
    for page in ElementTree.fromstring(bz2.decompress(dump.read_bytes())).iter():
        if page.tag.endswith("}page"):
            parts = {part.tag.rpartition("}")[2]: part.text or "" for part in page.iter()}
            yield Page(parts["title"], int(parts["ns"]), parts["text"], "redirect" in parts)


def count(pages: Iterator[Page]) -> Counts:
    """Return the words and bigrams of the articles among the pages: namespace 0, no redirects."""
    counts = Counts()
    for page in pages:
        if page.namespace == 0 and not page.is_redirect:
            for line in plain_lines(page.text):
                found = words(line)
                counts.words.update(word for word in found if word != "'s")
                counts.bigrams.update(pair for pair in pairwise(found) if "'s" not in pair)
    return counts


def plain_lines(text: str) -> list[str]:
    """Return the prose of a page, a line each."""
    stash: list[str] = []
    text = _without_links(_without_templates(_without_hidden_tags(text, stash)))
    text = _in_paragraphs(_without_quotes(_without_tags(text)))
    text = re.sub("__[A-Z]+__", "", text)
    text = re.sub(f"{STASH}(\\d+){STASH}", lambda match: stash[int(match[1])].replace("\n", "\n\n"), text)
    return [html.unescape(" ".join(line.split("\n"))) for line in re.split(r"\n\s*\n", text.replace(GAP, " "))]


def _peeled(pattern: str, by: str, text: str) -> str:
    """Replace until nothing changes."""
    before = None
    while before != text:
        before, text = text, re.sub(pattern, by, text, flags=re.DOTALL | re.MULTILINE | re.IGNORECASE)
    return text


def _without_hidden_tags(text: str, stash: list[str]) -> str:
    comment = r"<!--(?:(?!-->).)*(?:-->|\Z)"
    gone = rf"<(?P<gone>{GONE})(?=[\s/>])[^<>]*(?:(?<=/)>|(?<!/)>.*?</(?P=gone)\s*>)"
    literal = r"<(?P<literal>nowiki|pre)(?=[\s/>])[^<>]*(?:(?<=/)>|(?<!/)>(?P<text>.*?)</(?P=literal)\s*>)"

    def replacement(match: re.Match[str]) -> str:
        if match["literal"]:
            stash.append(match["text"] or "")
            return f"{STASH}{len(stash) - 1}{STASH}"
        return GAP if match["gone"] else ""

    pattern = rf"^[ \t]*(?:{comment}[ \t]*)+(?:\n|\Z)|{comment}|{gone}|{literal}"
    return re.sub(pattern, replacement, text, flags=re.DOTALL | re.MULTILINE | re.IGNORECASE)


def _without_templates(text: str) -> str:
    text = re.sub(r"(?<!\{)\{\{\s*!\s*\}\}(?!\})", "|", text)
    text = re.sub(r"(?<!\{)\{\{\s*=\s*\}\}(?!\})", "=", text)
    text = re.sub(r"(?<!\{)\{\{\s*'(s?)\s*\}\}(?!\})", "’\\1", text)  # not read as a mark
    front = rf"[:*#; \t{GAP}]*"
    before = None
    while before != text:
        before = text
        text = _peeled(r"\{\{\{[^{}]*\}\}\}", GAP, text)
        text = _peeled(r"\{\{(?:[^{}]|\{(?![{|])|(?<!\})\}(?!\}))*?\}\}", GAP, text)
        text = _peeled(rf"^{front}\{{\|(?:(?!^{front}\{{\|).)*?^[ \t]*\|\}}", GAP, text)
    return text.replace("{{", "")


def _without_links(text: str) -> str:
    before = None
    while before != text:
        before = text
        text = _peeled(rf"\[\[{VANISHING}(?:[^\[\]]|(?<!\[)\[(?!\[)[^\[\]]*\](?!\]))*\]\]", GAP, text)
        text = _peeled(rf"\[\[(?!{VANISHING})[^\[\]|]*\|(?![\s{GAP}]*\]\])([^\[\]]+)\]\]", r"\1", text)
        text = _peeled(rf"\[\[(?!{VANISHING}):?([^\[\]|]*)(?:\|[\s{GAP}]*)?\]\]", r"\1", text)
    address = rf"[^\s\[\]<>\"{STASH}]"
    text = _peeled(rf"\[(?:https?:|ftp:|mailto:|news:)?//{address}+[ \t]*([^\[\]\n]*)\]", r"\1", text)
    return _peeled(rf"\b(?:https?|ftp)://{address}*", "", text)


def _without_tags(text: str) -> str:
    def verses(match: re.Match[str]) -> str:
        return "\n\n" + match[1].replace("\n", "\n\n") + f"\n\n{GAP}"

    text = re.sub(r"<poem(?:\s[^<>]*)?>(.*?)</poem\s*>", verses, text, flags=re.DOTALL | re.IGNORECASE)
    text = _peeled(r"<br(\s[^<>]*)?/?>", GAP, text)
    text = _peeled(rf"</?(?:{BLOCK})(?:\s[^<>]*)?/?>", f"\n\n{GAP}", text)
    text = _peeled(rf"^</?(?:{INLINE})(?:\s[^<>]*)?/?>", GAP, text)
    return _peeled(rf"</?(?:{INLINE}|{GONE})(?:\s[^<>]*)?/?>", "", text)


def _without_quotes(text: str) -> str:
    """Drop all runs of apostrophes; of the three in "''Iliad'''s" the last is text."""
    return re.sub("''+", "", re.sub(r"(?<!')''(?!')([^'\n]+)'''(?=s\b)", r"\1'", text))


def _in_paragraphs(text: str) -> str:
    """Part the lines that are none of a paragraph from those around them by empty lines."""
    blanks = rf"(?:[^\S\n]|{GAP})*"
    text = re.sub(rf"^{blanks}(?:\||\{{\|).*$", "", text, flags=re.MULTILINE)  # rows of broken tables
    text = re.sub(rf"^({blanks};.*?)(?: :|: )", r"\1\n:", text, flags=re.MULTILINE)  # a term and its definition
    alone = rf"{blanks}(?:=.*=|[*#:;].*|----.*){blanks}| .*"
    return re.sub(f"^({alone})$", r"\n\1\n", text, flags=re.MULTILINE)


APOSTROPHES = str.maketrans(dict.fromkeys("‘’ʹʼ′´`＇\u1ffd", "'"))


def words(line: str) -> list[str]:
    """Return a line's words; the possessive "'s" stands among them."""
    line = regex.sub(r"\p{Default_Ignorable_Code_Point}", "", line).translate(APOSTROPHES)
    line = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", line).casefold()).translate(APOSTROPHES)
    found: list[str] = []
    between = ""
    for part, inside in _parts(line):
        if not inside:
            between = part
        elif part == "s" and between.endswith("'"):
            found.append("'s")
        elif between == "'" and found and found[-1] != "'s":
            found[-1] += f"'{part}"
        else:
            found.append(part)
    return found


def _parts(line: str) -> Iterator[tuple[str, bool]]:
    """Yield by turns what stands between words, and words: a letter or digit, and those and marks that follow it."""
    part, inside = "", False
    for char in line:
        kind = unicodedata.category(char)[0]
        if (kind in "LN" or (kind == "M" and inside)) != inside:
            yield part, inside
            part, inside = "", not inside
        part += char
    yield part, inside

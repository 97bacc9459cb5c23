"""The rules of `queries.wikitext` again, as regular expressions over str: slower, shorter, the judge of its kernels.

What is removed and what is kept, that module's docstring says.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from queries.wikitext import LinkRules

OPAQUE_TAGS = (
    "ce", "categorytree", "chem", "gallery", "graph", "hiero", "imagemap", "includeonly", "indicator", "inputbox",
    "mapframe", "maplink", "math", "ref", "references", "score", "script", "source", "style", "syntaxhighlight",
    "templatedata", "templatestyles", "timeline",
)  # fmt: skip
"""Tags that vanish with their content."""

LITERAL_TAGS = ("nowiki", "pre")
"""Tags whose content is text, whatever markup it seems to hold."""

_BLOCK = "blockquote center dd div dl dt h1 h2 h3 h4 h5 h6 hr li ol p poem table tbody td th thead tr ul"
BLOCK_TAGS = frozenset(_BLOCK.split())
"""Tags that end a line of prose."""

SPACE_TAGS = frozenset(("br",))

_INLINE = """
    abbr b bdi bdo big blink caption charinsert cite code col colgroup data del dfn em font i ins kbd langconvert
    languages mark meta noinclude onlyinclude phonos q rb rp rt rtc ruby s samp section small span strike strong sub sup
    time translate tt tvar u var wbr
"""
INLINE_TAGS = frozenset(_INLINE.split())

_STRIPPED = "\0"  # marks text that later passes must not read; XML cannot hold it
_PARTED = "\1"  # holds apostrophes apart that a cut brought together; XML cannot hold it either
_GAP = "\2"  # what was cut, but for comments; a space at last, where there is none on either side
_VERSE = "\3"  # a line end inside a poem
_BLANKS = "".join(filter(str.isspace, map(chr, range(0x3001)))) + _GAP
_CLOSING = tuple(".,;:!?)")  # follow a word without a space


def prose(wikitext: str, rules: LinkRules | None = None) -> list[str]:
    """Return the lines of prose of a page's wikitext; none is blank. Takes time linear in the text."""
    text, literals = _strip_tags("\n" + re.sub("[\0-\3]", "", wikitext))
    text = _drop_urls(_resolve_links(_cut_templates(text), rules or LinkRules()))
    return list(_lines(_drop_html(text), literals))


# Tags whose content is not wikitext.

_NAMES = (*OPAQUE_TAGS, *LITERAL_TAGS)
_OPENER = re.compile(rf"(?>(?:\n[ \t]*+)?)<!--|<(?:((?ai:{'|'.join(_NAMES)}))(?=[\s/>])[^<>]*+>)")
_CLOSERS = {name: re.compile(rf"</(?ai:{name})\s*+>") for name in _NAMES}
_SPACES = re.compile(r"[ \t]*+")
_LITERAL = re.compile(rf"{_STRIPPED}(\d+){_STRIPPED}")


def _strip_tags(text: str) -> tuple[str, list[str]]:
    """Return the text without comments and opaque tags, and with a mark for each literal, whose texts follow."""
    kept: list[str] = []
    literals: list[str] = []
    unclosed: set[str] = set()  # tags that close nowhere from here on: never sought twice
    position = 0
    while opener := _OPENER.search(text, position):
        kept.append(text[position : opener.start()])
        position = opener.end()
        name = (opener.group(1) or "").lower()
        if not name:
            position, alone = _comment_end(text, opener)
            kept.append("" if alone else opener.group().removesuffix("<!--"))
        elif opener.group().endswith("/>"):
            kept.append("" if name in LITERAL_TAGS else _GAP)
        elif name not in unclosed:
            closer = _CLOSERS[name].search(text, position)
            if closer is None:
                unclosed.add(name)
                continue
            if name in LITERAL_TAGS:
                kept.append(f"{_STRIPPED}{len(literals)}{_STRIPPED}")
                literals.append(text[position : closer.start()])
            else:
                kept.append(_GAP)
            position = closer.end()
    kept.append(text[position:])
    return _joined(kept), literals


def _comment_end(text: str, opener: re.Match[str]) -> tuple[int, bool]:
    """Return where a comment ends, and whether its line, which then goes whole, holds comments alone."""
    first = end = _after(text, "-->", opener.end())
    if not opener.group().startswith("\n"):
        return first, False
    while True:
        end = _match_end(_SPACES, text, end)
        if not text.startswith("<!--", end):
            break
        end = _after(text, "-->", end + 4)
    return (end, True) if text[end : end + 1] in ("", "\n") else (first, False)


def _after(text: str, mark: str, start: int) -> int:
    found = text.find(mark, start)
    return len(text) if found < 0 else found + len(mark)


def _joined(pieces: list[str]) -> str:
    """Join what is left around cuts, so that apostrophes on either side of one stay two marks.

    A gap stays where no white space or closing punctuation lies beside it, and at the front of a line.
    """
    joined: list[str] = []
    for piece in filter(None, pieces):
        last = joined[-1][-1] if joined else "\n"
        if piece == _GAP:
            if last not in (" ", "\t", _GAP):
                joined.append(piece)
            continue
        if last == _GAP and piece[0] in (" ", "\t", "\n", *_CLOSING) and (joined[-1][:-1] or joined[-2])[-1] != "\n":
            joined[-1:] = filter(None, [joined[-1][:-1]])
        elif piece[0] == last == "'":
            joined.append(_PARTED)
        joined.append(piece)
    return "".join(joined)


# Templates and tables.

_BRACES = re.compile(
    r"\{\{++|\{\||\}\}++|\n[ \t\2:*#;]*+\{\||\n[ \t\2]*+\|\}++"
)  # a literal first byte: 4 times as fast as ^


_SIGNS = {"!": "|", "=": "=", "'": "'", "'s": "'s"}
"""Templates that are a sign of their own, in nearly every edition."""
_LONGEST_SIGN = 16  # characters with its braces and the white space in them


@dataclass
class _Open:
    """An opener that waits for its closer."""

    start: int
    braces: int  # how many `{` are left of a template's run; 0 for a table


@dataclass
class _Nesting:
    """Matches braces and table marks in one walk; collects the outermost spans to cut."""

    text: str
    waiting: list[_Open] = field(default_factory=list)
    templates: int = 0
    spans: list[tuple[int, int, str]] = field(default_factory=list)
    bare: int = 0
    """Where a line's front ends of which nothing is left: blanks, list marks and templates."""

    @property
    def tables(self) -> int:
        return len(self.waiting) - self.templates

    def open(self, start: int, braces: int) -> None:
        self.waiting.append(_Open(start, braces))
        self.templates += braces > 0

    def _pop(self) -> _Open:
        opener = self.waiting.pop()
        self.templates -= opener.braces > 0
        return opener

    def _cut(self, start: int, end: int, fill: str = _GAP) -> None:
        while self.spans and self.spans[-1][0] >= start:
            self.spans.pop()
        self.spans.append((start, end, fill))
        if self.is_bare(start):
            self.bare = end

    def is_bare(self, position: int) -> bool:
        """Say whether nothing is left of a line's front up to a position."""
        while self.text[position - 1] in " \t\2:*#;" and position != self.bare:
            position -= 1
        return position == self.bare or self.text[position - 1] == "\n"

    def close_table(self, end: int) -> None:
        """Close the innermost table, giving up templates left open in it."""
        while self.waiting[-1].braces:
            self._pop()
        self._cut(self._pop().start, end)

    def close_braces(self, start: int, count: int) -> None:
        """Close templates (2 braces) and parameters (3) with a run of `}`, giving up tables left open in them."""
        while count >= 2 and self.templates:
            while not self.waiting[-1].braces:
                self._pop()
            opener = self.waiting[-1]
            used = min(count, opener.braces, 3)
            start, count = start + used, count - used
            opener.braces -= used
            first = opener.start + opener.braces
            short = used == 2 and start - first <= _LONGEST_SIGN
            self._cut(
                first, start, _SIGNS.get(self.text[first + 2 : start - 2].strip(" \t\n"), _GAP) if short else _GAP
            )
            if opener.braces < 2:  # a single brace is left over: text
                self.waiting.pop()
                self.templates -= 1


def _cut_templates(text: str) -> str:
    """Return the text without templates, parameters and tables; of a template left open only its braces go.

    A table's marks count at the start of a line only, that of its beginning also behind templates; the text must begin
    with a line end.
    """
    nesting = _Nesting(text)
    for match in _BRACES.finditer(text):
        mark, end = match.group(), match.end()
        if mark.startswith("{{"):
            nesting.open(match.start(), len(mark))
        elif mark.endswith("{|"):
            if mark[0] == "\n" or nesting.is_bare(match.start()):
                nesting.open(end - 2, 0)
        elif mark.startswith("}}"):
            nesting.close_braces(match.start(), len(mark))
        else:
            braces = mark.count("}")
            in_table = bool(nesting.waiting) and not nesting.waiting[-1].braces
            if nesting.tables and (in_table or braces == 1):
                nesting.close_table(end - braces + 1)
                braces -= 1
            nesting.close_braces(end - braces, braces)
    unclosed = [(opener.start, opener.start + opener.braces, "") for opener in nesting.waiting]
    return _without(text, sorted(nesting.spans + unclosed))


def _without(text: str, spans: list[tuple[int, int, str]]) -> str:
    if not spans:
        return text
    kept: list[str] = []
    position = 0
    for start, end, fill in spans:
        kept += (text[position:start], fill)
        position = end
    kept.append(text[position:])
    return _joined(kept)


# Links.

_PLAIN_LINK = re.compile(
    r"\[\[(?:[^\[\]|:]++\|(?=[\s\2]*+[^\s\2\[\]|])([^\[\]|]++)|([^\[\]|:]++))\]\]"
)  # nothing nested, no prefix: nearly all
_SCHEMES = ("http", "https", "ftp", "ftps", "gopher", "irc", "ircs", "sftp", "ssh", "svn", "git", "telnet", "nntp")
_LONGEST_SCHEME = max(map(len, _SCHEMES))
_LINK_MARK = re.compile(
    rf"\[\[|\]\]|\[(?:(?ai:(?:{'|'.join(_SCHEMES)})://|mailto:|news:|tel:)|//)[^\s\[\]<>\"\0]++[ \t]*+|\]"
)
_URL_REST = re.compile(r"[^\s\[\]<>\"\0]*+")


@dataclass
class _Link:
    """A `[[` that waits for its `]]`; its text is `pieces[first_piece:]`."""

    start: int
    first_piece: int
    holds_link: bool = False
    open_urls: int = 0


def _resolve_links(text: str, rules: LinkRules) -> str:
    """Return the text with each link replaced by what a reader sees of it."""
    text = _PLAIN_LINK.sub(lambda match: match[1] or match[2], text)
    pieces: list[str] = []
    stack: list[_Link] = [_Link(0, 0)]  # the page itself, then the links that are open
    position = 0
    for match in _LINK_MARK.finditer(text):
        pieces.append(text[position : match.start()])
        mark, position = match.group(), match.end()
        if mark == "[[":
            stack.append(_Link(position, len(pieces)))
        elif mark == "]]":
            if len(stack) > 1:
                _close_link(text, pieces, stack, rules)
        elif mark == "]":
            if stack[-1].open_urls:
                stack[-1].open_urls -= 1
            else:
                pieces.append(mark)
        elif mark[0] == "[":
            stack[-1].open_urls += 1
    pieces.append(text[position:])
    return "".join(pieces)


def _close_link(text: str, pieces: list[str], stack: list[_Link], rules: LinkRules) -> None:
    link = stack.pop()
    prefix = _PREFIX.match(text, link.start)
    name = prefix.group(1).strip(_BLANKS).replace("_", " ").lower() if prefix else ""
    if name in rules.vanishing or name in rules.interlanguage:
        pieces[link.first_piece :] = [_GAP]
    elif not link.holds_link:  # a link that holds links is text to MediaWiki: only its brackets go
        target, _, label = "".join(pieces[link.first_piece :]).partition("|")
        pieces[link.first_piece :] = [label if label.strip(_BLANKS) else target.strip(_BLANKS).removeprefix(":")]
    stack[-1].holds_link = True


_PREFIX = re.compile(r"[\s\2]*+([^\[\]|:{}<>\n]{1,60}):")


def _drop_urls(text: str) -> str:
    """Return the text without bare URLs."""
    kept: list[str] = []
    position, mark = 0, text.find("://")
    while mark >= 0:
        start = mark
        while start > position and mark - start <= _LONGEST_SCHEME and text[start - 1].isalpha():
            start -= 1
        if text[start:mark].lower() in _SCHEMES:
            kept.append(text[position:start])
            position = _match_end(_URL_REST, text, mark)
        mark = text.find("://", max(mark + 3, position))
    kept.append(text[position:])
    return "".join(kept)


def _match_end(pattern: re.Pattern[str], text: str, start: int) -> int:
    found = pattern.match(text, start)
    assert found is not None
    return found.end()


# HTML, apostrophes, entities, lines.

_TAG = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9]*+)(?=[\s/>])[^<>]*+>")
_QUOTES = re.compile(r"''++")
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_MAGIC_WORD = re.compile(r"__(?!_)(?>(?:[A-Z\x80-\U0010ffff]|_(?!_)){2,30})__")  # in any edition's language
_GAPS = re.compile(f"{_GAP}++")
_DEFINITION = re.compile(" :|: ")
_WORD = re.compile(r"[0-9A-Za-z\x80-\U0010ffff]")


def _drop_html(text: str) -> str:
    kept: list[str] = []
    position = 0
    verses: int | None = None  # where a poem begins among what is kept
    for match in _TAG.finditer(text):
        closing, name = match.group(1), match.group(2).lower()
        shown = _shown(text, match, name)
        if shown is None:
            continue
        kept.append(text[position : match.start()])
        position = match.end()
        if name == "poem" and closing and verses is not None:
            kept[verses:] = ["".join(kept[verses:]).replace("\n", _VERSE)]
            verses = None
        kept.append(shown)
        if name == "poem" and not closing and verses is None:
            verses = len(kept)
    kept.append(text[position:])
    return "".join(kept)


def _shown(text: str, tag: re.Match[str], name: str) -> str | None:
    """Return what is left of a tag; None when it is text."""
    if name in BLOCK_TAGS:
        return f"\n\n{_GAP}"
    if name not in INLINE_TAGS and name not in SPACE_TAGS and name not in _CLOSERS:
        return None
    start, end = tag.span()
    if name in SPACE_TAGS or text[start - 1] == "\n":
        return _GAP
    return _PARTED if text[start - 1 : start] == text[end : end + 1] == "'" else ""


def _lines(text: str, literals: list[str]) -> Iterator[str]:
    paragraph: list[str] = []
    parts = re.split("([\n\3])", text)
    for source, line_end in zip(parts[::2], [*parts[1::2], "\n"], strict=True):
        line = source.strip(_BLANKS)
        if _GAP in line:
            line = _GAPS.sub(_space, line)
        if "''" in line or _PARTED in line:
            line = _drop_quotes(line).replace(_PARTED, "")
        alone = _without_mark(line)
        if alone is None and (source[0:1] == " " or line_end == _VERSE):
            alone = [line]  # preformatted, or a verse
        if line and alone is None:
            paragraph.append(line)
            continue
        yield from _finished(" ".join(paragraph), literals)
        for part in alone or ():
            yield from _finished(part, literals)
        paragraph = []
    yield from _finished(" ".join(paragraph), literals)


def _space(gap: re.Match[str]) -> str:
    """Return a space for a gap inside a line without white space or closing punctuation beside it."""
    before, after = gap.string[gap.start() - 1], gap.string[gap.end()]
    return "" if before in " \t" or after in (" ", "\t", *_CLOSING) else " "


def _without_mark(line: str) -> list[str] | None:
    """Return the texts of a list item, heading or rule, none for a row of a broken table, None for other lines."""
    if line.startswith(";"):
        return _DEFINITION.split(line.lstrip("*#:; "), maxsplit=1)
    if line.startswith(("*", "#", ":")):
        return [line.lstrip("*#:; ")]
    if line.startswith(("{|", "|")):
        return []
    if line.startswith("----"):
        return [line.lstrip("-")]
    if len(line) > 2 and line[0] == line[-1] == "=":
        return [line.strip("=")]
    return None


def _finished(line: str, literals: list[str]) -> Iterator[str]:
    """Yield a line with its literals put back and entities decoded; several when a literal holds line ends.

    A line without a letter or digit is left over from what was cut.
    """
    if "__" in line:
        line = _MAGIC_WORD.sub("", line)
    if _STRIPPED in line:
        line = _LITERAL.sub(lambda match: literals[int(match.group(1))], line)
    if "&" in line:
        line = _ENTITY.sub(lambda match: html.unescape(match.group()), line)
    yield from filter(_WORD.search, map(str.strip, line.split("\n")))


def _drop_quotes(line: str) -> str:
    """Return the line without bold and italic marks, by the rule of MediaWiki's `doQuotes`.

    A run of 2 is italic, 3 bold, 5 both; of 4 the first is an apostrophe, as are all above 5. When a line has an
    odd number of both, one bold mark is an apostrophe and an italic mark: the first after a one-letter word, else
    after a longer word, else after a space.
    """
    runs = [(match.start(), match.end()) for match in _QUOTES.finditer(line)]
    lengths = [end - start for start, end in runs]
    literal = [length - 5 if length > 5 else int(length == 4) for length in lengths]
    marks = [length - kept for length, kept in zip(lengths, literal, strict=True)]
    if sum(mark != 3 for mark in marks) % 2 and sum(mark != 2 for mark in marks) % 2:
        bold = [index for index, mark in enumerate(marks) if mark == 3]
        if bold:
            literal[min(bold, key=lambda index: _apostrophe_order(line, runs[index][0] + literal[index]))] += 1
    kept: list[str] = []
    position = 0
    for (start, end), count in zip(runs, literal, strict=True):
        kept += (line[position:start], "'" * count)
        position = end
    kept.append(line[position:])
    return "".join(kept)


def _apostrophe_order(line: str, start: int) -> int:
    """Rank a bold mark as an apostrophe: 0 after a one-letter word, 1 after a longer one, 2 after a space."""
    if start == 0 or line[start - 1] == " ":
        return 2
    return 0 if start > 1 and line[start - 2] == " " else 1

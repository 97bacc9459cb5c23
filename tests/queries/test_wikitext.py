"""Wikitext to prose: each rule, the slow reading of the same rules, unbalanced markup, a cost that stays linear."""

from __future__ import annotations

import bz2
import contextlib
import html
import itertools
import os
import random
import re
import subprocess
import sys
import zlib
from collections.abc import Callable
from functools import cache
from html.entities import html5
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from queries.wikitext import LinkRules, Prose, prose
from tests.queries.slow_wikitext import BLOCK_TAGS, INLINE_TAGS, LITERAL_TAGS, OPAQUE_TAGS, SPACE_TAGS
from tests.queries.slow_wikitext import prose as slow_prose
from tests.support import ROOT, real_data

RULES = {
    "plain": ("A dog.", ["A dog."]),
    "bold, italic": ("'''a''' of ''b'' and '''''c'''''", ["a of b and c"]),
    "an apostrophe after italics": ("the ''Enterprise'''s crew", ["the Enterprise's crew"]),
    "an elided article": ("l'''Équipe'' of", ["l'Équipe of"]),
    "four and six apostrophes": ("''''a'''' ''''''b''''''", ["'a' 'b'"]),
    "marks meet across a tag": ("''θ''<sub>''i''</sub>", ["θi"]),
    "marks meet across a comment": ("''a''<!-- b -->''c''", ["ac"]),
    "marks meet across a template": ("''a''{{b}}''c''", ["a c"]),
    "apostrophes meet across a comment": ("a'<!-- b -->'c", ["a''c"]),
    "don't": ("don't", ["don't"]),
    "link": ("[[dog]]s and [[Cat|cat]]like", ["dogs and catlike"]),
    "link with a prefix": ("[[:Category:Dogs]] [[Dog#Legs|legs]] [[wikt:dog|word]]", ["Category:Dogs legs word"]),
    "label with pipes": ("[[a|b|c]]", ["b|c"]),
    "label empty": ("[[a|]] [[b| ]] [[:c|{{d}}]] [[e|{{f}} g]]", ["a b c  g"]),
    "file": ("x [[File:a.jpg|thumb|a [[dog|big dog]] and [[Image:b.png]] too]]y", ["x y"]),
    "category": ("x[[Category:Dogs]][[category: Cats|*]]", ["x"]),
    "interlanguage": ("x [[fr:Chien]][[zh-min-nan:Káu]]", ["x"]),
    "external link": ("[http://a.example/b the [[dog]] page] [//c.example d] [https://e.example]", ["the dog page d"]),
    "bare URL": ("see http://a.example/b?c=d and ftp://x.example.", ["see  and"]),
    "not a URL": ("a://b [sic: x] [1890s]", ["a://b [sic: x] [1890s]"]),
    "template": ("a{{b|{{c}}|d={{{e|{{f}}}}}}}g", ["a g"]),
    "template over lines": ("{{Infobox\n| a = 1\n|}}\nText", ["Text"]),
    "template between words": ("some{{mdash}}thing [[1775]]{{ndash}}[[1783]]", ["some thing 1775 1783"]),
    "template beside white space": ("a{{b}} c {{d}}e\n{{f}}g{{h}}\n== i{{j}} ==", ["a c e g", "i"]),
    "template before punctuation": ("a{{b}}, (c{{d}}). {{e}}", ["a, (c)."]),
    "template in a URL": ("[http://a.example/{{b}}c d] http://a.example/{{b}}c", ["d"]),
    "template before a prefix": ("a [[{{b}}File:c.jpg|d]]", ["a"]),
    "templates that are signs": ("[[a{{!}}b]] ''[[GQ]]''{{'}}s ''x''{{'s}} y{{ = }}z", ["b GQ's x's y=z"]),
    "a sign in a template": ("{{a|{{!}}}}b{{{!}}}c", ["b c"]),
    "parameter": ("{{{1|x}}}y", ["y"]),
    "table": ("a\n{| class=x\n|-\n| {{b\n|}}\n{|\n| in\n|}\n| c\n|}\nb", ["a", "b"]),
    "table behind a template": ("a\n{{b}} {{c}}{|\n| x\n|}\nd{{e}}{| f", ["a", "d {| f"]),
    "table in a template": ("{{x|\n{|\n| a\n|}\n}}b", ["b"]),
    "indented table": ("a\n:{|\n| x\n|}\nb", ["a", "b"]),
    "comment": ("a<!-- b [[c]] {{d -->e", ["ae"]),
    "comment left open": ("a<!-- b", ["a"]),
    "reference": ("a<ref name=x>b {{c}}</ref>d<ref name=x />e<REF>f</Ref >g<ref>h</ref>.", ["a d e g."]),
    "comment on a line of its own": ("a\n <!-- b --> <!-- c -->\nd\n<!-- e --> f", ["a d", "f"]),
    "list of references": ("<references><ref>a</ref></references>b", ["b"]),
    "math, gallery": ("a<math>x<y</math><gallery>\nFile:a.jpg|b\n</gallery>", ["a"]),
    "code": ("a<syntaxhighlight lang=c>z</syntaxhighlight><source>y</source>", ["a"]),
    "script, style": ("<script>a</script><style>b</style><timeline>c</timeline>d", ["d"]),
    "nowiki": ("<nowiki>[[a]] ''b'' {{c}}</nowiki> d<nowiki/>e", ["[[a]] ''b'' {{c}} de"]),
    "pre": ("<pre>\n * a\n * b [[c]]\n</pre>", ["* a", "* b [[c]]"]),
    "HTML inline": ("H<sub>2</sub>O <span style='x'>a</span> <small>b</small>", ["H2O a b"]),
    "a space behind a cut": ("a\n{{b}} c\n<ref>d</ref> e\n[[File:f]] g\n<br> h\n<b> i</b>", ["a c e g h i"]),
    "a space behind a block": ("<div>a</div> b\nc", ["a", "b c"]),
    "a space behind a comment": ("a\n<!-- b --> c\nd", ["a", "c", "d"]),
    "a file between words": ("a[[File:b|c]]d", ["a d"]),
    "a possible break": ("wait<wbr>er<wbr/>s", ["waiters"]),
    "a line of cuts alone": ("a\n{{b}}\nc\n[[Category:d]]\ne", ["a", "c", "e"]),
    "HTML breaks": ("a<br/>b<div>c</div>d<p>e", ["a b", "c", "d", "e"]),
    "not HTML": ("if a <b and c> d <foo> 1 < 2", ["if a  d <foo> 1 < 2"]),
    "entities": ("&lt;b&gt; &amp;nbsp; caf&eacute;s &#65;&#x42; AT&T", ["<b> &nbsp; cafés AB AT&T"]),
    "no entities": ("&nosuch; &#99999999; &", ["&nosuch; &#99999999; &"]),
    "magic words": ("__NOTOC__a __TOC__b __init__ __A__", ["a b __init__ __A__"]),
    "magic words of other languages": ("__KEIN_INHALTSVERZEICHNIS__a __БЕЗОГЛ__b __目次__c", ["a b c"]),
    "headings": ("== A ''b'' ==\nc\n=== D ===", ["A b", "c", "D"]),
    "lists": ("* a\n** b\n# c\n:: d\n; e : f : g\n;[[h]]: i", ["a", "b", "c", "d", "e", "f : g", "h", "i"]),
    "poem": ("a\nb<poem>c\n''d''\n\n* e\nf</poem>g\nh", ["a b", "c", "d", "e", "f", "g h"]),
    "poem left open": ("<poem>a\nb", ["a b"]),
    "tags of extensions": ("<indicator name=a>b</indicator>c <phonos file=d>e</phonos>", ["c e"]),
    "table in HTML": ("<table><tr><td>a</td><td>b</td></tr></table>", ["a", "b"]),
    "preformatted": (" a\n b\nc\nd", ["a", "b", "c d"]),
    "paragraphs": ("a\nb\n\nc", ["a b", "c"]),
    "rule": ("a\n----\nb\n-----c", ["a", "b", "c"]),
    "nothing but signs": ("a\n\n. ,\n\n+ {{b}} +\n\n*\n#-", ["a"]),
    "empty": ("", []),
    "unclosed template": ("a {{b c", ["a b c"]),
    "unclosed template before a whole one": ("a {{b {{c}} d", ["a b  d"]),
    "unopened template": ("a}} b", ["a}} b"]),
    "unclosed link": ("a [[b c", ["a b c"]),
    "unclosed reference": ("a<ref>b", ["ab"]),
    "unclosed table": ("a\n{| x\n| y\nb", ["a", "b"]),
    "table in an unclosed template in a table": ("{|\n| {{x\n|}\ny", ["y"]),
}  # fmt: skip


@pytest.mark.parametrize("name", RULES)
def test_each_rule(name: str) -> None:
    """Each piece of markup gives the prose that a reader of the article sees."""
    source, expected = RULES[name]
    assert prose(source) == expected


def test_namespaces_of_the_dump_decide_which_links_vanish() -> None:
    """A German file link vanishes when the dump names the namespace Datei."""
    rules = LinkRules(vanishing=frozenset({"datei", "file"}))
    assert prose("a[[Datei:x.jpg|mini|b]] [[Category:c]]", rules) == ["a Category:c"]


CASES = {
    "File": [
        "file:",
        "FILE :",
        "File_:",
        " file:",
        "_File:",
    ],
    "file talk": ["File_talk:", "File  talk:"],
    "файл": ["Файл:", "ФАЙЛ\u00a0:"],
    "σασς": ["ΣΑΣΣ:", "σασς:", "ΣαΣς:", "σασσ:", "ςαΣΣ:"],
    "i̇sim": ["İsim:", "i̇sim:", "İSIM:"],
    "k": ["\u212a:", "K:"],
}


@pytest.mark.parametrize("name", CASES)
def test_prefixes_fold_as_python_folds_them(name: str) -> None:
    """A link vanishes if and only if the lower case of its prefix, spaces for underscores, is a name of the rules."""
    rules = LinkRules(frozenset({name}), frozenset())
    for prefix in CASES[name]:
        vanishes = prefix[:-1].strip().replace("_", " ").lower() == name
        assert prose(f"a [[{prefix}b]]", rules) == (["a"] if vanishes else [f"a {prefix.strip()}b"])


AROUND_A_POINT = (
    "x{0}y{0}", "{0}", "a http://b{0}c", "[http://b{0}c]", "{0}http://b", "a<b{0}>", "c<ref{0}>d</ref{0}>e",
    "[[{0}File{0}:a]]", "[[a|]]{0}", "[[a{0}|]]",
)  # fmt: skip


def test_white_space_and_letters_are_those_of_python() -> None:
    """Each code point is stripped, ends a URL or a tag name, or is part of a scheme, as Python's str has it."""
    points = [chr(point) for point in (*range(3, 0x3100), *range(0xFE00, 0x10000), 0x1D400, 0x1F600, 0x20000)]
    for template in AROUND_A_POINT:
        pages = [template.format(point) for point in points]
        assert _prose(pages) == [slow_prose(page) for page in pages]


def test_every_tag_goes_as_the_slow_rules_say() -> None:
    """Both sets of rules know the same tags, in any case, open, closed, empty and with attributes."""
    from queries.wikitext.tags import KIND_OF

    assert set(KIND_OF) == {*OPAQUE_TAGS, *LITERAL_TAGS, *BLOCK_TAGS, *SPACE_TAGS, *INLINE_TAGS}
    forms = ("a<{0}>b</{0}>c", "a<{0}/>b", "a<{0} x=y>b</{0} >c", "a</{0}>b", "a<{0}x>b", "a<x{0}>b", "a<{0}")
    pages = [form.format(name) for tag in KIND_OF for name in (tag, tag.upper()) for form in forms]
    assert _prose(pages) == [slow_prose(page) for page in pages]


def test_entities_are_those_of_html() -> None:
    """Every named entity, also with more letters behind it, and numbers of all kinds decode as html.unescape does."""
    names = [name.rstrip(";") for name in html5]
    numbers = [
        *range(0x300),
        0xD7FF,
        0xD800,
        0xDFFF,
        0xE000,
        0xFDD0,
        0xFFFD,
        0xFFFE,
        0x1FFFF,
        0x10FFFF,
        0x110000,
        9_999_999,
    ]
    inside = [*names, *(name + "x" for name in names), *(f"#{n}" for n in numbers), *(f"#x{n:X}" for n in numbers)]
    pages = [f"a&{name};b &{name} c" for name in inside]
    assert _prose(pages) == [slow_prose(page) for page in pages]


_chunk_prose = cache(Prose)


def _prose(pages: list[str]) -> list[list[str]]:
    """Return the lines of prose of pages that go through the passes as one chunk."""
    encoded = [page.encode() for page in pages]
    text, offsets = _chunk_prose()(
        np.frombuffer(b"".join(encoded), np.uint8), np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    )
    found = [text[start:end].tobytes().decode() for start, end in itertools.pairwise(offsets)]
    return [page.split("\n") if page else [] for page in found]


_FRAGMENTS = """
    {{ }} { } {{{ }}} {| |} {{!}} {{'}} {{'s}} {{=}} {{x}} [[ ]] [ ] | ' '' ''' ''''' http:// [http://a [//a [mailto:x
    :// : <poem> </poem> <ref <ref> /> > < <nowiki> </nowiki> <nowiki/> <pre> </pre> </ref> <!-- --> <!--a-->
    <br> <p> </div> <b> <h7> <foo>
    <ſcript> <math> </math> &amp; &#x; &#x41; &#10; &#133; &notit; & ; # __NOTOC__ __ _ __目次__ = == * ---- File: Файл:
    :Category: _File: fr: zh-min-nan: . , 0 A a word é 漢 𝐀
"""
_LINES_AND_SPACES = (
    " ", "  ", "\t", "\r", "\x1c", "\n", "\n\n", "\n{|", "\n|}", "\n:{|", "\n |}}", "\n*", "\n=", "=\n", "\n ", "\n;a",
    " : ", "\u00a0", "\u3000", "\u0085", "\u2028", "</REF\u3000>", "<ref\u00a0x>", "\0", "\1", "\2", "\3",
)  # fmt: skip
FRAGMENTS = (*_FRAGMENTS.split(), *_LINES_AND_SPACES)

MARKUP = st.lists(st.sampled_from(FRAGMENTS), max_size=40).map("".join)


@settings(deadline=None, max_examples=300)  # a busy machine is no failure
@given(st.lists(MARKUP, max_size=5))
def test_any_markup_reads_as_the_slow_rules_read_it(pages: list[str]) -> None:
    """Pages of random markup, together in a chunk, each give what regular expressions over each alone give."""
    assert _prose(pages) == [slow_prose(page) for page in pages]


def test_mutated_pages_read_as_the_slow_rules_read_them() -> None:
    """So do pages of real dumps, whole and with fragments deleted, repeated, inserted and moved."""
    pages = [page for file in DUMPS for page in _real_pages(file)]
    chance = random.Random(0)
    mutated = [_mutated(chance.choice(pages), chance) for _ in range(300)]
    assert _prose(pages + mutated) == [slow_prose(page) for page in pages + mutated]


DUMPS = (
    "enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2",
    "enwiki-table-markup.xml.bz2",
    "testcorpus.xml.bz2",
)


def _real_pages(name: str) -> list[str]:
    xml = bytearray()
    with bz2.open(real_data("wiki", name)) as file, contextlib.suppress(EOFError):  # one of them is cut short
        while piece := file.read(1 << 20):
            xml += piece
    found = re.findall(r"<text[^>]*>([^<]*)</text>", xml.decode(errors="ignore"))
    return [html.unescape(text) for text in found]


def _mutated(page: str, chance: random.Random) -> str:
    start = chance.randrange(max(1, len(page) - 2000))
    page = page[start : start + chance.choice((200, 2000, 6000))]
    for _ in range(chance.randrange(1, 40)):
        at, other, length = (
            chance.randrange(len(page) + 1),
            chance.randrange(len(page) + 1),
            chance.choice((1, 2, 3, 10, 100)),
        )
        front, rest = page[:at], page[at:]
        inserted = chance.choice(("", page[other : other + length], rest[:length], chance.choice(FRAGMENTS)))
        page = front + inserted + (rest if inserted else rest[length:])
    return page


UNCLOSED = (
    "{{a", "{|\n| a", "\n{|", "[[a", "[[File:a|", "[http://a ", "http://a", "<ref>", "<nowiki>", "<!-- a", "<b", "''a",
    "'''''a", "a'", "&am", "__NOTO", "\n* a", "\n a", "a{{b}}", "== a", "\0",
)  # fmt: skip


def test_pages_of_a_chunk_stay_apart() -> None:
    """Markup left open at the end of a page changes nothing on the pages after it, whatever these begin with."""
    closed = (
        "a}}b",
        "|}b",
        "b]]",
        "]b",
        "b</ref>c",
        "</nowiki>b",
        "b-->c",
        "''b",
        "'b",
        ">b",
        "p;b",
        "b://c",
        "C__b",
        "=",
        " b",
        "",
        ".b",
    )
    for opener in UNCLOSED:
        pages = [page for end in closed for page in (opener, end)]
        assert _prose(pages) == [prose(page) for page in pages]


def test_no_pages_and_empty_pages() -> None:
    """A chunk may hold no page, and its pages no text."""
    assert _prose([]) == []
    assert _prose(["", "", "a", ""]) == [[], [], ["a"], []]


@settings(deadline=None)  # a busy machine is no failure
@given(st.text(alphabet="ab \n{}[]|'<>/!-=*&;#:\0\1\2\3ref", max_size=60))
def test_any_text_gives_lines_without_marks(source: str) -> None:
    """Whatever the markup, every line is one line, not blank, and holds none of the marks used inside."""
    for line in prose(source):
        assert line.strip() == line != ""
        assert "\n" not in line
        assert "\0" not in line
        assert "\1" not in line
        assert "\2" not in line
        assert "\3" not in line


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(st.text(alphabet="abcé ", min_size=1).filter(str.strip), min_size=1, max_size=5))
def test_prose_without_markup_is_kept(paragraphs: list[str]) -> None:
    """Text that holds no markup comes back as it is, a line a paragraph."""
    assert prose("\n\n".join(paragraphs)) == [paragraph.strip() for paragraph in paragraphs]


WRAPPERS = st.sampled_from(("{{a %s }}", "{{{b %s }}}", "\n{|\n| c %s\n|}", "{{d|%s}}"))


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(WRAPPERS, min_size=1, max_size=8))
def test_nested_templates_and_tables_vanish_whole(wrappers: list[str]) -> None:
    """However templates, parameters and tables nest, nothing of them is left beside the prose around them."""
    markup = "text"
    for wrapper in wrappers:
        markup = wrapper % f"x {markup} y"
    assert " ".join(prose(f"before\n{markup}\n\nafter")) == "before after"


HOSTILE: dict[str, Callable[[int], str]] = {
    "open templates": lambda n: "{{" * n,
    "one run of braces": lambda n: "{" * n + "}" * n,
    "nested templates": lambda n: "{{a" * n + "}}" * n,
    "braces and text": lambda n: "{{a|" * n + "b " * n,
    "open links": lambda n: "[[" * n + "x" * n,
    "nested links": lambda n: "[[a|" * n + "x" * n + "]]" * n,
    "nested files": lambda n: "[[File:a|" * n + "x" * n + "]]" * n,
    "open references": lambda n: "<ref>" * n,
    "references without an end": lambda n: "<ref name=" * n + "x" * n,
    "self-closing tags": lambda n: "<ref " * n + ">",
    "open comments": lambda n: "<!-" * n + "<!--" * n,
    "open tables": lambda n: "\n{|" * n + "\n|" * n,
    "tables and templates": lambda n: "\n{|\n{{" * n + "\n|}" * n,
    "crossed": lambda n: "{{[[" * n + "}}]]" * n,
    "angle brackets": lambda n: "<a " * n + "<" * n,
    "apostrophes": lambda n: "''a '''b " * n,
    "one run of apostrophes": lambda n: "'" * n,
    "external links": lambda n: "[http://a " * n + "]" * n,
    "URL marks": lambda n: "a://" * n + "http://" * n,
    "entities": lambda n: "&#" + "9" * n + "&" * n,
    "equals signs": lambda n: "=" * n + "a" + "=" * n,
    "magic words": lambda n: "__A" * n,
    "spaces": lambda n: " \t" * n + "\n" * n + "[[ " + " " * n,
    "list marks": lambda n: "*:#;" * n,
    "literals": lambda n: "<nowiki>''</nowiki>" * n,
    "poems": lambda n: "<poem>a\n" * n + "</poem>\n" * n + "<poem>\n</poem>" * n,
    "comments": lambda n: "\n <!-- a -->" * n + " <!-- -->" * n + "<!---->a" * n,
    "signs": lambda n: "{{!}}{{'}}" * n,
    "bare line fronts": lambda n: "\n" + "{{a}} {|" * n + "{|" * n + "*" * n + "{|" * n,
    "gaps": lambda n: "a{{b}}''" * n + "[[a|b{{c}}]]" * n,
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_markup_of_a_megabyte_ends(name: str) -> None:
    """No malformed markup is walked more than a few times: 100,000 repeats of it end (a quadratic pass takes hours)."""
    assert isinstance(prose(HOSTILE[name](100_000)), list)


_COUNT_LINES = """
import sys
from queries.wikitext import prose
from tests.queries.test_wikitext import HOSTILE

def trace(frame, event, argument):
    global executed
    executed += event == "line"
    return trace

for name, markup in HOSTILE.items():
    for repeats in 20, 40:
        executed = 0
        prose("")
        sys.settrace(trace)
        prose(markup(repeats))
        sys.settrace(None)
        print(executed)
"""


def test_work_grows_linearly() -> None:
    """Twice the hostile markup executes at most about twice the lines of the kernels, run as plain Python."""
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    run = subprocess.run(
        [sys.executable, "-c", _COUNT_LINES], capture_output=True, text=True, check=True, cwd=ROOT, env=environment
    )
    counts = [int(count) for count in run.stdout.split()]
    for name, once, twice in zip(HOSTILE, counts[::2], counts[1::2], strict=True):
        assert twice <= 2.2 * once + 200, name


def test_the_cache_of_every_pass_heeds_the_kernels_they_share() -> None:
    """Machine code is stored under the content of shared.py too, so that no pass keeps calling what that file was."""
    from queries.wikitext import links, shared

    stamps = [each._cache._cache_file._source_stamp[1] for each in (links._resolve_links, shared.copy)]
    assert stamps == [zlib.crc32(Path(shared.__file__).read_bytes())] * 2

"""Wikitext to prose: each rule, unbalanced markup, and a cost that stays linear."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from queries.wikitext import LinkRules, prose

RULES = {
    "plain": ("A dog.", ["A dog."]),
    "bold, italic": ("'''a''' of ''b'' and '''''c'''''", ["a of b and c"]),
    "an apostrophe after italics": ("the ''Enterprise'''s crew", ["the Enterprise's crew"]),
    "an elided article": ("l'''Équipe'' of", ["l'Équipe of"]),
    "four and six apostrophes": ("''''a'''' ''''''b''''''", ["'a' 'b'"]),
    "marks meet across a tag": ("''θ''<sub>''i''</sub>", ["θi"]),
    "marks meet across a template": ("''a''{{b}}''c''", ["ac"]),
    "don't": ("don't", ["don't"]),
    "link": ("[[dog]]s and [[Cat|cat]]like", ["dogs and catlike"]),
    "link with a prefix": ("[[:Category:Dogs]] [[Dog#Legs|legs]] [[wikt:dog|word]]", ["Category:Dogs legs word"]),
    "label with pipes": ("[[a|b|c]]", ["b|c"]),
    "label empty": ("[[a|]]", ["a"]),
    "file": ("x [[File:a.jpg|thumb|a [[dog|big dog]] and [[Image:b.png]] too]]y", ["x y"]),
    "category": ("x[[Category:Dogs]][[category: Cats|*]]", ["x"]),
    "interlanguage": ("x [[fr:Chien]][[zh-min-nan:Káu]]", ["x"]),
    "external link": ("[http://a.example/b the [[dog]] page] [//c.example d] [https://e.example]", ["the dog page d"]),
    "bare URL": ("see http://a.example/b?c=d and ftp://x.example.", ["see  and"]),
    "not a URL": ("a://b [sic: x] [1890s]", ["a://b [sic: x] [1890s]"]),
    "template": ("a{{b|{{c}}|d={{{e|{{f}}}}}}}g", ["ag"]),
    "template over lines": ("{{Infobox\n| a = 1\n|}}\nText", ["Text"]),
    "parameter": ("{{{1|x}}}y", ["y"]),
    "table": ("a\n{| class=x\n|-\n| {{b\n|}}\n{|\n| in\n|}\n| c\n|}\nb", ["a", "b"]),
    "table in a template": ("{{x|\n{|\n| a\n|}\n}}b", ["b"]),
    "indented table": ("a\n:{|\n| x\n|}\nb", ["a", "b"]),
    "comment": ("a<!-- b [[c]] {{d -->e", ["ae"]),
    "comment left open": ("a<!-- b", ["a"]),
    "reference": ("a<ref name=x>b {{c}}</ref>d<ref name=x />e<REF>f</Ref >g", ["adeg"]),
    "list of references": ("<references><ref>a</ref></references>b", ["b"]),
    "math, gallery": ("a<math>x<y</math><gallery>\nFile:a.jpg|b\n</gallery>", ["a"]),
    "code": ("a<syntaxhighlight lang=c>z</syntaxhighlight><source>y</source>", ["a"]),
    "script, style": ("<script>a</script><style>b</style><timeline>c</timeline>d", ["d"]),
    "nowiki": ("<nowiki>[[a]] ''b'' {{c}}</nowiki> d<nowiki/>e", ["[[a]] ''b'' {{c}} de"]),
    "pre": ("<pre>\n * a\n * b [[c]]\n</pre>", ["* a", "* b [[c]]"]),
    "HTML inline": ("H<sub>2</sub>O <span style='x'>a</span> <small>b</small>", ["H2O a b"]),
    "HTML breaks": ("a<br/>b<div>c</div>d<p>e", ["a b", "c", "d", "e"]),
    "not HTML": ("if a <b and c> d <foo> 1 < 2", ["if a  d <foo> 1 < 2"]),
    "entities": ("&lt;b&gt; &amp;nbsp; caf&eacute;s &#65;&#x42; AT&T", ["<b> &nbsp; cafés AB AT&T"]),
    "no entities": ("&nosuch; &#99999999; &", ["&nosuch; &#99999999; &"]),
    "magic words": ("__NOTOC__a __TOC__b __init__", ["a b __init__"]),
    "headings": ("== A ''b'' ==\nc\n=== D ===", ["A b", "c", "D"]),
    "lists": ("* a\n** b\n# c\n:: d\n; e : f", ["a", "b", "c", "d", "e : f"]),
    "paragraphs": ("a\nb\n\nc", ["a b", "c"]),
    "rule": ("a\n----\nb", ["a", "b"]),
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


@settings(deadline=None)  # a busy machine is no failure
@given(st.text(alphabet="ab \n{}[]|'<>/!-=*&;#:\0\1ref", max_size=60))
def test_any_text_gives_lines_without_marks(source: str) -> None:
    """Whatever the markup, every line is one line, not blank, and holds none of the marks used inside."""
    for line in prose(source):
        assert line.strip() == line != ""
        assert "\n" not in line
        assert "\0" not in line
        assert "\1" not in line


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
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_markup_of_a_megabyte_ends(name: str) -> None:
    """No malformed markup is walked more than a few times: 100,000 repeats of it end (a quadratic pass takes hours)."""
    assert isinstance(prose(HOSTILE[name](100_000)), list)


def _work(source: str) -> int:
    """Return how many lines of Python a call executes."""
    executed = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal executed
        executed += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        prose(source)
    finally:
        sys.settrace(before)
    return executed


@pytest.mark.parametrize("name", HOSTILE)
def test_work_grows_linearly(name: str) -> None:
    """Twice the hostile markup executes at most about twice the lines of Python."""
    assert _work(HOSTILE[name](800)) <= 2.2 * _work(HOSTILE[name](400)) + 200

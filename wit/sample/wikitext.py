"""Prose dressed in wikitext, so that whoever undresses it correctly has the prose again, word for word.

The rules by which the prose is what remains:

- Vanish with all they hold: templates `{{...}}` (nested), tables `{|...|}` (nested), `<ref>...</ref>` and `<ref/>`,
  files and images (`[[File:...]]`, captions too), categories, interlanguage links, comments (one that is never closed
  runs to the end of the page), and the tags math, gallery, references, syntaxhighlight, source, timeline, style,
  script. What vanishes inside a line does not break the line, even when it holds line breaks itself.
- Vanish as tags, their content stays: every other HTML tag. Content of `<nowiki>` stays as it is written. A vanished
  tag or comment separates no words; `<br>` stands only at the end of a line.
- `[[a]]` gives a, `[[a|b]]` gives b, `[[a]]s` gives as, `[[:Category:a|b]]` gives b; `[url text]` gives text and
  `[url]` nothing; apostrophe markup vanishes; entities are decoded after everything else.
- Headings, items of lists and paragraphs are lines of prose; no paragraph holds a single line break.
- Malformed: `[[` without `]]` on its line, `{{` that is never closed, and stray closing signs are text without words.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from wit.sample.prose import CANARIES, Article, Line

_PLAIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 '-]*[A-Za-z0-9])?")
_ENTITIES = {
    "é": "&eacute;",
    "ï": "&#239;",
    "ç": "&ccedil;",
    "Š": "&#x160;",
    "Ö": "&Ouml;",
    "ñ": "&#xF1;",
    "ß": "&szlig;",
}

Wrap = Callable[[str, random.Random], str]
Make = Callable[[random.Random], str]


def canary(rng: random.Random) -> str:
    """Return words that must not be counted."""
    return " ".join(rng.choices(CANARIES, k=3))


def _trail(text: str, rng: random.Random) -> str:
    return f"[[{text[:-1]}]]{text[-1]}" if text[-2:-1].isalpha() and text.endswith("s") else f"[[{text}]]"


_WRAPS: tuple[Wrap, ...] = (
    lambda text, rng: f"'''{text}'''",
    lambda text, rng: f"''{text}''",
    lambda text, rng: f"'''''{text}'''''",
    lambda text, rng: f"[[{text}]]",
    lambda text, rng: f"[[Silver birch|{text}]]",
    lambda text, rng: f"[[Orchard (disambiguation)#Velvet|''{text}'']]",
    lambda text, rng: f"'''[[{text}]]'''",
    lambda text, rng: f"[[:Category:Velvet|{text}]]",
    lambda text, rng: f"[[Wikipedia:Orchard|{text}]]",
    _trail,
    lambda text, rng: f"[http://www.example.org/orchard?velvet=1&anvil {text}]",
    lambda text, rng: f"[//example.org/velvet {text}]",
    lambda text, rng: f"<small>{text}</small>",
    lambda text, rng: f'<span class="orchard" style="color:velvet">{text}</span>',
    lambda text, rng: f"<b><i>{text}</i></b>",
    lambda text, rng: f"<sup>{text}</sup>",
    lambda text, rng: f"<nowiki>{text}</nowiki>",
    lambda text, rng: f"<nowiki>[[{text}]] {{{{''</nowiki>",
    lambda text, rng: f"{text[:1]}<!-- {canary(rng)} [[ {{{{ -->{text[1:]}",
    lambda text, rng: text.replace(" ", "&nbsp;"),
    lambda text, rng: f"&#{ord(text[0])};{text[1:]}",
    lambda text, rng: f"&lt;{text}&gt;",
    lambda text, rng: f"&ldquo;{text}&rdquo;&ndash;",
)

_VANISHING: tuple[Make, ...] = (
    lambda rng: f"<ref>{canary(rng)}</ref>",
    lambda rng: (
        f'<ref name="a{rng.randrange(9)}">{{{{cite book |title={canary(rng)} |url=http://example.org/}}}} p. 3</ref>'
    ),
    lambda rng: f'<ref name="b" /><ref name=c group="n">[[Velvet]]\n{canary(rng)}</ref>',
    lambda rng: '<ref name="d"/>',
    lambda rng: f"<!-- {canary(rng)}\n{canary(rng)} -->",
    lambda rng: f"{{{{efn|1={canary(rng)} {{{{nowrap|{canary(rng)}}}}} [[velvet|{{{{lang|fr|anvil}}}}]]}}}}",
    lambda rng: f"{{{{citation needed|reason={canary(rng)}|date=May 2020}}}}",
    lambda rng: f" <math>\\text{{{canary(rng)}}} < x_{{1}}^{{{{2}}}}</math>",
    lambda rng: " [http://www.example.org/orchard/velvet]",
    lambda rng: f" [[File:Anvil.svg|16px|{canary(rng)}]]",
    lambda rng: "<nowiki />",
)

_BLOCKS: tuple[Make, ...] = (
    lambda rng: f"{{{{Infobox settlement\n| name = {canary(rng)}\n| area = {{{{convert|3|km2|velvet}}}}\n}}}}",
    lambda rng: f"{{{{main|{canary(rng)}}}}}",
    lambda rng: f'{{| class="wikitable"\n|+ {canary(rng)}\n! Velvet !! Anvil\n|-\n| orchard || {{{{n|velvet}}}}\n|}}',
    lambda rng: f"{{|\n| {canary(rng)}\n{{| class=x\n| [[velvet]] || anvil\n|}}\n|-\n| {canary(rng)}\n|}}",
    lambda rng: f":{{|\n|-\n| style=velvet | {canary(rng)}<ref>anvil</ref>\n|}}",
    lambda rng: (
        f"[[File:Orchard.jpg|thumb|left|alt=velvet|A [[orchard|velvet]] by [http://example.org anvil] {canary(rng)}]]"
    ),
    lambda rng: f"[[Image:Velvet.png|frame|{canary(rng)} {{{{circa|1900}}}}]]",
    lambda rng: f"<gallery mode=packed>\nFile:Anvil.jpg|{canary(rng)} [[velvet]]\nVelvet.jpg|anvil\n</gallery>",
    lambda rng: f'<syntaxhighlight lang="c">\nif (velvet < anvil) {{ {canary(rng)} }}\n</syntaxhighlight>',
    lambda rng: f"<source lang=python>\n{canary(rng)}\n</source>",
    lambda rng: f"<timeline>\nPeriod = {canary(rng)}\n</timeline>",
    lambda rng: f"<!--\n== {canary(rng)} ==\n-->",
    lambda rng: f"<style>\n.velvet {{ color: red }} /* {canary(rng)} */\n</style>",
    lambda rng: "----",
    lambda rng: '<br clear="all" />',
)

_MALFORMED: tuple[Wrap, ...] = (
    lambda text, rng: _before_a_word(text, "[[", rng),
    lambda text, rng: _before_a_word(text, "]] ", rng),
    lambda text, rng: _before_a_word(text, "}} ", rng),
    lambda text, rng: _before_a_word(text, "|} ", rng),
    lambda text, rng: _before_a_word(text, "'''", rng),
    lambda text, rng: _before_a_word(text, "</span> ", rng),
    lambda text, rng: _before_a_word(text, '<b class="velvet">', rng),
    lambda text, rng: _before_a_word(text, "< ", rng),
    lambda text, rng: _before_a_word(text, "& &; &# ", rng),
    lambda text, rng: _before_a_word(text, "[", rng),
    lambda text, rng: "<i><b>" + _before_a_word(text, "</i></b> ", rng),
)


def _before_a_word(text: str, sign: str, rng: random.Random) -> str:
    words = text.split(" ")
    at = rng.randrange(1, len(words))
    return " ".join([*words[:at], sign + words[at], *words[at + 1 :]])


def _spell(word: str, rng: random.Random) -> str:
    """Return a word with some of its letters as entities, and now and then what vanishes after it."""
    spelt = "".join(_ENTITIES.get(letter, letter) if rng.random() < 0.5 else letter for letter in word)
    return spelt + rng.choice(_VANISHING)(rng) if rng.random() < 0.04 else spelt


def _dress(text: str, rng: random.Random) -> str:
    """Return a line of prose with markup inside it."""
    words = text.split(" ")
    dressed = []
    at = 0
    while at < len(words):
        length = rng.choice((1, 1, 2, 3))
        span = " ".join(words[at : at + length])
        if rng.random() < 0.1 and _PLAIN.fullmatch(span):
            dressed.append(rng.choice(_WRAPS)(span, rng))
            at += length
        else:
            dressed.append(_spell(words[at], rng))
            at += 1
    return " ".join(dressed)


def _line(line: Line, rng: random.Random) -> str:
    if line.kind == "heading":
        signs = "=" * rng.choice((2, 2, 3))
        return f"{signs} {_dress(line.text, rng)} {signs}"
    if line.kind == "item":
        return rng.choice(("* ", "# ", "*", ": ", "** ")) + _dress(line.text, rng)
    if " " in line.text and rng.random() < 0.08:
        return rng.choice(_MALFORMED)(line.text, rng)
    return _dress(line.text, rng) + rng.choice(("", "", "", "<br />", "<br>"))


def _footer(article: Article, rng: random.Random) -> list[str]:
    """Return what stands at the end of an article: categories, links to other languages, or markup that breaks off."""
    categories = [f"[[Category:Orchard {rng.randrange(20)}|velvet]]", "[[category: Anvil]]"]
    languages = [f"[[{language}:Velvet (orchard)]]" for language in rng.sample(("de", "fr", "zh-min-nan", "simple"), 2)]
    footer = ["<references>\n<ref name=z>anvil orchard</ref>\n</references>", "", *categories, "", *languages]
    ending = rng.random()
    if ending < 0.05:
        return [*footer, f"<!-- {canary(rng)} [[velvet]]"]
    if ending < 0.1:
        return ["{{", *categories]  # never closed: text, and nothing after it may close it
    return footer


def write_wikitext(article: Article, rng: random.Random) -> str:
    """Return an article's source; undressed by the rules above it is the article's lines."""
    pieces = [rng.choice(_BLOCKS)(rng), ""] if rng.random() < 0.7 else []
    for line in article.lines:
        if line.kind != "item":
            pieces += ["", rng.choice(_BLOCKS)(rng), ""] if rng.random() < 0.12 else [""]
        pieces.append(_line(line, rng))
    return "\n".join([*pieces, "", *_footer(article, rng)]).strip("\n")

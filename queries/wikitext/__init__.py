"""Wikitext to prose: what a reader of the article would read as sentences, one line a paragraph.

Removed with their content: comments, templates, tables, references, files, categories, interlanguage links,
formulas, galleries, code and other extension tags (`tags.py` lists them). All but comments leave a space where words
would else meet, as `<br>` does. The templates that are signs in nearly every edition, `{{!}}` for one, give them.
Other HTML tags go and their content stays, that of `<table>` too; block tags end a line. `[[a|b]]` gives b, `[[a]]`
and `[[a|]]` give a, letters around a link join it; `[url text]` gives text, bare URLs go; apostrophe markup goes by
MediaWiki's own rule for unbalanced runs; magic words go; entities are decoded last.

Paragraphs are each one line: source lines that follow each other without a blank one are one paragraph, as they are
for MediaWiki. A line of nothing but comments is none, but one of other things that are cut ends a paragraph, formulas
and categories too. So do headings, list items, terms and their definitions, preformatted lines (a space begins them,
with nothing but comments before it) and lines of poems and of `<pre>`, each a line of its own. A line without a letter
or digit is left over from what was cut, and goes.

Not kept: what templates show (`{{convert|5|km}}`, `{{quote|...}}`), and the captions of files. Kept as text: tags that
MediaWiki does not know, Chinese variants (`-{a}-`), the rest of a tag with `>` in an attribute. Raised and lowered
digits come to stand beside others: `10<sup>6</sup>` gives 106, which is also the normal form of 10⁶ (`wit.text`).

Malformed markup costs no more than good markup: each pass walks the text once, and an opener without its closer goes
alone: what follows it is kept.

The passes are machine code over UTF-8 (numba), each over a whole chunk of pages at a time. Inside they write four
bytes that XML cannot hold: \\0 around the number of text that is no markup, \\1 between apostrophes that a cut brought
together, \\2 for a gap, which becomes the space, and \\3 for a line end in a poem.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from queries.wikitext.kernel import I64, U8

_LANGUAGES = """
    aa ab ace ady af ak als alt am ami an ang ann anp ar arc ary arz as ast atj av avk awa ay az azb ba ban bar
    bat-smg bbc bcl bdr be be-tarask be-x-old bew bg bh bi bjn blk bm bn bo bpy br bs btm bug bxr ca cbk-zam cdo ce
    ceb ch chr chy ckb co cr crh cs csb cu cv cy da dag de dga din diq dsb dtp dty dv dz ee el eml en eo es et eu
    ext fa fat ff fi fiu-vro fj fo fon fr frp frr fur fy ga gag gan gcr gd gl glk gn gom gor got gpe gsw gu guc gur
    guw gv ha hak haw he hi hif hr hsb ht hu hy hyw ia iba id ie ig igl ik ilo inh io is it iu ja jam jbo jv ka kaa
    kab kbd kbp kcg kg kge ki kk kl km kn knc ko koi krc ks ksh ku kus kv kw ky la lad lb lbe lez lfn lg li lij lld
    lmo ln lo lt ltg lv mad mai map-bms mdf mg mhr mi min mk ml mn mni mnw mr mrj ms mt mwl my myv mzn nah nap nds
    nds-nl ne new nia nl nn no nov nqo nr nrm nso nup nv ny oc olo om or os pa pag pam pap pcd pcm pdc pfl pi pih pl
    pms pnb pnt ps pt pwn qu rm rmy rn ro roa-rup roa-tara rsk ru rue rw sa sah sat sc scn sco sd se sg sh shi shn
    si simple sk skr sl sm smn sn so sq sr srn ss st stq su sv sw syl szl szy ta tay tcy tdd te tet tg th ti tk tl
    tly tn to tpi tr trv ts tt tum tw ty tyv udm ug uk ur uz ve vec vep vi vls vo wa war wo wuu xal xh xmf yi yo za
    zea zgh zh zh-classical zh-min-nan zh-yue zu
"""
LANGUAGES = frozenset(_LANGUAGES.split())
"""Prefixes of interlanguage links: the codes of Wikipedia's editions."""

_FIRST_TEXT_BYTE = 4


@dataclass(frozen=True)
class LinkRules:
    """Which link prefixes vanish with the link: names of namespaces, lower case, with spaces."""

    vanishing: frozenset[str] = frozenset(("file", "image", "category"))
    interlanguage: frozenset[str] = LANGUAGES


class Prose:
    """From wikitext to prose by the rules of one wiki, which are compiled once.

    Its first call in a process loads the machine code, and compiles it (15 s) when no earlier process has left it
    beside the modules.
    """

    def __init__(self, rules: LinkRules | None = None) -> None:
        from queries.wikitext import entities, letters  # they import numba, which takes half a second

        rules = rules or LinkRules()
        self._prefixes = letters.compile_prefixes(rules.vanishing | rules.interlanguage)
        self._letters = letters.alphabetic()
        self._entities = entities.compile_entities()

    def __call__(self, text: U8, offsets: I64) -> tuple[U8, I64]:
        """Return the prose of each page: its lines joined by line ends, none of them blank.

        Page i is the valid UTF-8 text[offsets[i]:offsets[i + 1]]; so are the pages that come back. Takes time and
        memory linear in the text.
        """
        from queries.wikitext import entities, lines, links, tags, templates

        text, offsets = _clean(text, offsets)
        pages, bounds, literals = tags.strip_tags(text, offsets)
        pages, bounds = templates.cut_templates(pages, bounds)
        pages, bounds = links.resolve_plain_links(pages, bounds)
        pages, bounds = links.resolve_links(pages, bounds, self._prefixes)
        pages, bounds = links.drop_urls(pages, bounds, self._letters)
        pages, bounds = tags.drop_html(pages, bounds)
        pages, bounds = lines.lines(pages, bounds)
        return entities.finish(pages, bounds, text, literals, self._entities)


def _clean(text: U8, offsets: I64) -> tuple[U8, I64]:
    """Return the pages without the bytes that the passes use as marks, in arrays of the one kind they compile for."""
    import numpy as np

    if text.size and text.min() < _FIRST_TEXT_BYTE:
        kept = text >= _FIRST_TEXT_BYTE
        offsets = np.concatenate(([0], np.cumsum(kept)))[offsets]
        text = text[kept]
    return np.require(text, np.uint8, ("C", "W")), np.require(offsets, np.int64, ("C", "W"))


@lru_cache(maxsize=8)
def _compiled(rules: LinkRules | None) -> Prose:
    return Prose(rules)


def prose(wikitext: str, rules: LinkRules | None = None) -> list[str]:
    """Return the lines of prose of one page; none is blank. For tests and for looking: `Prose` takes many pages."""
    import numpy as np

    page = np.frombuffer(wikitext.encode(), np.uint8)
    lines, _ = _compiled(rules)(page, np.array([0, page.size]))
    return lines.tobytes().decode().split("\n") if lines.size else []

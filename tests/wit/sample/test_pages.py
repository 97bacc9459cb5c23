"""Pages as HTML, read back by a plain reader that knows nothing of the plan."""

from __future__ import annotations

import html
from collections.abc import Iterator
from urllib.parse import urldefrag, urljoin

from selectolax.lexbor import LexborHTMLParser

from wit.sample.model import Page
from wit.sample.pages import FORMS, Rendered, render
from wit.sample.plan import plan_block

PAGES = tuple(page for block in range(4) for page in plan_block(0, block, 2000).pages)


def _decoded(rendered: Rendered) -> str:
    if "charset=" in rendered.media_type:
        return rendered.body.decode(rendered.media_type.partition("charset=")[2])
    return rendered.body.decode("windows-1252" if b"windows-1252" in rendered.body else "utf-8")


def _largest(srcset: str) -> tuple[float, str]:
    choices = [(*choice.split(), "1x")[:2] for choice in srcset.split(", ")]
    return max((float(size[:-1]), url) for url, size in choices)


def _texts(node: LexborHTMLParser) -> Iterator[tuple[str, str]]:
    """Yield (URL as written, text) of the images of a page."""
    metas = {meta.attributes["property"]: meta.attributes["content"] for meta in node.css("meta[property]")}
    if "og:image" in metas:
        yield metas["og:image"], metas.get("og:image:alt") or metas["og:description"]
    for image in node.css("img"):
        at = image.attributes
        lazy = at.get("data-src") or at.get("data-original") or at.get("data-lazy-src")
        url = lazy or at.get("src")
        sets = [at["srcset"]] if at.get("srcset") else []
        if image.parent.tag == "picture":
            sets += [source.attributes["srcset"] for source in image.parent.css("source")]
        if sets:
            url = max(_largest(one) for one in sets)[1]
        if "alt" in at or "title" in at:
            yield url, at["alt"] if "alt" in at else at["title"]
        if image.parent.tag == "figure":
            yield url, image.parent.css_first("figcaption").text()


def _found(page: Page, rendered: Rendered) -> set[tuple[str, str]]:
    tree = LexborHTMLParser(_decoded(rendered))
    base = tree.css_first("base")
    address = urljoin(page.url, base.attributes["href"]) if base else page.url
    return {(urldefrag(urljoin(address, url)).url, " ".join((text or "").split())) for url, text in _texts(tree)}


def test_a_reader_finds_exactly_what_the_plan_says() -> None:
    """Every planned (URL, caption) of a page, and nothing else, is on it: entities, charsets, bases and all."""
    for page in PAGES:
        planned = {(pair.warc.url, pair.warc.caption) for pair in (*page.pairs, *page.repeats)}
        assert _found(page, render(page)) == planned, page.url


def test_the_links_of_a_wat_hold_what_the_plan_says_of_them() -> None:
    """IMG@/src with alt, entities decoded and URLs resolved, are the candidates that the plan gives the WAT."""
    for page in PAGES:
        rendered = render(page)
        address = urljoin(page.url, rendered.base) if rendered.base else page.url
        links = [dict(link.fields) for link in rendered.links if link.path == "IMG@/src"]
        found = {
            (urldefrag(urljoin(address, html.unescape(link["url"]))).url, " ".join(html.unescape(link["alt"]).split()))
            for link in links
            if "alt" in link
        }
        assert found == {(pair.wat.url, pair.wat.caption) for pair in (*page.pairs, *page.repeats) if pair.wat}


def test_every_form_and_every_trick_occurs() -> None:
    """The pages use all forms, relative links, entities, upper-case tags, no-break spaces and comments."""
    assert {pair.form for page in PAGES for pair in page.pairs} == set(FORMS)
    text = "\n".join(_decoded(render(page)) for page in PAGES)
    for trick in (
        'src="../',
        'src="/',
        'src="//',
        "&amp;",
        "&#",
        "&nbsp;",
        "<IMG ",
        "<!-- <img",
        "<base href=",
        "data:image/gif",
        "\u00a0",
    ):
        assert trick in text, trick


def test_rendering_is_a_function_of_the_page() -> None:
    """The same page gives the same bytes."""
    assert render(PAGES[7]) == render(PAGES[7])

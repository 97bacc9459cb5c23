"""Pages as HTML, written the many ways in which the web writes an image and its text.

What a reader must find on a page is known before it is written: the plan says URL and caption, and the page is
composed around them.
"""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import dataclass
from posixpath import relpath
from random import Random
from urllib.parse import urlsplit

from wit.sample.drafting import DATA_URL
from wit.sample.model import Page, Pair

_CODECS = {
    "utf-8": "utf-8",
    "utf-8-meta": "utf-8",
    "iso-8859-1": "iso-8859-1",
    "windows-1252": "windows-1252",
    "utf-16": "utf-16",
}
_MEDIA_TYPES = {
    "utf-8": "text/html; charset=UTF-8",
    "utf-8-meta": "text/html",
    "iso-8859-1": "text/html; charset=ISO-8859-1",
    "windows-1252": "text/html",
    "utf-16": "text/html; charset=UTF-16",
}
_METAS = {
    "utf-8-meta": '<meta charset="utf-8">',
    "windows-1252": '<meta http-equiv="Content-Type" content="text/html; charset=windows-1252">',
}

_NAMED = {
    "é": "&eacute;",
    "—": "&mdash;",
    "“": "&ldquo;",
    "”": "&rdquo;",
    "’": "&rsquo;",
    "ü": "&uuml;",
    "ß": "&szlig;",
    "ñ": "&ntilde;",
}


@dataclass(frozen=True)
class Link:
    """A link as a WAT record lists it: attribute values as the page's source has them, entities and all."""

    path: str
    fields: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Rendered:
    """A page's bytes, and what Common Crawl's extractor would list of it."""

    media_type: str
    body: bytes
    title: str
    base: str
    metas: tuple[tuple[tuple[str, str], ...], ...]
    links: tuple[Link, ...]


class _Writer:
    """Collects a page's fragments and links; `raw` is text as the page's charset can hold it."""

    def __init__(self, page: Page) -> None:
        self.rng = Random(f"page {page.url}")
        self.address = page.base or page.url
        self.codec = _CODECS[page.charset]
        self.fragments: list[str] = []
        self.links: list[Link] = []
        self.metas: list[tuple[tuple[str, str], ...]] = []

    def raw(self, text: str, quote: str = '"') -> str:
        """Return `text` escaped for an attribute or an element, with entities as chance has it."""
        escaped = html.escape(text, quote=False).replace(quote, "&quot;" if quote == '"' else "&#39;")
        for character, name in _NAMED.items():
            if self.rng.random() < 0.4:
                escaped = escaped.replace(
                    character, self.rng.choice((name, f"&#{ord(character)};", f"&#x{ord(character):x};"))
                )
        if self.rng.random() < 0.08:
            escaped = escaped.replace(" ", self.rng.choice(("&nbsp;", "\n      ", "  ", "\u00a0", "&#32;")), 1)
        return escaped.encode(self.codec, "xmlcharrefreplace").decode(self.codec)

    def written(self, url: str) -> str:
        """Return `url` as the page may write it: absolute, without scheme, from the root, or relative; escaped."""
        here, there = urlsplit(self.address), urlsplit(url)
        target = there.path + (f"?{there.query}" if there.query else "")
        ways = [url, url]
        if there.scheme == "http" and there.netloc:
            ways += [f"//{there.netloc}{target}", f"{url}#top"]
            if here.netloc == there.netloc:
                folder = here.path.rpartition("/")[0] or "/"
                ways = [target, target, relpath(there.path, folder) + target[len(there.path) :], url]
        return self.rng.choice(ways).replace("&", "&amp;")

    def link(self, path: str, **fields: str) -> None:
        """Note a link for the WAT."""
        self.links.append(Link(path, tuple(fields.items())))

    def img(self, attributes: dict[str, str]) -> str:
        """Return an <img> tag and note it for the WAT; values are raw."""
        if "src" in attributes:
            seen = {name: attributes[name] for name in ("alt", "title") if name in attributes}
            self.link("IMG@/src", url=attributes["src"], **seen)
        quote = "'" if self.rng.random() < 0.06 and not any("'" in value for value in attributes.values()) else '"'
        upper = self.rng.random() < 0.05
        body = " ".join(
            f"{name.upper() if upper else name}={quote}{value}{quote}" for name, value in attributes.items()
        )
        return f"<{'IMG' if upper else 'img'} {body}{' /' if self.rng.random() < 0.3 else ''}>"


def _img(writer: _Writer, pair: Pair) -> str:
    alt = writer.raw(pair.warc.caption) if pair.warc.caption else writer.rng.choice(("", " ", "\n  "))
    attributes = {"src": writer.written(pair.warc.url), "alt": alt}
    if pair.warc.caption and writer.rng.random() < 0.15:
        attributes |= {"title": "Open the picture"}
    if writer.rng.random() < 0.2:
        attributes = {"class": "photo", "loading": "lazy"} | attributes
    return writer.img(attributes)


def _figure(writer: _Writer, pair: Pair) -> str:
    return f"<figure>{_img(writer, pair)}<figcaption>{_emphasised(writer, pair.warc.caption)}</figcaption></figure>"


def _emphasised(writer: _Writer, text: str) -> str:
    """Return `text` as an element's content, one word now and then in bold."""
    words = text.split(" ")
    if len(words) > 3 and writer.rng.random() < 0.4:
        at = writer.rng.randrange(1, len(words) - 1)
        head, tail = " ".join(words[:at]), " ".join(words[at + 1 :])
        return f"{writer.raw(head)} <b>{writer.raw(words[at])}</b> {writer.raw(tail)}"
    return writer.raw(text)


def _srcset_width(writer: _Writer, pair: Pair) -> str:
    small, large = writer.written(pair.small_url), writer.written(pair.warc.url)
    choices = [f"{small} 320w", f"{large} 640w"]
    writer.rng.shuffle(choices)
    return writer.img(
        {"src": small, "srcset": ", ".join(choices), "sizes": "50vw", "alt": writer.raw(pair.warc.caption)}
    )


def _srcset_density(writer: _Writer, pair: Pair) -> str:
    small, large = writer.written(pair.small_url), writer.written(pair.warc.url)
    return writer.img({"src": small, "srcset": f"{small}, {large} 2x", "alt": writer.raw(pair.warc.caption)})


def _picture(writer: _Writer, pair: Pair) -> str:
    small, large = writer.written(pair.small_url), writer.written(pair.warc.url)
    source = f'<source media="(min-width: 800px)" srcset="{small} 320w, {large} 640w">'
    return f"<picture>{source}{writer.img({'src': small, 'alt': writer.raw(pair.warc.caption)})}</picture>"


def _lazy_missing(writer: _Writer, pair: Pair) -> str:
    return writer.img({"data-src": writer.written(pair.warc.url), "alt": writer.raw(pair.warc.caption)})


def _lazy_data(writer: _Writer, pair: Pair) -> str:
    return writer.img(
        {"src": DATA_URL, "data-original": writer.written(pair.warc.url), "alt": writer.raw(pair.warc.caption)}
    )


def _lazy_blank(writer: _Writer, pair: Pair) -> str:
    attributes = {"src": writer.written(pair.small_url), "data-lazy-src": writer.written(pair.warc.url)}
    return writer.img(attributes | {"alt": writer.raw(pair.warc.caption)})


def _title(writer: _Writer, pair: Pair) -> str:
    return writer.img({"src": writer.written(pair.warc.url), "title": writer.raw(pair.warc.caption)})


def _figcaption(writer: _Writer, pair: Pair) -> str:
    image = writer.img({"src": writer.written(pair.warc.url)})
    return f"<figure>\n  {image}\n  <figcaption>{_emphasised(writer, pair.warc.caption)}</figcaption>\n</figure>"


def _in_head(writer: _Writer, pair: Pair) -> str:
    return ""


def _second(writer: _Writer, pair: Pair) -> str:
    """Wrap the picture before into a figure whose caption is another text."""
    image = writer.fragments.pop()
    if image.startswith("<figure>"):
        image = image.removeprefix("<figure>").partition("<figcaption>")[0]
    return f"<figure>{image}<figcaption>{_emphasised(writer, pair.warc.caption)}</figcaption></figure>"


FORMS: dict[str, Callable[[_Writer, Pair], str]] = {
    "img": _img,
    "figure": _figure,
    "second": _second,
    "srcset_width": _srcset_width,
    "srcset_density": _srcset_density,
    "picture": _picture,
    "lazy_missing": _lazy_missing,
    "lazy_data": _lazy_data,
    "lazy_blank": _lazy_blank,
    "title": _title,
    "figcaption": _figcaption,
    "og": _in_head,
}
"""How a page may say that a picture has a caption."""


_NOISE = (
    '<!-- <img src="/old/banner.jpg" alt="an old banner that nobody sees"> -->',
    '<script>document.write(\'<img src="/x.gif" alt="written by a script">\');</script>',
    "<p>Nothing to see here but words &amp; more words.</p>",
    "<ul><li>One<li>Two</ul>",
)


def render(page: Page) -> Rendered:
    """Return the bytes of a page and what an extractor lists of it."""
    writer = _Writer(page)
    title = f"Pictures of {urlsplit(page.url).netloc}"
    head = _head(writer, page, title)
    writer.link("A@/href", url="/", text="Home")
    for pair in (*page.pairs, *page.repeats):
        if pair.form != "second" and writer.rng.random() < 0.2:
            writer.fragments.append(_noise(writer))
        writer.fragments.append(FORMS[pair.form](writer, pair))
    base = _base(page)
    text = f'{head}\n<body>\n<nav><a href="/">Home</a></nav>\n' + "\n".join(writer.fragments) + "\n</body>\n</html>\n"
    return Rendered(
        _MEDIA_TYPES[page.charset], text.encode(writer.codec), title, base, tuple(writer.metas), tuple(writer.links)
    )


def _noise(writer: _Writer) -> str:
    """Return something between pictures that holds no pair."""
    if writer.rng.random() < 0.3:
        return writer.img({"src": "/pixel.gif?ad=1", "width": "1", "height": "1"})
    return writer.rng.choice(_NOISE)


def _base(page: Page) -> str:
    if page.base and urlsplit(page.base).netloc == urlsplit(page.url).netloc:
        return urlsplit(page.base).path
    return page.base


def _head(writer: _Writer, page: Page, title: str) -> str:
    lines = ["<!DOCTYPE html>", '<html lang="en">', "<head>", _METAS.get(page.charset, ""), f"<title>{title}</title>"]
    if page.base:
        lines.append(f'<base href="{_base(page)}">')
    for pair in page.pairs:
        if pair.form == "og":
            lines += _open_graph(writer, pair)
    return "\n".join([line for line in lines if line] + ["</head>"])


def _open_graph(writer: _Writer, pair: Pair) -> list[str]:
    text = writer.rng.choice(("og:image:alt", "og:description"))
    metas = [
        ("og:type", "article"),
        ("og:image", pair.warc.url.replace("&", "&amp;")),
        (text, writer.raw(pair.warc.caption)),
    ]
    writer.metas += [(("property", name), ("content", value)) for name, value in metas]
    return [f'<meta property="{name}" content="{value}">' for name, value in metas]

"""URLs and texts as markup writes them: resolving, entities, white space.

These are the definitions, one value at a time; pipelines.sources.occurrences gives the same for columns.
"""

from __future__ import annotations

import html
import re
from html.entities import html5
from urllib.parse import urldefrag, urljoin, urlsplit

from wit.errors import MAX_DETAIL_CHARACTERS

_ALREADY_ABSOLUTE = re.compile(r"https?://[A-Za-z0-9.-]*[A-Za-z0-9](?:/[!$-:=@-Z_a-z~]*)?(?:\?[!$-:=@-Z_a-z~]+)?")
_ENTITY = re.compile(r"&(?:#[0-9]+;?|#[xX][0-9a-fA-F]+;?|[A-Za-z][A-Za-z0-9]*(?:;|(?![A-Za-z0-9=])))")
_URL_BREAKS = str.maketrans("", "", "\t\n\r")  # the URL standard removes these wherever they stand
_MAX_DIGITS = 7  # of a numeric reference, leading zeros apart: the last code point has 7 decimal ones, 6 hexadecimal
_DATA = "data:"

MAX_CAPTION_BYTES = 65_536  # of UTF-8; what is longer is a page's text, and 16,384 such rows are a GiB
MAX_URL_CHARACTERS = 8192
"""Longer addresses are not fetched: Apache (LimitRequestLine) and nginx refuse them unless told otherwise."""
MAX_SHOWN_CHARACTERS, MAX_SHOWN_OF_DATA = 2_000, 100
"""Of a rejected URL or caption, and of a data: URL, which may be megabytes."""

INVISIBLE = "\u00ad\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff"
"""Removed from captions: soft hyphen, zero width space, word joiner, byte order mark, marks of writing direction.

They show nothing, and stand where a copied text left them (7 of 10,000 captions of LAION-400M have one, none of them
where it does anything); a direction override also shows a text as another than it is. The zero width joiner and
non-joiner stay: emoji and several scripts are spelt with them.
"""
_INVISIBLE = str.maketrans("", "", INVISIBLE)
_CONTROL = dict.fromkeys((*range(32), *range(127, 160)), " ")


def valid_text(text: str) -> str:
    """Return `text` with lone surrogates, which no valid UTF-8 holds, replaced by "?"."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text


def fold_space(text: str) -> str:
    """Return `text` without `INVISIBLE`, runs of white space and control characters folded to one space, stripped."""
    if not text.isprintable():
        text = text.translate(_INVISIBLE).translate(_CONTROL)
    return " ".join(text.split())


def unescape_attribute(text: str) -> str:
    """Decode character references as a browser does inside an attribute.

    There "&copy=2" and "&copyright" stay what they are, unlike in `html.unescape`, so that a URL's query survives.
    Source: HTML standard, 13.2.5.73 named character reference state.
    """
    return _ENTITY.sub(_decode_reference, text) if "&" in text else text


def _decode_reference(match: re.Match[str]) -> str:
    reference = match.group()
    if reference[1] != "#":
        return html5.get(reference[1:], reference)
    mark = reference[:3] if reference[2] in "xX" else "&#"
    digits = reference[len(mark) :].rstrip(";").lstrip("0")
    return html.unescape(f"{mark}{digits or 0};") if len(digits) <= _MAX_DIGITS else "\ufffd"


def image_address(url: str, base: str) -> str:
    """Return the address of an image made absolute; empty when it names but the page, as "" and "#top" do."""
    return resolve(url, base) if url.strip()[:1] not in ("", "#") else ""


def resolve(url: str, base: str) -> str:
    """Return `url` made absolute against `base`, without its fragment; unchanged when it cannot be parsed.

    What is longer than MAX_URL_CHARACTERS is not resolved, and nothing is resolved against such a base.
    """
    stripped = url.strip().translate(_URL_BREAKS)
    if len(stripped) > MAX_URL_CHARACTERS or is_data(stripped) or _ALREADY_ABSOLUTE.fullmatch(stripped):
        return stripped
    try:
        return urldefrag(urljoin(base if len(base) <= MAX_URL_CHARACTERS else "", stripped)).url
    except ValueError:
        return stripped


def why_not_fetchable(url: str) -> str | None:
    """Return what is wrong with an absolute URL as an image's address; None when nothing is."""
    if not url:
        return "empty"
    if is_data(url):
        return "scheme 'data'"
    if len(url) > MAX_URL_CHARACTERS:
        return f"longer than {MAX_URL_CHARACTERS} characters"
    if _ALREADY_ABSOLUTE.fullmatch(url):
        return None
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        return f"unparsable: {error}"[:MAX_DETAIL_CHARACTERS]
    if parts.scheme not in ("http", "https"):
        return f"scheme {parts.scheme[:20]!r}" if parts.scheme else "relative, and no page to resolve it against"
    return None if host else "no host"


def shown_url(url: str) -> str:
    """Return a rejected URL cut to what a reader may want to see of it."""
    return url[: MAX_SHOWN_OF_DATA if is_data(url) else MAX_SHOWN_CHARACTERS]


def is_data(url: str) -> bool:
    """Return whether an address is no address, but the image itself."""
    return url[: len(_DATA)].lower() == _DATA

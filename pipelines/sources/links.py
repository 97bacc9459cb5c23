"""URLs and texts as markup writes them: resolving, entities, white space."""

from __future__ import annotations

import html
import re
from html.entities import html5
from urllib.parse import urldefrag, urljoin, urlsplit

_ALREADY_ABSOLUTE = re.compile(r"https?://[A-Za-z0-9.-]*[A-Za-z0-9](?:/[!$-:=@-Z_a-z~]*)?(?:\?[!$-:=@-Z_a-z~]+)?")
_ENTITY = re.compile(r"&(?:#[0-9]+;?|#[xX][0-9a-fA-F]+;?|[A-Za-z][A-Za-z0-9]*(?:;|(?![A-Za-z0-9=])))")
_URL_BREAKS = str.maketrans("", "", "\t\n\r")  # the URL standard removes these wherever they stand


def valid_text(text: str) -> str:
    """Return `text` with lone surrogates, which no valid UTF-8 holds, replaced by "?"."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text


def fold_space(text: str) -> str:
    """Return `text` with runs of white space and control characters folded to one space, stripped."""
    if not text.isprintable():
        text = "".join(" " if char < " " or "\x7f" <= char <= "\x9f" else char for char in text)
    return " ".join(text.split())


def unescape_attribute(text: str) -> str:
    """Decode character references as a browser does inside an attribute.

    There "&copy=2" and "&copyright" stay what they are, unlike in `html.unescape`, so that a URL's query survives.
    Source: HTML standard, 13.2.5.73 named character reference state.
    """
    return _ENTITY.sub(_decode_reference, text) if "&" in text else text


def _decode_reference(match: re.Match[str]) -> str:
    reference = match.group()
    return html.unescape(reference) if reference[1] == "#" else html5.get(reference[1:], reference)


def resolve(url: str, base: str) -> str:
    """Return `url` made absolute against `base`, without its fragment; unchanged when it cannot be parsed."""
    stripped = url.strip().translate(_URL_BREAKS)
    if _ALREADY_ABSOLUTE.fullmatch(stripped):
        return stripped
    try:
        return urldefrag(urljoin(base, stripped)).url
    except ValueError:
        return stripped


def why_not_fetchable(url: str) -> str | None:
    """Return what is wrong with an absolute URL as an image's address; None when nothing is."""
    if _ALREADY_ABSOLUTE.fullmatch(url):
        return None
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        return f"unparsable: {error}"
    if parts.scheme not in ("http", "https"):
        return f"scheme {parts.scheme[:20]!r}" if parts.scheme else "relative, and no page to resolve it against"
    return None if host else "no host"

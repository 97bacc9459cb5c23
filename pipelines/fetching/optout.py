"""What a response's headers forbid: X-Robots-Tag and the TDM reservation protocol.

Sources: developers.google.com/search/docs/crawling-indexing/robots-meta-tag (form, agent prefix), the noai and
noimageai values in common use, W3C Community Group "TDM Reservation Protocol" (tdm-reservation: 1).
"""

from __future__ import annotations

from collections.abc import Iterable

FORBIDS = frozenset({"noai", "noimageai", "noindex", "noimageindex", "none", "noml"})
_WITH_VALUE = frozenset({"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"})


def _forbidding_directive(value: str, agent: str) -> str | None:
    """Return the first directive of one X-Robots-Tag value that forbids `agent`; "bot: a, b" binds that bot alone."""
    bound_to = agent
    for item in value.lower().split(","):
        name, colon, rest = (part.strip() for part in item.partition(":"))
        if colon and name in _WITH_VALUE:
            continue
        if colon:
            bound_to, name = name, rest
        if bound_to == agent and name in FORBIDS:
            return name
    return None


def opted_out(headers: Iterable[tuple[str, str]], agent: str) -> str | None:
    """Return which header forbids the use of a response ("X-Robots-Tag: noai"), or None.

    `headers` are (name, value) in the response's order, repeated names included; `agent` is our product token.
    """
    for name, value in headers:
        if name.lower() == "x-robots-tag":
            found = _forbidding_directive(value, agent)
            if found:
                return f"X-Robots-Tag: {found}"
        elif name.lower() == "tdm-reservation" and value.strip() == "1":
            return "tdm-reservation: 1"
    return None

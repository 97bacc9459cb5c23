"""What a response's headers forbid: X-Robots-Tag and the TDM reservation protocol.

Sources: developers.google.com/search/docs/crawling-indexing/robots-meta-tag (form, agent prefix), the noai and
noimageai values in common use, W3C Community Group "TDM Reservation Protocol" (tdm-reservation: 1).
"""

from __future__ import annotations

from collections.abc import Iterable

TDM_RESERVATION = "tdm-reservation"
OPT_OUTS = {
    "noai": "opted_out_noai",
    "noimageai": "opted_out_noimageai",
    "noindex": "opted_out_noindex",
    "noimageindex": "opted_out_noimageindex",
    "none": "opted_out_none",
    "noml": "opted_out_noml",
    TDM_RESERVATION: "opted_out_tdm",
}
"""Each way to opt out, a value of X-Robots-Tag or the other header's name, and the reason that it becomes."""

_WITH_VALUE = frozenset({"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"})


def _forbidding_directive(value: str, agent: str, obeyed: frozenset[str]) -> str | None:
    """Return the first directive of one X-Robots-Tag value that forbids `agent`; "bot: a, b" binds that bot alone."""
    bound_to = agent
    for item in value.lower().split(","):
        name, colon, rest = (part.strip() for part in item.partition(":"))
        if colon and name in _WITH_VALUE:
            continue
        if colon:
            bound_to, name = name, rest
        if bound_to == agent and name in obeyed:
            return name
    return None


def opted_out(headers: Iterable[tuple[str, str]], agent: str, obeyed: frozenset[str]) -> tuple[str, str] | None:
    """Return why a response must not be used: (reason, the header, such as "X-Robots-Tag: noai"), or None.

    `headers` are (name, value) in the response's order, repeated names included; `agent` is our product token, `obeyed`
    the keys of OPT_OUTS that count. The first that forbids decides.
    """
    for name, value in headers:
        match name.lower():
            case "x-robots-tag":
                found = _forbidding_directive(value, agent, obeyed)
                if found:
                    return OPT_OUTS[found], f"X-Robots-Tag: {found}"
            case "tdm-reservation" if TDM_RESERVATION in obeyed and value.strip() == "1":
                return OPT_OUTS[TDM_RESERVATION], "tdm-reservation: 1"
    return None

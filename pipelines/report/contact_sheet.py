"""The page of a contact sheet: samples side by side, each with its picture and what is known of it.

Captions and addresses are hostile text. An address is a link only when it is plainly one of the web; all else is text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from wit.page import Html, Section, document, element, foreign, headline, joined, number, paragraph

MAX_TERMS, MAX_TERM = 12, 60  # so many, of so many characters
MAX_CAPTION = 400
MAX_URL = 70

_WEB = re.compile(r"https?://[!#-;=?-_a-z~]+", re.ASCII)
"""What becomes a link: no spaces, double quotes, angle brackets, signs beyond ASCII; other schemes may run scripts."""
_MAX_LINK = 2_000


@dataclass(frozen=True)
class Card:
    """What is shown of a sample; `picture` is a data URI, or `problem` says why there is none."""

    picture: str
    problem: str
    caption: str
    terms: tuple[str, ...]
    url: str
    page_url: str | None
    width: int
    height: int
    num_bytes: int
    member: str
    key: str
    shard: str


def render(
    name: str, conditions: Sequence[str], seed: int, cards: Sequence[Card], num_met: int, num_samples: int
) -> str:
    """Return the page as HTML; `num_met` of `num_samples` meet the conditions, of which the cards are some."""
    facts = {"samples": number(num_samples), "shown": number(len(cards))}
    if conditions:
        facts = {
            "samples": number(num_samples),
            "that meet the conditions": number(num_met),
            "shown": number(len(cards)),
        }
    which = "All of them" if len(cards) == num_met else f"A uniform sample (seed {seed})"
    opening = [
        paragraph("Shards: ", foreign(name), "."),
        *([paragraph("Conditions: ", joined(map(foreign, conditions), "; "), ".")] if conditions else []),
        headline(facts),
    ]
    sheet = element("div", *map(_card, cards), class_="sheet")
    return document(
        "Contact sheet", opening, [Section("Samples", (paragraph(f"{which}, in the shards' order."), sheet))]
    )


def _card(card: Card) -> Html:
    caption = foreign(card.caption, MAX_CAPTION) if card.caption.strip() else _quiet("no caption")
    return element(
        "figure",
        _picture(card),
        element(
            "figcaption",
            paragraph(caption, class_="caption"),
            *([paragraph(*_terms(card.terms), class_="terms")] if card.terms else []),
            element("dl", *_facts(card)),
        ),
    )


def _quiet(words: str) -> Html:
    return element("span", words, class_="quiet")


def _picture(card: Card) -> Html:
    if card.picture:
        return element("img", src=card.picture, alt=f"image {card.key[:MAX_URL]}", loading="lazy")
    return element("div", _quiet("not shown: "), foreign(card.problem), class_="missing")


def _terms(terms: Sequence[str]) -> list[Html]:
    more = [_quiet(f"and {len(terms) - MAX_TERMS:,} more")] if len(terms) > MAX_TERMS else []
    return [element("span", foreign(term, MAX_TERM), class_="tag") for term in terms[:MAX_TERMS]] + more


def _facts(card: Card) -> list[Html]:
    suffix = card.member.rpartition(".")[2]
    size = [f"{card.width:,} × {card.height:,} px, " if card.width else "", f"{card.num_bytes / 1e3:,.1f} kB, "]
    facts = {
        "image": address(card.url),
        "page": address(card.page_url or ""),
        "size": joined([*size, foreign(suffix)]),
        "key": joined([element("code", foreign(card.key)), " in ", foreign(card.shard)]),
    }
    return [element("div", element("dt", name), element("dd", value)) for name, value in facts.items() if value]


def address(url: str) -> Html:
    """Return an address: a link when it is plainly one of the web, else its text; nothing when it is blank."""
    if not url.strip():
        return Html("")
    shown = foreign(url, MAX_URL)
    if len(url) > _MAX_LINK or not _WEB.fullmatch(url) or ".invalid/" in url:
        return shown
    return element("a", shown, href=url, rel="noopener noreferrer nofollow")

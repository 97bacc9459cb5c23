"""The plan of the miniature web: which pages show which pictures with which captions, and what is wrong with them.

A block of the plan is a pure function of (seed, index of the block), so a web of any size is planned, drawn and
written block by block in bounded memory.
"""

from __future__ import annotations

from random import Random

from wit.sample.drafting import GOOD, Draftsman
from wit.sample.hosts import HOSTS
from wit.sample.intents import plan_pair, schedule
from wit.sample.model import BLOCK_PAIRS, PAGE_PAIRS, Block, Page, Pair

CHARSETS = ("utf-8", "utf-8-meta", "iso-8859-1", "windows-1252", "utf-16")
_CHARSET_WEIGHTS = (50, 25, 12, 12, 1)


def num_blocks(num_pairs: int) -> int:
    """Return how many blocks hold `num_pairs` pairs."""
    return -(-num_pairs // BLOCK_PAIRS)


def plan_block(seed: int, index: int, num_pairs: int) -> Block:
    """Return block `index` of the web of `num_pairs` pairs."""
    rng = Random(f"{seed} block {index}")
    first = index * BLOCK_PAIRS
    size = min(BLOCK_PAIRS, num_pairs - first)
    draftsman = Draftsman(seed, index)
    intents = schedule(index, rng)[:size]
    pages: list[Page] = []
    for start in range(0, size, PAGE_PAIRS):
        draftsman.page_host = rng.choice(HOSTS)
        pairs = _pairs(draftsman, intents[start : start + PAGE_PAIRS], first + start)
        pages.append(_page(rng, draftsman.page_host, f"{index}-{start // PAGE_PAIRS}", pairs, _repeats(rng, pages)))
    return Block(index, tuple(pages), draftsman.responses)


def _pairs(draftsman: Draftsman, intents: list[str], first: int) -> tuple[Pair, ...]:
    page: list[Pair] = []
    for index, intent in enumerate(intents, first):
        page.append(plan_pair(draftsman, intent, index, page))
    return tuple(page)


def _repeats(rng: Random, pages: list[Page]) -> tuple[Pair, ...]:
    """Return pairs of earlier pages that this page shows again: the same URL with the same caption."""
    if not pages or rng.random() > 0.4:
        return ()
    again = [pair for pair in rng.choice(pages).pairs if pair.intent == GOOD and pair.form == "img"]
    return tuple(again[: rng.randint(1, 2)])


def _page(rng: Random, host: str, number: str, pairs: tuple[Pair, ...], repeats: tuple[Pair, ...]) -> Page:
    folder = rng.choice(("gallery", "blog/2023", "stories", "a/b"))
    suffix = rng.choice((".html", "/", ".php?view=1&page=2"))
    base = rng.choice((f"http://{host}/", f"http://{rng.choice(HOSTS)}/shared/")) if rng.random() < 0.15 else ""
    charset = rng.choices(CHARSETS, weights=_CHARSET_WEIGHTS)[0]
    return Page(f"http://{host}/{folder}/page-{number}{suffix}", charset, base, pairs, repeats)

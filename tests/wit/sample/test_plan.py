"""The plan of the miniature web."""

from __future__ import annotations

from collections import Counter
from urllib.parse import urlsplit

from wit.keys import sample_key
from wit.sample.intents import INTENTS
from wit.sample.model import BLOCK_PAIRS
from wit.sample.plan import CHARSETS, num_blocks, plan_block

_SLOW = ("slow", "drip", "hang", "endless", "truncated", "reset")


def test_a_block_is_a_function_of_seed_and_index() -> None:
    """The same block again is equal; another seed or index gives another; the number of pairs only cuts the last."""
    assert plan_block(1, 2, 4000) == plan_block(1, 2, 4000) == plan_block(1, 2, 1_000_000)
    assert plan_block(1, 2, 4000) != plan_block(2, 2, 4000)
    assert sum(len(page.pairs) for page in plan_block(1, 2, 2 * BLOCK_PAIRS + 77).pages) == 77


def test_there_are_as_many_pairs_as_asked_for() -> None:
    """Indices run from 0 without a gap, and (URL, caption) are distinct but for nothing."""
    pairs = [
        pair for block in range(num_blocks(1234)) for page in plan_block(5, block, 1234).pages for pair in page.pairs
    ]
    assert [pair.index for pair in pairs] == list(range(1234))
    assert len({sample_key(pair.warc.url, pair.warc.caption) for pair in pairs}) == 1234


def test_every_intent_happens() -> None:
    """A thousand pairs hold every kind of pair, and more than half are good."""
    intents = Counter(
        pair.intent for block in range(2) for page in plan_block(0, block, 1000).pages for pair in page.pairs
    )
    assert set(intents) == set(INTENTS)
    assert intents["good"] > 550


def test_servers_that_stall_are_few_and_apart() -> None:
    """At most 12 URLs stall or break off, each on a host of its own, all in the first block."""
    stalling = [
        (block, url)
        for block in range(4)
        for url, response in plan_block(0, block, 2000).responses.items()
        if response.behaviour in _SLOW
    ]
    assert 0 < len(stalling) <= 12
    assert len({urlsplit(url).netloc for _, url in stalling}) == len(stalling)
    assert {block for block, _ in stalling} == {0}


def test_the_web_is_wide_and_varied() -> None:
    """At least 20 hosts; every charset; every form; pages that show earlier pairs again."""
    blocks = [plan_block(0, block, 4000) for block in range(8)]
    pages = [page for block in blocks for page in block.pages]
    assert len({urlsplit(page.url).netloc for page in pages}) >= 20
    assert {page.charset for page in pages} == set(CHARSETS)
    assert sum(len(page.repeats) for page in pages) > 50
    assert any(page.base for page in pages)
    assert len({page.url for page in pages}) == len(pages)


def test_planned_redirects_lead_where_they_should() -> None:
    """A good pair behind redirects ends at a picture within five hops; a planted loop does not."""
    chains = 0
    for block in range(8):
        plan = plan_block(0, block, 4000)
        for pair in (
            pair for page in plan.pages for pair in page.pairs if pair.intent in ("good", "too_many_redirects")
        ):
            url, hops = pair.warc.url, 0
            while plan.responses[url].status in (301, 302, 303, 307, 308) and hops < 10:
                url, hops = dict(plan.responses[url].headers)["Location"], hops + 1
            chains += 0 < hops <= 5
            assert (hops <= 5) == (pair.intent == "good")
    assert chains > 5

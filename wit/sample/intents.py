"""What each planned pair is for, and how many of each kind a block holds."""

from __future__ import annotations

from random import Random

from wit.sample import captions
from wit.sample.drafting import GOOD, Draftsman
from wit.sample.faults import (
    OPT_OUTS_A_BLOCK,
    Planner,
    answering,
    bad_url,
    behaving,
    disallowed,
    empty_caption,
    image_fault,
    loop,
    opted_out,
    private,
    status,
    text_fault,
    unsupported,
    worded,
)
from wit.sample.hosts import BUSY_HOST
from wit.sample.model import BLOCK_PAIRS, Pair
from wit.sample.sound_pairs import edited_copy, good, planted, same_body, second_caption

PLANTED_BLOCKS = 20
"""Blocks whose pictures evaluation sets may hold copies of: the sets stay small when the web grows."""

_EVERYWHERE: dict[str, tuple[int, Planner]] = {
    "empty_caption": (6, empty_caption),
    "bad_url": (5, bad_url),
    "too_short": (6, text_fault("too_short")),
    "too_long": (2, text_fault("too_long")),
    "no_letters": (3, text_fault("no_letters")),
    "camera_name": (2, text_fault("camera_name")),
    "date": (1, text_fault("date")),
    "id": (1, text_fault("id")),
    "file_name": (3, text_fault("file_name")),
    "repetition": (1, text_fault("repetition")),
    "boilerplate": (4, text_fault("boilerplate")),
    "markup": (3, text_fault("markup")),
    "language": (12, text_fault("language")),
    "no_match": (8, worded(captions.unmatched, "no_match")),
    "generic": (15, worded(captions.generic, "generic")),
    "http_status": (8, answering("http_status", "http_status", status(404, 404, 404, 403, 410, 500))),
    "robots_disallowed": (5, answering("robots_disallowed", "robots_disallowed", disallowed)),
    "opted_out": (OPT_OUTS_A_BLOCK, opted_out),
    "too_many_redirects": (2, answering("too_many_redirects", "too_many_redirects", loop)),
    "private_address": (3, answering("private_address", "private_address", private)),
    "unsupported_url": (2, answering("unsupported_url", "unsupported_url", unsupported)),
    "not_image": (4, image_fault("not_image", fetch="not_image", variant="html", formats=("jpeg", "png"))),
    "not_image_svg": (1, image_fault("not_image_svg", fetch="not_image", variant="svg")),
    "corrupt_image": (
        3,
        image_fault("corrupt_image", fetch="corrupt_image", variant="corrupt", formats=("jpeg", "png")),
    ),
    "too_many_pixels": (
        2,
        image_fault("too_many_pixels", fetch="too_many_pixels", variant="bomb", formats=("png", "jpeg")),
    ),
    "too_small": (
        5,
        image_fault("too_small", image="too_small", formats=("jpeg", "png"), sizes=((16, 16), (31, 120), (240, 20))),
    ),
    "extreme_aspect": (
        4,
        image_fault("extreme_aspect", image="extreme_aspect", sizes=((240, 60), (48, 230), (320, 40))),
    ),
    "low_entropy": (
        4,
        image_fault("low_entropy", image="low_entropy", variant="blank", formats=("jpeg", "png", "gif")),
    ),
    "animated": (4, image_fault("animated", image="animated", variant="animated", formats=("gif", "png", "webp"))),
    "same_body": (7, same_body),
    "edited_copy": (12, edited_copy),
    "second_caption": (16, second_caption),
    "planted": (12, planted),
}
"""Pairs in a block, and how each is planned."""

_FIRST_BLOCK: dict[str, tuple[int, Planner]] = {
    "slow": (2, answering("slow", "timeout", behaving("slow"))),
    "drip": (2, answering("drip", "timeout", behaving("drip"))),
    "hang": (2, answering("hang", "timeout", behaving("hang"))),
    "endless": (2, answering("endless", "too_large", behaving("endless"))),
    "truncated": (2, answering("truncated", "truncated_body", behaving("truncated"))),
    "reset": (2, answering("reset", "connection_error", behaving("reset"))),
    "rate_limited": (2, answering("rate_limited", "rate_limited", status(429, host=BUSY_HOST))),
}
"""Slow faults: in the first block only, so that a crawl of a larger web is not slower for them."""

INTENTS: dict[str, Planner] = {GOOD: good} | {name: plan for name, (_, plan) in (_EVERYWHERE | _FIRST_BLOCK).items()}


def schedule(block: int, rng: Random) -> list[str]:
    """Return the intents of a block's pairs, in the order of the pages."""
    counts = _EVERYWHERE | (_FIRST_BLOCK if block == 0 else {})
    faults = [
        name for name, (count, _) in counts.items() if name != "planted" or block < PLANTED_BLOCKS for _ in range(count)
    ]
    intents = faults + [GOOD] * (BLOCK_PAIRS - len(faults))
    rng.shuffle(intents)
    return intents


def plan_pair(draftsman: Draftsman, intent: str, index: int, page: list[Pair]) -> Pair:
    """Return the pair of an intent; `page` holds the pairs before it on the same page."""
    return INTENTS[intent](draftsman, index, page)

"""Pairs at fault: one way to fail for every reason with which a stage may reject."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

from wit.sample import captions
from wit.sample.drafting import DATA_URL, Draftsman, as_planned, describe_picture, redirect, redirected, sound
from wit.sample.encoding import Picture
from wit.sample.hosts import CLOSED_HOST, DISALLOWED_FOLDERS, FAULTY_HOSTS, HOSTS, HOSTS_WITH_ROBOTS
from wit.sample.model import BLOCK_PAIRS, Candidate, Pair, Response
from wit.sample.scenes import random_scene

Planner = Callable[[Draftsman, int, list[Pair]], Pair]
"""Plans the pair of an index; the pairs before it on the same page are given."""

# --- captions and URLs at fault ---


def text_fault(reason: str) -> Planner:
    def plan(draftsman: Draftsman, index: int, page: list[Pair]) -> Pair:
        picture = Picture(random_scene(f"{draftsman.seed} {index}"), 96, 96)
        url = draftsman.image_url(index, picture)
        draftsman.serve(url, picture)
        caption = captions.faulty(reason, index, draftsman.rng("caption", index))
        return as_planned(reason, index, replace(sound(url, caption, picture), text_reason=reason))

    return plan


def empty_caption(draftsman: Draftsman, index: int, page: list[Pair]) -> Pair:
    picture = Picture(random_scene(f"{draftsman.seed} {index}"), 96, 96)
    url = draftsman.image_url(index, picture)
    draftsman.serve(url, picture)
    return as_planned("empty_caption", index, replace(sound(url, "", picture), extract_reason="empty_caption"))


_BAD_URLS = (
    DATA_URL,
    "javascript:void(0)",
    "ftp://files.kolvik.test/p{index}.jpg",
    "https:///p{index}.jpg",
    "about:blank",
    "file:///etc/p{index}.jpg",
)


def bad_url(draftsman: Draftsman, index: int, page: list[Pair]) -> Pair:
    rng = draftsman.rng("bad url", index)
    caption = captions.describe(random_scene(f"{draftsman.seed} {index}"), rng)
    return as_planned(
        "bad_url", index, Candidate(rng.choice(_BAD_URLS).format(index=index), caption, extract_reason="bad_url")
    )


def worded(wording: Callable[[Random], str], intent: str) -> Planner:
    """A sound picture whose caption matches nothing, or only what is over the cap."""

    def plan(draftsman: Draftsman, index: int, page: list[Pair]) -> Pair:
        picture = draftsman.picture(index)
        url = draftsman.image_url(index, picture)
        draftsman.serve(url, picture)
        return as_planned(intent, index, sound(url, wording(draftsman.rng("caption", index)), picture))

    return plan


# --- bodies at fault ---


def image_fault(
    intent: str,
    *,
    fetch: str = "",
    image: str = "",
    variant: str = "",
    formats: tuple[str, ...] = ("jpeg",),
    sizes: tuple[tuple[int, int], ...] = ((200, 160),),
) -> Planner:
    def plan(draftsman: Draftsman, index: int, page: list[Pair]) -> Pair:
        rng = draftsman.rng("fault", index)
        width, height = rng.choice(sizes)
        picture = Picture(random_scene(f"{draftsman.seed} {index}"), width, height, rng.choice(formats), variant)
        url = draftsman.image_url(index, picture)
        draftsman.serve(url, picture, behaviour="lying_type" if variant in ("html", "svg") else "normal")
        candidate = sound(url, describe_picture(draftsman, index, picture, place=True), picture)
        return as_planned(intent, index, replace(candidate, fetch_reason=fetch, image_reason=image))

    return plan


# --- servers at fault ---


def answering(
    intent: str, reason: str, answer: Callable[[Random, Draftsman, int, Picture], str], archived: bool = False
) -> Planner:
    """A pair whose URL (returned by `answer`, which sets its response) fails in fetch with `reason`."""

    def plan(draftsman: Draftsman, index: int, page: list[Pair]) -> Pair:
        picture = Picture(random_scene(f"{draftsman.seed} {index}"), 160, 120)
        url = answer(draftsman.rng("answer", index), draftsman, index, picture)
        candidate = sound(url, describe_picture(draftsman, index, picture, place=True), picture)
        return as_planned(intent, index, replace(candidate, fetch_reason=reason, archived=archived))

    return plan


def status(*codes: int, host: str = "") -> Callable[[Random, Draftsman, int, Picture], str]:
    def answer(rng: Random, draftsman: Draftsman, index: int, picture: Picture) -> str:
        url = draftsman.image_url(index, picture, host=host)
        code = rng.choice(codes)
        draftsman.responses[url] = Response(code, (("Content-Type", "text/html"),), text=f"<h1>{code}</h1>".encode())
        return url

    return answer


def behaving(behaviour: str) -> Callable[[Random, Draftsman, int, Picture], str]:
    def answer(rng: Random, draftsman: Draftsman, index: int, picture: Picture) -> str:
        used = sum(response.behaviour not in ("normal", "lying_type") for response in draftsman.responses.values())
        url = draftsman.image_url(index, picture, host=FAULTY_HOSTS[used % len(FAULTY_HOSTS)])
        draftsman.serve(url, picture, behaviour=behaviour)
        return url

    return answer


def disallowed(rng: Random, draftsman: Draftsman, index: int, picture: Picture) -> str:
    host = rng.choice((CLOSED_HOST, rng.choice(HOSTS_WITH_ROBOTS), rng.choice(HOSTS_WITH_ROBOTS)))
    folder = "open" if host == CLOSED_HOST else rng.choice(DISALLOWED_FOLDERS)
    url = draftsman.image_url(index, picture, host=host, folder=folder)
    draftsman.serve(url, picture)
    return url


_OPT_OUTS = {
    "opted_out_noai": (("X-Robots-Tag", "noai"), ("X-Robots-Tag", "nofollow, noai"), ("X-Robots-Tag", "NOAI")),
    "opted_out_tdm": (("tdm-reservation", "1"),),
    "opted_out_noimageai": (("X-Robots-Tag", "noimageai"),),
    "opted_out_noindex": (("X-Robots-Tag", "noindex"),),
    "opted_out_noimageindex": (("X-Robots-Tag", "noimageindex"),),
    "opted_out_none": (("X-Robots-Tag", "none"),),
    "opted_out_noml": (("X-Robots-Tag", "noml"),),
}
"""Headers by the reason that they are rejected for."""
OPT_OUTS_A_BLOCK = 6
"""Pairs of a block that opt out; over some blocks each way comes about as often."""


def opted_out(draftsman: Draftsman, index: int, page: list[Pair]) -> Pair:
    """A picture whose headers forbid its use; the ways to say so take turns, from block to block."""
    headers = [header for each in _OPT_OUTS.values() for header in each]
    used = sum(any(header in headers for header in response.headers) for response in draftsman.responses.values())
    reason = list(_OPT_OUTS)[(index // BLOCK_PAIRS * OPT_OUTS_A_BLOCK + used) % len(_OPT_OUTS)]

    def answer(rng: Random, draftsman: Draftsman, index: int, picture: Picture) -> str:
        url = draftsman.image_url(index, picture)
        draftsman.serve(url, picture, headers=(rng.choice(_OPT_OUTS[reason]),))
        return url

    return answering("opted_out", reason, answer, archived=True)(draftsman, index, page)


def loop(rng: Random, draftsman: Draftsman, index: int, picture: Picture) -> str:
    """Six hops where five are allowed, or a circle."""
    if rng.random() < 0.5:
        final = draftsman.image_url(index, picture)
        draftsman.serve(final, picture)
        return redirected(draftsman, index, final, picture, 6)
    there, back = (f"http://{rng.choice(HOSTS)}/loop/{index}-{turn}.jpg" for turn in "ab")
    draftsman.responses[there], draftsman.responses[back] = redirect(back), redirect(there)
    return there


_PRIVATE = (
    "http://169.254.169.254/latest/meta-data/",
    "http://127.0.0.1/p{index}.jpg",
    "http://10.0.0.5/p{index}.jpg",
    "http://[::1]/p{index}.jpg",
    "http://192.168.1.1/p{index}.jpg",
)


def private(rng: Random, draftsman: Draftsman, index: int, picture: Picture) -> str:
    target = rng.choice(_PRIVATE).format(index=index)
    return target if rng.random() < 0.4 else _lead_to(target, rng, draftsman, index)


def unsupported(rng: Random, draftsman: Draftsman, index: int, picture: Picture) -> str:
    return _lead_to(
        rng.choice((f"ftp://files.kolvik.test/p{index}.jpg", "file:///etc/passwd", DATA_URL)), rng, draftsman, index
    )


def _lead_to(target: str, rng: Random, draftsman: Draftsman, index: int) -> str:
    url = f"http://{rng.choice(HOSTS)}/out/{index}.jpg"
    draftsman.responses[url] = redirect(target)
    return url

"""Good pairs, in every form in which a page may say them, and pairs that show what another shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

from wit.sample.drafting import (
    BLANK_URL,
    DATA_URL,
    GOOD,
    Draftsman,
    as_planned,
    describe_picture,
    redirected,
    sound,
)
from wit.sample.encoding import GREY_VARIANTS, Picture
from wit.sample.model import Candidate, Pair

# --- good pairs, in every form in which a page may say them ---


def good(draftsman: Draftsman, index: int, page: list[Pair]) -> Pair:
    """A pair with nothing wrong about it."""
    rng = draftsman.rng("form", index)
    copied = rng.random() < 0.25
    picture = draftsman.picture(index, fit_for_copies=copied)
    url = draftsman.image_url(index, picture)
    if rng.random() < 0.02:
        url = redirected(draftsman, index, url, picture, rng.randint(1, 5))
    draftsman.serve(draftsman.image_url(index, picture), picture)
    candidate = sound(url, describe_picture(draftsman, index, picture), picture)
    candidate = replace(candidate, archived=url in draftsman.responses and draftsman.responses[url].status == 200)
    if copied or not candidate.archived:
        pair = as_planned(GOOD, index, candidate)
        if candidate.archived:
            draftsman.originals.append((pair, picture))
        return pair
    form = rng.choices(tuple(_FORMS), weights=[weight for weight, _ in _FORMS.values()])[0]
    if form == "og" and any(pair.form == "og" for pair in page):
        form = "img"  # a page has one og:image
    return _FORMS[form][1](draftsman, index, form, candidate, picture)


def _as_img(draftsman: Draftsman, index: int, form: str, candidate: Candidate, picture: Picture) -> Pair:
    return Pair(index, GOOD, form, candidate, candidate)


def _unseen_by_wat(draftsman: Draftsman, index: int, form: str, candidate: Candidate, picture: Picture) -> Pair:
    return Pair(index, GOOD, form, candidate, None)


def _with_small(draftsman: Draftsman, index: int, form: str, candidate: Candidate, picture: Picture) -> Pair:
    small = replace(picture, width=picture.width // 2, height=picture.height // 2, variant="")
    if picture.variant in GREY_VARIANTS:
        small = replace(small, variant=picture.variant)
    url = draftsman.image_url(index, small, suffix="-small")
    draftsman.serve(url, small)
    return Pair(index, GOOD, form, candidate, sound(url, candidate.caption, small), small_url=url)


def _lazy_behind_data(draftsman: Draftsman, index: int, form: str, candidate: Candidate, picture: Picture) -> Pair:
    seen = Candidate(DATA_URL, candidate.caption, extract_reason="bad_url")
    return Pair(index, GOOD, form, candidate, seen)


def _lazy_behind_blank(draftsman: Draftsman, index: int, form: str, candidate: Candidate, picture: Picture) -> Pair:
    url = BLANK_URL.format(host=draftsman.page_host)
    seen = Candidate(url, candidate.caption, image_reason="too_small", shows="blank", num_pixels=1)
    return Pair(index, GOOD, form, candidate, seen, small_url=url)


_Form = Callable[[Draftsman, int, str, Candidate, Picture], Pair]

_FORMS: dict[str, tuple[int, _Form]] = {
    "img": (50, _as_img),
    "figure": (8, _as_img),
    "srcset_width": (6, _with_small),
    "srcset_density": (4, _with_small),
    "picture": (5, _with_small),
    "lazy_missing": (5, _unseen_by_wat),
    "lazy_data": (4, _lazy_behind_data),
    "lazy_blank": (3, _lazy_behind_blank),
    "title": (4, _unseen_by_wat),
    "figcaption": (6, _unseen_by_wat),
    "og": (5, _unseen_by_wat),
}
"""How often a good pair takes each form, and how."""


# --- copies ---


def _original(draftsman: Draftsman, index: int) -> tuple[Pair, Picture] | None:
    return draftsman.originals.pop(0) if draftsman.originals else None


def same_body(draftsman: Draftsman, index: int, page: list[Pair]) -> Pair:
    """The same bytes under another URL."""
    original = _original(draftsman, index)
    if original is None:
        return good(draftsman, index, page)
    picture = original[1]
    url = draftsman.image_url(index, picture)
    draftsman.serve(url, picture)
    return as_planned("same_body", index, sound(url, describe_picture(draftsman, index, picture), picture))


def edited_copy(draftsman: Draftsman, index: int, page: list[Pair]) -> Pair:
    """The picture resized and encoded anew."""
    original = _original(draftsman, index)
    if original is None:
        return good(draftsman, index, page)
    rng = draftsman.rng("edit", index)
    picture = edited(original[1], rng)
    url = draftsman.image_url(index, picture)
    draftsman.serve(url, picture)
    return as_planned("edited_copy", index, sound(url, describe_picture(draftsman, index, picture), picture))


def edited(picture: Picture, rng: Random) -> Picture:
    """Return the picture resized to 60 to 100 % and encoded anew."""
    scale = rng.uniform(0.6, 1.0)
    width, height = round(picture.width * scale), round(picture.height * scale)
    kind, quality = rng.choice((("jpeg", 70), ("jpeg", 85), ("png", 88), ("webp", 85)))
    return replace(picture, width=width, height=height, format=kind, quality=quality, copy_of=picture)


def second_caption(draftsman: Draftsman, index: int, page: list[Pair]) -> Pair:
    """Another caption of the picture before, in the figure's <figcaption>."""
    before = page[-1] if page else None
    if before is None or before.intent != GOOD or before.form not in ("img", "figure"):
        return good(draftsman, index, page)
    caption = "Shown here: " + before.warc.caption
    return Pair(index, "second_caption", "second", replace(before.warc, caption=caption), None)


def planted(draftsman: Draftsman, index: int, page: list[Pair]) -> Pair:
    """A picture of which an evaluation set holds a copy, exact or edited."""
    picture = draftsman.picture(index, fit_for_copies=True)
    url = draftsman.image_url(index, picture)
    draftsman.serve(url, picture)
    candidate = sound(url, describe_picture(draftsman, index, picture), picture)
    return as_planned("planted", index, replace(candidate, planted=True))

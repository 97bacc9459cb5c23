"""What each planned pair is for: good ones, and one way to fail for every reason a stage may reject with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

from wit.sample import captions
from wit.sample.encoding import EXTENSIONS, GREY_VARIANTS, MEDIA_TYPES, Picture
from wit.sample.hosts import BUSY_HOST, CLOSED_HOST, DISALLOWED_FOLDERS, FAULTY_HOSTS, HOSTS, HOSTS_WITH_ROBOTS
from wit.sample.model import BLOCK_PAIRS, Candidate, Pair, Response
from wit.sample.scenes import random_scene

GOOD = "good"
PLANTED_BLOCKS = 20
"""Blocks whose pictures evaluation sets may hold copies of: the sets stay small when the web grows."""

STORED_PX = 256
"""Pictures that have copies are no larger, so that no resizing comes between them."""

BLANK_URL = "http://{host}/static/blank.gif"
BLANK_PICTURE = Picture(random_scene("blank"), 1, 1, "gif", "blank")
"""What lazy pages show until the picture has come; every host serves it."""


class Draftsman:
    """Plans the pairs of one block, one after the other, and remembers the responses they need."""

    def __init__(self, seed: int, block: int) -> None:
        self.seed = seed
        self.block = block
        self.page_host = HOSTS[0]
        """Host of the page that is being planned; most of its pictures lie there too."""
        self.responses: dict[str, Response] = {}
        self.originals: list[tuple[Pair, Picture]] = []
        """Good pairs that later pairs may copy."""

    def rng(self, purpose: str, index: int) -> Random:
        """Return the random numbers for one purpose of one pair."""
        return Random(f"{self.seed} {purpose} {index}")

    def picture(self, index: int, *, fit_for_copies: bool = False) -> Picture:
        """Return an ordinary picture: 96 to 640 px, in the formats and odd variants that a crawl meets."""
        rng = self.rng("picture", index)
        scene = random_scene(f"{self.seed} {index}")
        if fit_for_copies:
            return Picture(scene, rng.randint(128, STORED_PX), rng.randint(128, STORED_PX), quality=rng.randint(82, 95))
        longer = round(rng.triangular(112, 340, 220)) if rng.random() < 0.95 else rng.randint(400, 640)
        shorter = max(96, round(longer * rng.uniform(0.6, 1.0)))
        width, height = (longer, shorter) if rng.random() < 0.6 else (shorter, longer)
        kind, variant = rng.choices(_KINDS, weights=[weight for _, _, weight in _KINDS])[0][:2]
        if kind == "png":
            width, height = width * 3 // 5 + 48, height * 3 // 5 + 48
        return Picture(scene, width, height, kind, variant, rng.randint(75, 95))

    def image_url(self, index: int, picture: Picture, *, host: str = "", folder: str = "", suffix: str = "") -> str:
        """Return a URL of its own for the picture of a pair."""
        rng = self.rng("url", index)
        host = host or (self.page_host if rng.random() < 0.6 else rng.choice(HOSTS))
        folder = folder or rng.choice(("img", "media/2023/05", "uploads", "a%20b", "archive/open" if host in HOSTS_WITH_ROBOTS else "i"))
        extension = EXTENSIONS[picture.format] if rng.random() < 0.97 else "jpg"
        query = rng.choice(("", "", "", "", f"?w={picture.width}&v=3", "?size=full")) if not suffix else ""
        return f"http://{host}/{folder}/p{index}{suffix}.{extension}{query}"

    def serve(self, url: str, picture: Picture, headers: tuple[tuple[str, str], ...] = (), **more: object) -> None:
        """Let `url` answer 200 with a picture."""
        response = Response(headers=(("Content-Type", MEDIA_TYPES[picture.format]), *headers), picture=picture)
        self.responses[url] = replace(response, **more)  # type: ignore[arg-type]


_KINDS: tuple[tuple[str, str, int], ...] = (
    ("jpeg", "", 60), ("jpeg", "progressive", 8), ("jpeg", "grey", 2), ("jpeg", "orientation", 3), ("png", "", 7),
    ("png", "palette", 3), ("png", "rgba", 2), ("png", "grey16", 1), ("webp", "", 9), ("gif", "", 5),
)
"""Format, variant, weight."""


def plan_pair(draftsman: Draftsman, intent: str, index: int, page: list[Pair]) -> Pair:
    """Return the pair of an intent; `page` holds the pairs before it on the same page."""
    return INTENTS[intent](draftsman, index, page)


def _caption(draftsman: Draftsman, index: int, picture: Picture, place: bool | None = None) -> str:
    rng = draftsman.rng("caption", index)
    return captions.describe(picture.scene, rng, place=place, grey=picture.variant in GREY_VARIANTS)


def _candidate(url: str, caption: str, picture: Picture) -> Candidate:
    return Candidate(url, caption, shows=picture.scene.seed, num_pixels=picture.width * picture.height)


def _plain(intent: str, index: int, candidate: Candidate) -> Pair:
    return Pair(index, intent, "img", candidate, candidate)


# --- good pairs, in every form in which a page may say them ---


def _good(draftsman: Draftsman, index: int, page: list[Pair]) -> Pair:
    rng = draftsman.rng("form", index)
    copied = rng.random() < 0.25
    picture = draftsman.picture(index, fit_for_copies=copied)
    url = draftsman.image_url(index, picture)
    if rng.random() < 0.02:
        url = _redirected(draftsman, index, url, picture, rng.randint(1, 5))
    draftsman.serve(draftsman.image_url(index, picture), picture)
    candidate = _candidate(url, _caption(draftsman, index, picture), picture)
    candidate = replace(candidate, archived=url in draftsman.responses and draftsman.responses[url].status == 200)
    if copied or not candidate.archived:
        pair = _plain(GOOD, index, candidate)
        if candidate.archived:
            draftsman.originals.append((pair, picture))
        return pair
    form = rng.choices(tuple(_FORMS), weights=[weight for weight, _ in _FORMS.values()])[0]
    if form == "og" and any(pair.form == "og" for pair in page):
        form = "img"  # a page has one og:image
    return _FORMS[form][1](draftsman, index, form, candidate, picture)


def _redirected(draftsman: Draftsman, index: int, url: str, picture: Picture, hops: int) -> str:
    """Return a URL from which `hops` redirects lead to `url`."""
    rng = draftsman.rng("redirect", index)
    for hop in range(hops):
        previous = f"http://{rng.choice(HOSTS)}/go/{index}-{hop}.jpg"
        draftsman.responses[previous] = _redirect(url, rng.choice((301, 302, 303, 307, 308)))
        url = previous
    return url


def _redirect(target: str, status: int = 302) -> Response:
    return Response(status, (("Location", target), ("Content-Type", "text/html")), text=b"<p>Moved.")


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
    return Pair(index, GOOD, form, candidate, _candidate(url, candidate.caption, small), small_url=url)


DATA_URL = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"


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


# --- captions and URLs at fault ---


def _text_fault(reason: str) -> Callable[[Draftsman, int, list[Pair]], Pair]:
    def plan(draftsman: Draftsman, index: int, page: list[Pair]) -> Pair:
        picture = Picture(random_scene(f"{draftsman.seed} {index}"), 96, 96)
        url = draftsman.image_url(index, picture)
        draftsman.serve(url, picture)
        caption = captions.faulty(reason, index, draftsman.rng("caption", index))
        return _plain(reason, index, replace(_candidate(url, caption, picture), text_reason=reason))

    return plan


def _empty_caption(draftsman: Draftsman, index: int, page: list[Pair]) -> Pair:
    picture = Picture(random_scene(f"{draftsman.seed} {index}"), 96, 96)
    url = draftsman.image_url(index, picture)
    draftsman.serve(url, picture)
    return _plain("empty_caption", index, replace(_candidate(url, "", picture), extract_reason="empty_caption"))


_BAD_URLS = (DATA_URL, "javascript:void(0)", "ftp://files.kolvik.test/p{index}.jpg", "https:///p{index}.jpg", "about:blank", "file:///etc/p{index}.jpg")


def _bad_url(draftsman: Draftsman, index: int, page: list[Pair]) -> Pair:
    rng = draftsman.rng("bad url", index)
    caption = captions.describe(random_scene(f"{draftsman.seed} {index}"), rng)
    return _plain("bad_url", index, Candidate(rng.choice(_BAD_URLS).format(index=index), caption, extract_reason="bad_url"))


def _worded(wording: Callable[[Random], str], intent: str) -> Callable[[Draftsman, int, list[Pair]], Pair]:
    """A sound picture whose caption matches nothing, or only what is over the cap."""

    def plan(draftsman: Draftsman, index: int, page: list[Pair]) -> Pair:
        picture = draftsman.picture(index)
        url = draftsman.image_url(index, picture)
        draftsman.serve(url, picture)
        return _plain(intent, index, _candidate(url, wording(draftsman.rng("caption", index)), picture))

    return plan


# --- bodies at fault ---


def _image_fault(
    intent: str, *, fetch: str = "", image: str = "", variant: str = "", formats: tuple[str, ...] = ("jpeg",),
    sizes: tuple[tuple[int, int], ...] = ((200, 160),),
) -> Callable[[Draftsman, int, list[Pair]], Pair]:
    def plan(draftsman: Draftsman, index: int, page: list[Pair]) -> Pair:
        rng = draftsman.rng("fault", index)
        width, height = rng.choice(sizes)
        picture = Picture(random_scene(f"{draftsman.seed} {index}"), width, height, rng.choice(formats), variant)
        url = draftsman.image_url(index, picture)
        draftsman.serve(url, picture, behaviour="lying_type" if variant in ("html", "svg") else "normal")
        candidate = _candidate(url, _caption(draftsman, index, picture, place=True), picture)
        return _plain(intent, index, replace(candidate, fetch_reason=fetch, image_reason=image))

    return plan


# --- servers at fault ---


def _answering(
    intent: str, reason: str, answer: Callable[[Random, Draftsman, int, Picture], str], archived: bool = False
) -> Callable[[Draftsman, int, list[Pair]], Pair]:
    """A pair whose URL (returned by `answer`, which sets its response) fails in fetch with `reason`."""

    def plan(draftsman: Draftsman, index: int, page: list[Pair]) -> Pair:
        picture = Picture(random_scene(f"{draftsman.seed} {index}"), 160, 120)
        url = answer(draftsman.rng("answer", index), draftsman, index, picture)
        candidate = _candidate(url, _caption(draftsman, index, picture, place=True), picture)
        return _plain(intent, index, replace(candidate, fetch_reason=reason, archived=archived))

    return plan


def _status(*codes: int, host: str = "") -> Callable[[Random, Draftsman, int, Picture], str]:
    def answer(rng: Random, draftsman: Draftsman, index: int, picture: Picture) -> str:
        url = draftsman.image_url(index, picture, host=host)
        code = rng.choice(codes)
        draftsman.responses[url] = Response(code, (("Content-Type", "text/html"),), text=f"<h1>{code}</h1>".encode())
        return url

    return answer


def _behaving(behaviour: str) -> Callable[[Random, Draftsman, int, Picture], str]:
    def answer(rng: Random, draftsman: Draftsman, index: int, picture: Picture) -> str:
        used = sum(response.behaviour not in ("normal", "lying_type") for response in draftsman.responses.values())
        url = draftsman.image_url(index, picture, host=FAULTY_HOSTS[used % len(FAULTY_HOSTS)])
        draftsman.serve(url, picture, behaviour=behaviour)
        return url

    return answer


def _disallowed(rng: Random, draftsman: Draftsman, index: int, picture: Picture) -> str:
    host = rng.choice((CLOSED_HOST, rng.choice(HOSTS_WITH_ROBOTS), rng.choice(HOSTS_WITH_ROBOTS)))
    folder = "open" if host == CLOSED_HOST else rng.choice(DISALLOWED_FOLDERS)
    url = draftsman.image_url(index, picture, host=host, folder=folder)
    draftsman.serve(url, picture)
    return url


_OPT_OUTS = (
    *(("X-Robots-Tag", value) for value in ("noai", "noimageai", "noindex", "noimageindex", "none", "noml", "nofollow, noai", "NOAI")),
    ("tdm-reservation", "1"),
)


def _opted_out(rng: Random, draftsman: Draftsman, index: int, picture: Picture) -> str:
    url = draftsman.image_url(index, picture)
    draftsman.serve(url, picture, headers=(rng.choice(_OPT_OUTS),))
    return url


def _loop(rng: Random, draftsman: Draftsman, index: int, picture: Picture) -> str:
    """Six hops where five are allowed, or a circle."""
    if rng.random() < 0.5:
        final = draftsman.image_url(index, picture)
        draftsman.serve(final, picture)
        return _redirected(draftsman, index, final, picture, 6)
    there, back = (f"http://{rng.choice(HOSTS)}/loop/{index}-{turn}.jpg" for turn in "ab")
    draftsman.responses[there], draftsman.responses[back] = _redirect(back), _redirect(there)
    return there


_PRIVATE = ("http://169.254.169.254/latest/meta-data/", "http://127.0.0.1/p{index}.jpg", "http://10.0.0.5/p{index}.jpg", "http://[::1]/p{index}.jpg", "http://192.168.1.1/p{index}.jpg")


def _private(rng: Random, draftsman: Draftsman, index: int, picture: Picture) -> str:
    target = rng.choice(_PRIVATE).format(index=index)
    return target if rng.random() < 0.4 else _lead_to(target, rng, draftsman, index)


def _unsupported(rng: Random, draftsman: Draftsman, index: int, picture: Picture) -> str:
    return _lead_to(rng.choice((f"ftp://files.kolvik.test/p{index}.jpg", "file:///etc/passwd", DATA_URL)), rng, draftsman, index)


def _lead_to(target: str, rng: Random, draftsman: Draftsman, index: int) -> str:
    url = f"http://{rng.choice(HOSTS)}/out/{index}.jpg"
    draftsman.responses[url] = _redirect(target)
    return url


# --- copies ---


def _original(draftsman: Draftsman, index: int) -> tuple[Pair, Picture] | None:
    return draftsman.originals.pop(0) if draftsman.originals else None


def _same_body(draftsman: Draftsman, index: int, page: list[Pair]) -> Pair:
    """The same bytes under another URL."""
    original = _original(draftsman, index)
    if original is None:
        return _good(draftsman, index, page)
    picture = original[1]
    url = draftsman.image_url(index, picture)
    draftsman.serve(url, picture)
    return _plain("same_body", index, _candidate(url, _caption(draftsman, index, picture), picture))


def _edited_copy(draftsman: Draftsman, index: int, page: list[Pair]) -> Pair:
    """The picture resized and encoded anew."""
    original = _original(draftsman, index)
    if original is None:
        return _good(draftsman, index, page)
    rng = draftsman.rng("edit", index)
    picture = edited(original[1], rng)
    url = draftsman.image_url(index, picture)
    draftsman.serve(url, picture)
    return _plain("edited_copy", index, _candidate(url, _caption(draftsman, index, picture), picture))


def edited(picture: Picture, rng: Random) -> Picture:
    """Return the picture resized to 60 to 100 % and encoded anew."""
    scale = rng.uniform(0.6, 1.0)
    width, height = round(picture.width * scale), round(picture.height * scale)
    kind, quality = rng.choice((("jpeg", 70), ("jpeg", 85), ("png", 88), ("webp", 85)))
    return replace(picture, width=width, height=height, format=kind, quality=quality, copy_of=picture)


def _second_caption(draftsman: Draftsman, index: int, page: list[Pair]) -> Pair:
    """Another caption of the picture before, in the figure's <figcaption>."""
    before = page[-1] if page else None
    if before is None or before.intent != GOOD or before.form not in ("img", "figure"):
        return _good(draftsman, index, page)
    caption = "Shown here: " + before.warc.caption
    return Pair(index, "second_caption", "second", replace(before.warc, caption=caption), None)


def _planted(draftsman: Draftsman, index: int, page: list[Pair]) -> Pair:
    """A picture of which an evaluation set holds a copy, exact or edited."""
    picture = draftsman.picture(index, fit_for_copies=True)
    url = draftsman.image_url(index, picture)
    draftsman.serve(url, picture)
    candidate = _candidate(url, _caption(draftsman, index, picture), picture)
    return _plain("planted", index, replace(candidate, planted=True))


_Intent = Callable[[Draftsman, int, list[Pair]], Pair]

_EVERYWHERE: dict[str, tuple[int, _Intent]] = {
    "empty_caption": (6, _empty_caption),
    "bad_url": (5, _bad_url),
    "too_short": (6, _text_fault("too_short")),
    "too_long": (2, _text_fault("too_long")),
    "no_letters": (3, _text_fault("no_letters")),
    "file_name": (8, _text_fault("file_name")),
    "boilerplate": (4, _text_fault("boilerplate")),
    "markup": (3, _text_fault("markup")),
    "language": (12, _text_fault("language")),
    "no_match": (8, _worded(captions.unmatched, "no_match")),
    "generic": (15, _worded(captions.generic, "generic")),
    "http_status": (8, _answering("http_status", "http_status", _status(404, 404, 404, 403, 410, 500))),
    "robots_disallowed": (5, _answering("robots_disallowed", "robots_disallowed", _disallowed)),
    "opted_out": (6, _answering("opted_out", "opted_out", _opted_out, archived=True)),
    "too_many_redirects": (2, _answering("too_many_redirects", "too_many_redirects", _loop)),
    "private_address": (3, _answering("private_address", "private_address", _private)),
    "unsupported_url": (2, _answering("unsupported_url", "unsupported_url", _unsupported)),
    "not_image": (4, _image_fault("not_image", fetch="not_image", variant="html", formats=("jpeg", "png"))),
    "not_image_svg": (1, _image_fault("not_image_svg", fetch="not_image", variant="svg")),
    "corrupt_image": (3, _image_fault("corrupt_image", fetch="corrupt_image", variant="corrupt", formats=("jpeg", "png", "webp"))),
    "too_many_pixels": (2, _image_fault("too_many_pixels", fetch="too_many_pixels", variant="bomb", formats=("png", "jpeg"))),
    "too_small": (5, _image_fault("too_small", image="too_small", formats=("jpeg", "png"), sizes=((16, 16), (31, 120), (240, 20)))),
    "extreme_aspect": (4, _image_fault("extreme_aspect", image="extreme_aspect", sizes=((240, 60), (48, 230), (320, 40)))),
    "low_entropy": (4, _image_fault("low_entropy", image="low_entropy", variant="blank", formats=("jpeg", "png", "gif"))),
    "animated": (4, _image_fault("animated", image="animated", variant="animated", formats=("gif", "png", "webp"))),
    "same_body": (7, _same_body),
    "edited_copy": (12, _edited_copy),
    "second_caption": (16, _second_caption),
    "planted": (12, _planted),
}
"""Pairs in a block, and how each is planned."""

_FIRST_BLOCK: dict[str, tuple[int, _Intent]] = {
    "slow": (2, _answering("slow", "timeout", _behaving("slow"))),
    "drip": (2, _answering("drip", "timeout", _behaving("drip"))),
    "hang": (2, _answering("hang", "timeout", _behaving("hang"))),
    "endless": (2, _answering("endless", "too_large", _behaving("endless"))),
    "truncated": (2, _answering("truncated", "truncated_body", _behaving("truncated"))),
    "reset": (2, _answering("reset", "connection_error", _behaving("reset"))),
    "rate_limited": (2, _answering("rate_limited", "rate_limited", _status(429, host=BUSY_HOST))),
}
"""Slow faults: in the first block only, so that a crawl of a larger web is not slower for them."""

INTENTS: dict[str, _Intent] = {GOOD: _good} | {name: plan for name, (_, plan) in (_EVERYWHERE | _FIRST_BLOCK).items()}


def schedule(block: int, rng: Random) -> list[str]:
    """Return the intents of a block's pairs, in the order of the pages."""
    counts = _EVERYWHERE | (_FIRST_BLOCK if block == 0 else {})
    faults = [name for name, (count, _) in counts.items() if name != "planted" or block < PLANTED_BLOCKS for _ in range(count)]
    intents = faults + [GOOD] * (BLOCK_PAIRS - len(faults))
    rng.shuffle(intents)
    return intents

"""The means with which pairs are planned: random numbers, pictures, URLs, responses."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from wit.sample import captions
from wit.sample.encoding import EXTENSIONS, GREY_VARIANTS, MEDIA_TYPES, Picture
from wit.sample.hosts import HOSTS, HOSTS_WITH_ROBOTS
from wit.sample.model import Candidate, Pair, Response
from wit.sample.scenes import random_scene

GOOD = "good"
STORED_PX = 256
"""Pictures that have copies are no larger, so that no resizing comes between them."""

DATA_URL = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"

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
        folder = folder or rng.choice(
            ("img", "media/2023/05", "uploads", "a%20b", "archive/open" if host in HOSTS_WITH_ROBOTS else "i")
        )
        extension = EXTENSIONS[picture.format] if rng.random() < 0.97 else "jpg"
        query = rng.choice(("", "", "", "", f"?w={picture.width}&v=3", "?size=full")) if not suffix else ""
        return f"http://{host}/{folder}/p{index}{suffix}.{extension}{query}"

    def serve(self, url: str, picture: Picture, headers: tuple[tuple[str, str], ...] = (), **more: object) -> None:
        """Let `url` answer 200 with a picture."""
        response = Response(headers=(("Content-Type", MEDIA_TYPES[picture.format]), *headers), picture=picture)
        self.responses[url] = replace(response, **more)  # type: ignore[arg-type]


_KINDS: tuple[tuple[str, str, int], ...] = (
    ("jpeg", "", 60),
    ("jpeg", "progressive", 8),
    ("jpeg", "grey", 2),
    ("jpeg", "orientation", 3),
    ("png", "", 7),
    ("png", "palette", 3),
    ("png", "rgba", 2),
    ("png", "grey16", 1),
    ("webp", "", 9),
    ("gif", "", 5),
)
"""Format, variant, weight."""


def describe_picture(draftsman: Draftsman, index: int, picture: Picture, place: bool | None = None) -> str:
    """Return a true caption of a picture; `place`: whether it names one (None: now and then)."""
    rng = draftsman.rng("caption", index)
    return captions.describe(picture.scene, rng, place=place, grey=picture.variant in GREY_VARIANTS)


def sound(url: str, caption: str, picture: Picture) -> Candidate:
    """Return a candidate with nothing wrong about it."""
    return Candidate(url, caption, shows=picture.scene.seed, num_pixels=picture.width * picture.height)


def as_planned(intent: str, index: int, candidate: Candidate) -> Pair:
    """Return a pair that a page shows as <img src alt>, the same to every reader."""
    return Pair(index, intent, "img", candidate, candidate)


def redirected(draftsman: Draftsman, index: int, url: str, picture: Picture, hops: int) -> str:
    """Return a URL from which `hops` redirects lead to `url`."""
    rng = draftsman.rng("redirect", index)
    for hop in range(hops):
        previous = f"http://{rng.choice(HOSTS)}/go/{index}-{hop}.jpg"
        draftsman.responses[previous] = redirect(url, rng.choice((301, 302, 303, 307, 308)))
        url = previous
    return url


def redirect(target: str, status: int = 302) -> Response:
    """Return a response that sends its reader to `target`."""
    return Response(status, (("Location", target), ("Content-Type", "text/html")), text=b"<p>Moved.")

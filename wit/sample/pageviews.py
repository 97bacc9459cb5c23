"""Hourly page views as Wikimedia publishes them: gzip, lines of `project title count bytes`, sorted by project.

An article's views are spread over the hours, the desktop site (`en`) and the mobile one (`en.m`), the spellings of its
title, and its redirects. Between them stands what the real files hold too: other projects, pages that are no articles,
and lines that are broken.
"""

from __future__ import annotations

import gzip
import random
from collections import defaultdict
from urllib.parse import quote

from wit.sample.titles import OTHER_VIEWS, REDIRECT_VIEWS, REDIRECTS
from wit.storage import join, publish_bytes

HOURS = 6
_Counts = dict[tuple[str, str], int]

_JUNK = (
    b"en Veldana",  # two fields
    b"en Veldana many 0",  # no number
    b"en Veldana 1000000 0 extra",  # five fields
    b"en  1000000 0",  # no title
    b"en %ZZVeldana 1000000 0",  # not a percent code: another title
    b"en %FF%FE 1000000 0",  # not UTF-8 when decoded
    b"en \xff\xfe 1000000 0",  # not UTF-8 as it stands
    b"",
)


def _final(title: str) -> str | None:
    """Return where a redirect ends; None when it runs in a circle."""
    seen = set()
    while title in REDIRECTS and title not in seen:
        seen.add(title)
        title = REDIRECTS[title]
    return None if title in seen else title


def _spellings(title: str) -> list[str]:
    raw = title.replace(" ", "_")
    return [raw, quote(raw, safe="/:!(),'*"), quote(raw, safe="")]


def _add(hours: list[_Counts], title: str, views: int, rng: random.Random) -> None:
    """Spread the views of one name over the hours, the two sites and the spellings of the name."""
    spellings = _spellings(title)
    while views:
        count = min(views, rng.randrange(1, 1 + max(1, views // 4)))
        spelling = spellings[0] if rng.random() < 0.6 else rng.choice(spellings)
        hours[rng.randrange(HOURS)][rng.choice(("en", "en", "en.m")), spelling] += count
        views -= count


def _hours(views: dict[str, int], rng: random.Random) -> list[_Counts]:
    """Return the counts of each hour by (project, name)."""
    hours: list[_Counts] = [defaultdict(int) for _ in range(HOURS)]
    own = dict(views)
    for redirect, count in REDIRECT_VIEWS.items():
        target = _final(redirect)
        if target in own:
            own[target] -= count
        _add(hours, redirect, count, rng)
    for title, count in own.items():
        _add(hours, title, count, rng)
        for project in rng.sample(("de", "fr.m", "en.b", "en.m.d", "commons.m", "simple"), 2):
            hours[rng.randrange(HOURS)][project, title.replace(" ", "_")] += 1000
    for hour in hours:
        for name, count in OTHER_VIEWS.items():
            hour["en", name] += count // HOURS
    return hours


def write_pageviews(folder: str, views: dict[str, int], seed: int) -> None:
    """Write the hourly files under `folder`/pageviews such that article `title` has `views[title]` views in all.

    Views of redirects (REDIRECT_VIEWS) are part of their targets' views.
    """
    rng = random.Random(f"pageviews {seed}")
    for number, hour in enumerate(_hours(views, rng)):
        lines = [f"{project} {name} {count} 0".encode() for (project, name), count in sorted(hour.items())]
        for junk in _JUNK:
            lines.insert(rng.randrange(1, len(lines) + 1), junk)
        data = gzip.compress(b"\n".join(lines) + b"\n", mtime=0)
        publish_bytes(join(folder, "pageviews", f"pageviews-20240101-{number:02d}0000.gz"), data)

"""The virtual hosts of the miniature web and their robots.txt."""

from __future__ import annotations

HOSTS = tuple(
    f"{kind}.{place}.test"
    for place in ("orrin", "veldana", "tasmere", "kolvik", "brannoch", "ilvara", "sundale", "quenby")
    for kind in ("photos", "www", "cdn")
)
"""Hosts that hold pages and pictures."""

CLOSED_HOST = "closed.hestria.test"
"""A host whose robots.txt turns the agent `wit` away, and no other."""

BUSY_HOST = "busy.marrowby.test"
"""A host that answers every picture with 429."""

FAULTY_HOSTS = tuple(f"fault{number:02d}.dunmarrow.test" for number in range(1, 25))
"""Hosts that stall or break off; each is used for one picture, so that it holds up no other."""

_RULES = "Disallow: /private/\nDisallow: /archive/\nAllow: /archive/open/\n"  # the longest rule that fits decides
_PRIVATE = f"User-agent: *\n{_RULES}"
_OTHERS = f"User-agent: otherbot\nDisallow: /\n\nUser-agent: *\n{_RULES}"
_INVITED = f"User-agent: *\nDisallow: /\n\nUser-agent: wit\n{_RULES}"

DISALLOWED_FOLDERS = ("private", "archive")
"""Folders that the robots.txt of every host of HOSTS_WITH_ROBOTS closes."""

HOSTS_WITH_ROBOTS = HOSTS[: len(HOSTS) * 2 // 3]
"""The others answer 404 for robots.txt: all is allowed there."""


def robots_txt() -> dict[str, str]:
    """Return the text of each robots.txt that exists, by host."""
    texts = {host: (_PRIVATE, _OTHERS, _INVITED)[index % 3] for index, host in enumerate(HOSTS_WITH_ROBOTS)}
    return texts | {CLOSED_HOST: "User-agent: wit\nDisallow: /\n\nUser-agent: *\nDisallow:\n"}

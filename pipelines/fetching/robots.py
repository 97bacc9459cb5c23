"""robots.txt as RFC 9309 has it: groups by product token, the longest match wins, `*` and `$`, unreachable is no."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes, urlsplit

MAX_BYTES = 500 * 1024  # RFC 9309, 2.5: at least 500 KiB must be parsed; the rest is not read
MAX_REDIRECTS = 5  # RFC 9309, 2.3.1.2

_PRODUCT = re.compile(r"[A-Za-z_-]+")


def product_token(user_agent: str) -> str:
    """Return the name by which robots.txt calls an agent: "wit" of "wit/0.1 (+https://...)", in lower case."""
    found = _PRODUCT.match(user_agent)
    return found.group().lower() if found else ""


def _normal(path: str) -> str:
    """Return a path percent-encoded in one way, so that %7E, ~ and raw UTF-8 compare equal; %2F stays apart from /."""
    kept_slash = re.sub("%2f", "%252F", path, flags=re.IGNORECASE)
    return quote(unquote_to_bytes(kept_slash), safe="/?&=:@!$'()*+,;~%")


def _matches(pattern: str, path: str) -> bool:
    """Return whether a rule's pattern matches a path from its beginning: linear, whatever the pattern."""
    is_anchored = pattern.endswith("$")
    head, *pieces = pattern.removesuffix("$").split("*")
    if not path.startswith(head):
        return False
    at = len(head)
    if not pieces:
        return not is_anchored or at == len(path)
    for piece in pieces[:-1]:
        found = path.find(piece, at)
        if found < 0:
            return False
        at = found + len(piece)
    if is_anchored:
        return path.endswith(pieces[-1]) and len(path) - len(pieces[-1]) >= at
    return path.find(pieces[-1], at) >= 0


@dataclass(frozen=True)
class Robots:
    """The rules for one agent on one host: (allows, pattern), in the file's order; `why` it forbids, for the record."""

    rules: tuple[tuple[bool, str], ...] = ()
    why: str = "robots.txt"

    def allows(self, url: str) -> bool:
        """Return whether the agent may ask for a URL of the host; an equally long allow wins over a disallow."""
        parts = urlsplit(url)
        path = _normal((parts.path or "/") + (f"?{parts.query}" if parts.query else ""))
        matching = [(len(pattern), allows) for allows, pattern in self.rules if _matches(pattern, path)]
        return max(matching, default=(0, True))[1]


DISALLOW_ALL = ((False, "/"),)


def parse(text: str, agent: str) -> Robots:
    """Return the rules that a robots.txt has for an agent: those of every group that names it, else those of `*`."""
    named: list[tuple[bool, str]] = []
    general: list[tuple[bool, str]] = []
    is_named_here = False
    agents: set[str] = set()
    in_rules = False
    for line in text.removeprefix("\ufeff").splitlines():
        field, _, value = (part.strip() for part in line.partition("#")[0].partition(":"))
        field = field.lower()
        if field == "user-agent":
            if in_rules:
                agents, in_rules = set(), False
            agents.add(value if value == "*" else product_token(value))
            is_named_here = is_named_here or agent in agents
        elif field in ("allow", "disallow"):
            in_rules = True
            if value:  # an empty rule matches nothing
                rule = (field == "allow", _normal(value))
                if agent in agents:
                    named.append(rule)
                elif "*" in agents:
                    general.append(rule)
    return Robots(tuple(named if is_named_here else general))

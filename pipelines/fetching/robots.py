"""robots.txt as RFC 9309 has it: groups by product token, the longest match wins, `*` and `$`, unreachable is no.

Crawl-delay is no part of the RFC, but hosts that cannot bear much say it so: seconds from one request to the next.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from urllib.parse import quote, unquote_to_bytes

MAX_BYTES = 500 * 1024  # RFC 9309, 2.5: at least 500 KiB must be parsed; the rest is not read
MAX_REDIRECTS = 5  # RFC 9309, 2.3.1.2
MAX_PATTERNS = 2_000  # with `*` or `$`, each tried for each URL; honest files have a few dozen

_PRODUCT = re.compile(r"[A-Za-z_-]+")
_NORMAL = re.compile(r"[A-Za-z0-9/?&=:@!$'()*+,;~._-]*")  # what `_normal` leaves as it is
_RULE_BYTES = 200  # a rule's objects, beside its text


def product_token(user_agent: str) -> str:
    """Return the name by which robots.txt calls an agent: "wit" of "wit/0.1 (+https://...)", in lower case."""
    found = _PRODUCT.match(user_agent)
    return found.group().lower() if found else ""


def _normal(path: str) -> str:
    """Return a path percent-encoded in one way, so that %7E, ~ and raw UTF-8 compare equal; %2F stays apart from /."""
    if _NORMAL.fullmatch(path):
        return path
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


def _is_prefix(pattern: str) -> bool:
    return "*" not in pattern and not pattern.endswith("$")


@dataclass(frozen=True)
class Robots:
    """The rules for one agent on one host: (allows, pattern), in the file's order; `why` it forbids, for the record.

    `crawl_delay_s`: what it asks to lie between two requests, in seconds; 0 when it asks nothing.
    """

    rules: tuple[tuple[bool, str], ...] = ()
    why: str = "robots.txt"
    crawl_delay_s: float = 0.0

    def allows(self, target: str) -> bool:
        """Return whether the agent may ask for a path with query; an equally long allow wins over a disallow."""
        if not self.rules:
            return True
        path = _normal(target)
        length, verdict = 0, True
        for length in self._prefix_lengths:
            known = self._prefixes.get(path[:length]) if length <= len(path) else None
            if known is not None:
                verdict = known
                break
        else:
            length = 0
        for allows, pattern in self._patterns:
            if len(pattern) < length:
                break
            if (len(pattern) > length or allows) and _matches(pattern, path):
                return allows
        return verdict

    @cached_property
    def num_bytes(self) -> int:
        """About the memory that the rules take, in bytes."""
        return _RULE_BYTES + sum(_RULE_BYTES + len(pattern) for _, pattern in self.rules)

    @cached_property
    def _prefixes(self) -> dict[str, bool]:
        """Whether each pattern that is a mere prefix allows; so that a file of ten thousands costs a URL little."""
        prefixes: dict[str, bool] = {}
        for allows, pattern in self.rules:
            if _is_prefix(pattern):
                prefixes[pattern] = allows or prefixes.get(pattern, False)
        return prefixes

    @cached_property
    def _prefix_lengths(self) -> tuple[int, ...]:
        return tuple(sorted({len(prefix) for prefix in self._prefixes}, reverse=True))

    @cached_property
    def _patterns(self) -> tuple[tuple[bool, str], ...]:
        """The other patterns: the longest first, and of equally long ones those that allow."""
        return tuple(
            sorted((rule for rule in self.rules if not _is_prefix(rule[1])), key=lambda r: (-len(r[1]), not r[0]))
        )


def forbid_all(why: str) -> Robots:
    """Return rules that forbid every path."""
    return Robots(((False, "/"),), why)


class _Group:
    """What a file says to one agent, its groups taken together."""

    def __init__(self) -> None:
        self.rules: dict[tuple[bool, str], None] = {}
        self.crawl_delay_s = 0.0
        self.is_named = False

    def add(self, field: str, value: str) -> None:
        """Take in one line; an empty rule matches nothing, and of several delays the longest counts."""
        if field == "crawl-delay":
            self.crawl_delay_s = max(self.crawl_delay_s, _seconds(value))
        elif value:
            self.rules[field == "allow", _normal(value)] = None

    def robots(self) -> Robots:
        """Return the rules; all is forbidden where they are too many to be tried for each URL."""
        if sum(not _is_prefix(pattern) for _, pattern in self.rules) > MAX_PATTERNS:
            return forbid_all(f"robots.txt: more than {MAX_PATTERNS} patterns")
        return Robots(tuple(self.rules), crawl_delay_s=self.crawl_delay_s)


def _seconds(value: str) -> float:
    """Return a delay in seconds; 0 for what is none."""
    try:
        seconds = float(value)
    except ValueError:
        return 0.0
    return seconds if isfinite(seconds) and seconds > 0 else 0.0


def parse(text: str, agent: str) -> Robots:
    """Return the rules that a robots.txt has for an agent: those of every group that names it, else those of `*`.

    A Crawl-delay binds the agents named before it, and does not end their list: lines that the RFC does not know must
    not change how it reads the others.
    """
    groups = {agent: _Group(), "*": _Group()}
    agents: set[str] = set()
    in_rules = False
    for line in text.removeprefix("\ufeff").splitlines():
        field, _, value = (part.strip() for part in line.partition("#")[0].partition(":"))
        field = field.lower()
        if field == "user-agent":
            if in_rules:
                agents, in_rules = set(), False
            name = value if value == "*" else product_token(value)
            agents.add(name)
            if name in groups:
                groups[name].is_named = True
        elif field in ("allow", "disallow", "crawl-delay"):
            in_rules = in_rules or field != "crawl-delay"
            if agent in agents:
                groups[agent].add(field, value)
            elif "*" in agents:
                groups["*"].add(field, value)
    return groups[agent if groups[agent].is_named else "*"].robots()

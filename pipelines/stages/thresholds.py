"""Thresholds of evaluation sets: each has its own, for what is a copy among digits is none among photographs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from wit.errors import UserError
from wit.near import MAX_PDQ_RADIUS, MAX_PHASH_RADIUS, Rule

MAX_RADIUS = {"phash": MAX_PHASH_RADIUS, "pdq": MAX_PDQ_RADIUS, "both": MAX_PDQ_RADIUS}
"""Greatest threshold by hash, in bits."""


def with_radius(rule: Rule, radius: int) -> Rule:
    """Return the rule with another threshold. Of "both" that is PDQ's: pHash only confirms, by its own radius."""
    return replace(rule, phash_radius=radius) if rule.hash == "phash" else replace(rule, pdq_radius=radius)


def parse_thresholds(
    texts: Iterable[str], names: Sequence[str], default: float, most: float, option: str = "--threshold"
) -> dict[str, float]:
    """Return the threshold of each of the sets `names`, from texts N (of all sets) and NAME=N (of one).

    Raises UserError, which begins with `option`, for what is no number from 0 to `most`, for a name that is not
    among the sets, and for two numbers for the same.
    """
    given: dict[str, float] = {}
    for text in texts:
        name, equals, number = text.rpartition("=")
        if equals and name not in names:
            known = ", ".join(filter(None, names))
            expected = f"the name of a set ({known})" if known else "a number alone, where no evaluation set is named"
            raise UserError(f"{option} {text}: expected {expected}, found {name!r}")
        if name in given:
            raise UserError(f"{option} {text}: {f'of {name!r}' if name else 'of all sets'} another is given; keep one")
        given[name] = _number(text, number, most, option)
    return {name: given.get(name, given.get("", default)) for name in names}


def _number(text: str, number: str, most: float, option: str) -> float:
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    is_whole = most <= 1 or value.is_integer()
    if not 0 <= value <= most or not is_whole:
        kind = "a number" if most <= 1 else "a whole number"
        raise UserError(f"{option} {text}: expected {kind} from 0 to {most:g}, as N or NAME=N, found {number!r}")
    return value


def rules_of(rule: Rule, thresholds: Mapping[str, float]) -> dict[str, Rule]:
    """Return the rule of each set by its threshold in bits."""
    return {name: with_radius(rule, int(radius)) for name, radius in thresholds.items()}

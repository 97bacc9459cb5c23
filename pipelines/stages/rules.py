"""A rule of near-duplicates as fields of a recipe's section, for the stages that look for them."""

from __future__ import annotations

from dataclasses import field, fields
from typing import Any

from wit.near import Rule

_FIELDS = {each.name: each for each in fields(Rule)}


def rule_field(name: str, default: Rule) -> Any:
    """Return a field of wit.near.Rule as a field of a section."""
    return field(default=getattr(default, name), metadata=_FIELDS[name].metadata)


def rule_of(section: object) -> Rule:
    """Return the rule that the fields of a section make up."""
    return Rule(**{name: getattr(section, name) for name in _FIELDS})

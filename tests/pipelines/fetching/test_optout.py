"""Opt-out headers."""

from __future__ import annotations

import pytest

from pipelines.fetching.optout import FORBIDS, opted_out


@pytest.mark.parametrize("directive", sorted(FORBIDS))
def test_every_directive_opts_out(directive: str) -> None:
    """Each of the documented values, in any case, alone or in a list, for all or for us."""
    for value in (directive.upper(), f"nofollow, {directive}", f"wit: {directive}", f"max-snippet: 5, {directive}"):
        assert opted_out([("x-robots-tag", value)], "wit") == f"X-Robots-Tag: {directive}"


@pytest.mark.parametrize(
    "value",
    ["nofollow", "otherbot: noindex", "otherbot: noindex, noai", "unavailable_after: 25 Jun 2030 15:00:00 PST", "all",
     "", "noindexing"],
)  # fmt: skip
def test_other_values_do_not(value: str) -> None:
    """Values for other agents, other values, and dates with colons and commas forbid nothing."""
    assert opted_out([("X-Robots-Tag", value)], "wit") is None


def test_repeated_headers_and_mixed_agents() -> None:
    """Every header of the name counts, and a second agent in one header ends the first one's list."""
    assert opted_out([("X-Robots-Tag", "nofollow"), ("X-Robots-Tag", "noai")], "wit")
    assert opted_out([("X-Robots-Tag", "otherbot: noindex, wit: noai")], "wit") == "X-Robots-Tag: noai"


def test_tdm_reservation() -> None:
    """tdm-reservation: 1 reserves, 0 does not."""
    assert opted_out([("TDM-Reservation", " 1 ")], "wit") == "tdm-reservation: 1"
    assert opted_out([("tdm-reservation", "0")], "wit") is None

"""Opt-out headers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.fetching.optout import OPT_OUTS, opted_out

ALL = frozenset(OPT_OUTS)
DIRECTIVES = sorted(ALL - {"tdm-reservation"})


@pytest.mark.parametrize("directive", DIRECTIVES)
def test_every_directive_opts_out_for_its_own_reason(directive: str) -> None:
    """Each of the documented values, in any case, alone or in a list, for all or for us; not when it is not obeyed."""
    found = (f"opted_out_{directive}", f"X-Robots-Tag: {directive}")
    for value in (directive.upper(), f"nofollow, {directive}", f"wit: {directive}", f"max-snippet: 5, {directive}"):
        assert opted_out([("x-robots-tag", value)], "wit", ALL) == found
        assert opted_out([("x-robots-tag", value)], "wit", frozenset({directive})) == found
        assert opted_out([("x-robots-tag", value)], "wit", ALL - {directive}) is None


@pytest.mark.parametrize(
    "value",
    ["nofollow", "otherbot: noindex", "otherbot: noindex, noai", "unavailable_after: 25 Jun 2030 15:00:00 PST", "all",
     "", "noindexing", "tdm-reservation"],
)  # fmt: skip
def test_other_values_do_not(value: str) -> None:
    """Values for other agents, other values, and dates with colons and commas forbid nothing."""
    assert opted_out([("X-Robots-Tag", value)], "wit", ALL - {"tdm-reservation"}) is None


def test_repeated_headers_and_mixed_agents() -> None:
    """Every header of the name counts, and a second agent in one header ends the first one's list."""
    assert opted_out([("X-Robots-Tag", "nofollow"), ("X-Robots-Tag", "noai")], "wit", ALL)
    mixed = [("X-Robots-Tag", "otherbot: noindex, wit: noai")]
    assert opted_out(mixed, "wit", ALL) == ("opted_out_noai", "X-Robots-Tag: noai")


def test_one_that_is_not_obeyed_does_not_hide_the_next() -> None:
    """The first directive that counts decides, whatever stands before it."""
    headers = [("X-Robots-Tag", "noindex, noimageai"), ("TDM-Reservation", "1")]
    assert opted_out(headers, "wit", ALL) == ("opted_out_noindex", "X-Robots-Tag: noindex")
    assert opted_out(headers, "wit", ALL - {"noindex"}) == ("opted_out_noimageai", "X-Robots-Tag: noimageai")
    assert opted_out(headers, "wit", frozenset({"tdm-reservation"})) == ("opted_out_tdm", "tdm-reservation: 1")


def test_tdm_reservation() -> None:
    """tdm-reservation: 1 reserves, 0 does not, and nothing does where it is not obeyed."""
    assert opted_out([("TDM-Reservation", " 1 ")], "wit", ALL) == ("opted_out_tdm", "tdm-reservation: 1")
    assert opted_out([("tdm-reservation", "0")], "wit", ALL) is None
    assert opted_out([("tdm-reservation", "1")], "wit", frozenset({"noai"})) is None


@given(st.text(), st.sets(st.sampled_from(sorted(OPT_OUTS))))
def test_any_value_is_read(value: str, obeyed: set[str]) -> None:
    """Whatever a server sends is an answer or None, and only what is obeyed opts out."""
    found = opted_out([("X-Robots-Tag", value), ("tdm-reservation", value)], "wit", frozenset(obeyed))
    assert found is None or found[0] in {OPT_OUTS[one] for one in obeyed}

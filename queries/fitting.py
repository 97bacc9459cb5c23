"""Thresholds, given or fitted so that the list holds exactly its limit, and where they stop each source.

The rule of the fit. The synsets, and what reaches the thresholds that are given, are in. The room that is left up to
the limit goes to the fitted sources. Each is cut at the smallest rank, in its own total order, at which it has filled
its share of the room with terms that were not in yet; as each candidate adds one such term or none, a share is filled
exactly when there are enough. One fitted source has all the room. Several share it in proportion to the sizes that
MetaCLIP published (`PROPORTIONS`), source by source in the paper's order, rounded down, and the last one takes the
rest; what a source is too short to fill goes to the others in the same way. When all are too short the list is shorter
than its limit; when what is given fills the limit alone, the fitted sources are left out.
"""

from __future__ import annotations

import math
import string
from dataclasses import dataclass
from typing import Any

from queries import sql

SOURCES = ("word", "bigram", "title", "synset")
"""In the paper's order."""

FIT = "fit"

PROPORTIONS = {"word": 251_465, "bigram": 100_646, "title": 61_235}
"""Entries of MetaCLIP's published list by source (Xu et al. 2023, table 1)."""


@dataclass(frozen=True)
class Thresholds:
    """Least values of candidates; "fit" for one that is to fill the list to its limit."""

    min_word_count: int | str = 100
    min_bigram_count: int = 100
    min_pmi: float | str = 8.0
    """In bits."""
    min_npmi: float | None = None
    """None for any."""
    min_views: int | str = 70
    limit: int = 500_000
    """Terms."""

    @property
    def primary(self) -> dict[str, int | float | str]:
        """The thresholds on what the sources are ordered by."""
        return {"word": self.min_word_count, "bigram": self.min_pmi, "title": self.min_views}


NAMES = {"word": "min_word_count", "bigram": "min_pmi", "title": "min_views"}


class Stops:
    """Where each source stops: the rank of its first candidate that is not admitted. The views read it as variables."""

    def __init__(self, connection: Any, thresholds: Thresholds) -> None:
        self._connection = connection
        self._thresholds = thresholds
        self._stops: dict[str, int] = {}
        self._too_short: set[str] = set()
        npmi = "true" if thresholds.min_npmi is None else f"npmi >= {thresholds.min_npmi!r}"
        views = string.Template(sql.read("union_sources"))
        connection.execute(views.substitute(min_bigram_count=thresholds.min_bigram_count, npmi_reached=npmi))
        for source in SOURCES:
            self._set(source, self._given(source))
        fitted = [source for source, least in thresholds.primary.items() if least == FIT]
        if fitted:
            self._fit(fitted)

    def __getitem__(self, source: str) -> int:
        return self._stops[source]

    def facts(self) -> dict[str, dict[str, Any]]:
        """Return each threshold's value and whether it was fitted.

        The value of a fitted one is that of the last candidate it admits, None when it admits none; `ties_cut` counts
        the candidates of the same value behind it, which the written order cut; `exhausted` says that it has
        too few candidates to fill its share.
        """
        given = {"min_bigram_count": self._thresholds.min_bigram_count, "min_npmi": self._thresholds.min_npmi}
        facts: dict[str, dict[str, Any]] = {name: {"value": value, "fitted": False} for name, value in given.items()}
        for source, least in self._thresholds.primary.items():
            fitted = least == FIT
            facts[NAMES[source]] = self._fitted_facts(source) if fitted else {"value": least, "fitted": False}
        order = ("min_word_count", "min_bigram_count", "min_pmi", "min_npmi", "min_views")
        return {name: facts[name] for name in order}

    def _set(self, source: str, stop: int) -> None:
        self._stops[source] = stop
        self._connection.execute(f"set variable {source}_stop = {stop}::bigint")

    def _ask(self, statement: str, **parameters: Any) -> Any:
        """Return the one row of an answer."""
        (row,) = self._connection.execute(statement, parameters).fetchall()
        return row

    def _given(self, source: str) -> int:
        """Return the stop of a source with a given threshold; 0 for a fitted one, to begin with."""
        least = self._thresholds.primary.get(source, -math.inf)
        if least == FIT:
            return 0
        reached = "source = $source and (value >= $least or value is null)"
        (stop,) = self._ask(
            f"select coalesce(max(place) + 1, 0) from candidates where {reached}",
            source=SOURCES.index(source),
            least=float(least),
        )
        below = "source = $source and place < $stop and value < $least"
        (num_below,) = self._ask(
            f"select count(*) from candidates where {below}",
            source=SOURCES.index(source),
            stop=stop,
            least=float(least),
        )
        assert num_below == 0, f"{source}s are not in the order of their values"
        return int(stop)

    def _fit(self, fitted: list[str]) -> None:
        self._connection.execute("create table taken as select distinct term from admitted where term <> ''")
        (num_taken,) = self._ask("select count(*) from taken")
        room = max(self._thresholds.limit - num_taken, 0)
        unfinished = fitted
        while room and unfinished:  # a round fills the room, or ends with its last source too short
            for index, source in enumerate(unfinished):
                sizes = [PROPORTIONS[other] for other in unfinished[index:]]
                room -= self._admit(source, room * sizes[0] // sum(sizes))
            unfinished = [source for source in unfinished if source not in self._too_short]
        self._connection.execute("drop table taken")

    def _admit(self, source: str, share: int) -> int:
        """Move the stop of a source to where it adds `share` more terms to the union; return how many it adds."""
        number = SOURCES.index(source)
        if share == 0:
            return 0
        self._connection.execute(
            sql.read("union_fresh"), {"source": number, "stop": self._stops[source], "share": share}
        )
        self._connection.execute("insert into taken select term from fresh")
        added, stop = self._ask("select count(*), max(place) + 1 from fresh")
        if added < share:
            self._too_short.add(source)
            (stop,) = self._ask("select max(place) + 1 from candidates where source = $source", source=number)
        self._set(source, stop or 0)
        return int(added)

    def _fitted_facts(self, source: str) -> dict[str, Any]:
        number, stop = SOURCES.index(source), self._stops[source]
        (value,) = self._ask(
            "select max(value) from candidates where source = $source and place = $last", source=number, last=stop - 1
        )
        (ties_cut,) = self._ask(
            "select count(*) from candidates where source = $source and place >= $stop and value = $value",
            source=number,
            stop=stop,
            value=value,
        )
        if value is not None and source != "bigram":
            value = int(value)
        return {"value": value, "fitted": True, "ties_cut": ties_cut, "exhausted": source in self._too_short}

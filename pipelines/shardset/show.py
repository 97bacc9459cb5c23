"""`wit shards show`: a contact sheet of samples, on a page that stands alone.

Which samples are shown follows from their keys and the seed, not from how they lie in shards. Only the images that are
shown are read, each by its place in the index.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.report.contact_sheet import Card, render
from pipelines.shardset.pieces import index_of, require_places
from pipelines.shardset.rules import make_rules
from pipelines.shardset.splitting import ranks
from pipelines.shardset.terms import Terms
from wit.errors import UserError
from wit.schema import SHARD_INDEX
from wit.storage import reading
from wit.thumbnails import thumbnail

MAX_SHOWN = 1_000
"""Samples of a page; at 10 kB a thumbnail it has 13 MB then, which a browser still opens."""
_PLACE = "place"


@dataclass(frozen=True)
class Selection:
    """Which samples to show: `num` at random of those that meet every condition that is given."""

    num: int = 100
    seed: int = 0
    where: tuple[str, ...] = ()
    """COLUMN=VALUE, of the columns of the index that hold text or numbers."""
    query: str = ""
    """A term of the query list, or the number of one."""
    domain: str = ""
    """Of the image's URL; its subdomains count."""

    def in_words(self) -> tuple[str, ...]:
        """Return the conditions in words."""
        query = (f"query {self.query}",) if self.query else ()
        return (*self.where, *query, *((f"domain {self.domain}",) if self.domain else ()))


def contact_sheet(
    shards: Sequence[str],
    name: str,
    selection: Selection,
    terms: Terms,
    advance: Callable[[int], None] = lambda _: None,
) -> str:
    """Return the page; `name` says which shards these are; `advance(1)` is called as each shard's index was read.

    Memory: one index and what is shown. Raises UserError for a condition that cannot be, or that no sample meets, and
    InputError for a shard without an index.
    """
    chosen, num_met, num_samples = _choose(shards, selection, _conditions(selection, terms), advance)
    if not len(chosen):
        conditions = " and ".join(selection.in_words()) or "being there"
        raise UserError(f"{name}: expected samples with {conditions}, found none among {num_samples:,}")
    named = terms.names({number for row in chosen["query_ids"].to_pylist() for number in row})
    cards = [card for place, shard in enumerate(shards) for card in _cards(chosen, place, shard, named)]
    return render(name, selection.in_words(), selection.seed, cards, num_met, num_samples)


# ---- which samples ----

Condition = Callable[[pa.Table], pa.Array]
"""From an index to a boolean a row: whether it is met."""


def _conditions(selection: Selection, terms: Terms) -> list[Condition]:
    conditions = [_equals(each) for each in selection.where]
    if selection.query:
        conditions.append(_asked_by(terms.number(selection.query)))
    if selection.domain:
        conditions.append(_in_domain(selection.domain))
    return conditions


def _equals(condition: str) -> Condition:
    name, sign, value = condition.partition("=")
    columns = [field.name for field in SHARD_INDEX if not pa.types.is_list(field.type)]
    if not sign or name not in columns:
        raise UserError(f"--where {condition}: expected COLUMN=VALUE with one of {', '.join(columns)}")
    return lambda rows: pc.fill_null(pc.equal(rows[name].cast(pa.string()), value), False)


def _asked_by(query_id: int) -> Condition:
    def met(rows: pa.Table) -> pa.Array:
        ids = rows["query_ids"].combine_chunks()
        found = pc.list_parent_indices(ids).filter(pc.equal(pc.list_flatten(ids), query_id))
        return pc.is_in(pa.array(np.arange(len(ids))), value_set=found.cast(pa.int64()))

    return met


def _in_domain(domain: str) -> Condition:
    rules = make_rules([("domain", domain)])
    return lambda rows: pc.is_valid(rules.match(rows).rule)


def _choose(
    shards: Sequence[str], selection: Selection, conditions: Sequence[Condition], advance: Callable[[int], None]
) -> tuple[pa.Table, int, int]:
    """Return rows of SHARD_INDEX with the `place` of their shard in `shards`; how many met the conditions; of how many.

    Those of lowest rank, in their order: a uniform sample, and without conditions the one that `draw` takes.
    """
    best = SHARD_INDEX.append(pa.field("rank", pa.uint64())).append(pa.field(_PLACE, pa.int32())).empty_table()
    num_met = num_samples = 0
    for place, shard in enumerate(shards):
        rows = index_of(shard)
        num_samples += len(rows)
        for condition in conditions:
            rows = rows.filter(condition(rows))
        num_met += len(rows)
        ranked = rows.append_column("rank", pa.array(ranks(f"sample {selection.seed}", rows["key"].combine_chunks())))
        ranked = ranked.append_column(_PLACE, pa.array(np.full(len(rows), place, np.int32)))
        both = pa.concat_tables([best, ranked.cast(best.schema)])
        lowest = np.argsort(both["rank"].to_numpy(), kind="stable")[: selection.num]
        best = both.take(pa.array(np.sort(lowest))).combine_chunks()
        advance(1)
    return best, num_met, num_samples


# ---- what is shown of each ----


def _cards(chosen: pa.Table, place: int, shard: str, terms: dict[int, str]) -> list[Card]:
    rows = chosen.filter(pc.equal(chosen[_PLACE], place))
    if not len(rows):
        return []
    require_places(shard, rows)
    cards = []
    with reading(shard) as file:
        for row in rows.to_pylist():
            file.seek(row["image_offset"])
            picture, problem = thumbnail(file.read(row["image_length"]))
            cards.append(
                Card(
                    picture=picture, problem=problem, caption=row["caption"], url=row["url"], page_url=row["page_url"],
                    terms=tuple(terms.get(number, f"#{number}") for number in row["query_ids"]), key=row["key"],
                    shard=row["shard"], width=row["width"], height=row["height"], num_bytes=row["image_length"],
                    member=row["image_member"],
                )
            )  # fmt: skip
    return cards

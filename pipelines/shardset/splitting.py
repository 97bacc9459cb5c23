"""Resplitting: shards of another size, parts by the hash of the key, samples drawn by it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.shardset.copying import NewShard, read_checked_index
from pipelines.shardset.cutting import Cutter, Limit
from pipelines.shardset.making import Request, count_samples, make_sets, open_set, pick
from wit.digests import sha256_rows
from wit.errors import UserError
from wit.ragged import ragged
from wit.storage import join

U64 = npt.NDArray[np.uint64]

_RANKS = 2.0**63
_TOLERANCE = 1e-9


def ranks(salt: str, keys: Any) -> U64:
    """Return `wit.keys.uniform_rank` of each of an Arrow array of keys, of whatever length: uniform in [0, 2^63)."""
    wide = pa.large_string()
    salted = pc.binary_join_element_wise(pa.scalar(salt, wide), keys.cast(wide), pa.scalar("\0", wide))
    first = np.ascontiguousarray(sha256_rows(ragged(salted))[:, :8]).view(">u8").reshape(-1)
    return first.astype(np.uint64) >> np.uint64(1)


def resplit(pattern: str, out: str, limit: Limit, processes: int) -> dict[str, dict[str, Any]]:
    """Write the samples of shards as shards of another size, in the same order; return the manifest by folder."""
    shards = open_set(pattern)
    what = {"command": "split", **limit.as_json()}

    def new() -> Iterator[NewShard]:
        cutter = Cutter(out, limit)
        for shard in shards:
            yield from cutter.add(pick(shard))
        yield from cutter.flush()

    return make_sets(Request(what, shards, (out,)), new(), processes, count_samples(shards))


def parse_shares(texts: tuple[str, ...]) -> dict[str, float]:
    """Return the shares of parts given as NAME=SHARE; raises UserError when they are no such or do not sum to 1."""
    shares: dict[str, float] = {}
    for text in texts:
        name, _, number = text.partition("=")
        try:
            share = float(number)
        except ValueError:
            share = -1.0
        if not name or "/" in name or name.startswith(".") or name in shares or not 0 < share <= 1:
            raise UserError(f"--into {text}: expected NAME=SHARE, each name once, the share in (0, 1], as train=0.9")
        shares[name] = share
    if abs(sum(shares.values()) - 1) > _TOLERANCE:
        raise UserError(f"--into: expected shares that sum to 1, found {sum(shares.values()):g}")
    return shares


def part_numbers(shares: Mapping[str, float], keys: Any, seed: int) -> npt.NDArray[np.int64]:
    """Return for each of an Arrow array of keys which part it goes to; a key stays in its part as sets grow."""
    uppers = np.array([int(each * _RANKS) for each in accumulate(shares.values())], np.uint64)
    found: npt.NDArray[np.int64] = np.searchsorted(uppers[:-1], ranks(f"split {seed}", keys), side="right")
    return found


def split_into(
    pattern: str, out: str, shares: Mapping[str, float], limit: Limit, seed: int, processes: int
) -> dict[str, dict[str, Any]]:
    """Write the samples of shards into OUT/NAME for each share, by the hash of the key; return manifests by folder."""
    shards = open_set(pattern)
    folders = tuple(join(out, name) for name in shares)
    what = {"command": "split", "into": dict(shares), "seed": seed, **limit.as_json()}

    def new() -> Iterator[NewShard]:
        cutters = [Cutter(folder, limit) for folder in folders]
        for shard in shards:
            index = read_checked_index(shard)
            parts = part_numbers(shares, index["key"], seed)
            for part, cutter in enumerate(cutters):
                yield from cutter.add(pick(shard, np.flatnonzero(parts == part), index))
        for cutter in cutters:
            yield from cutter.flush()

    return make_sets(Request(what, shards, folders), new(), processes, count_samples(shards))


def draw(pattern: str, out: str, num: int, seed: int, limit: Limit, processes: int) -> dict[str, dict[str, Any]]:
    """Write `num` samples of shards, those with the lowest hash of seed and key, in the same order.

    A smaller sample is a part of a larger one with the same seed. Memory: 16 bytes a sample that is drawn. Raises
    UserError when there are fewer.
    """
    shards = open_set(pattern)
    what = {"command": "sample", "num": num, "seed": seed, **limit.as_json()}
    chosen = _lowest(shards, num, seed)

    def new() -> Iterator[NewShard]:
        cutter = Cutter(out, limit)
        for number, rows in chosen.items():
            yield from cutter.add(pick(shards[number], rows))
        yield from cutter.flush()

    return make_sets(Request(what, shards, (out,)), new(), processes, num)


def _lowest(shards: tuple[str, ...], num: int, seed: int) -> dict[int, npt.NDArray[np.int64]]:
    """Return the rows of the samples with the lowest ranks, by number of the shard; equal ranks in their order."""
    best, numbers, rows = np.empty(0, np.uint64), np.empty(0, np.int32), np.empty(0, np.int32)
    for number, shard in enumerate(shards):
        found = ranks(f"sample {seed}", read_checked_index(shard)["key"])
        lower = np.flatnonzero(found < (best.max() if len(best) == num else np.uint64(_RANKS)))
        best = np.concatenate([best, found[lower]])
        numbers = np.concatenate([numbers, np.full(len(lower), number, np.int32)])
        rows = np.concatenate([rows, lower.astype(np.int32)])
        if len(best) > num:
            kept = np.sort(np.argsort(best, kind="stable")[:num])
            best, numbers, rows = best[kept], numbers[kept], rows[kept]
    if len(best) < num:
        raise UserError(f"--num {num}: expected at most the {len(best):,} samples that there are")
    return {number: rows[numbers == number].astype(np.int64) for number in np.unique(numbers).tolist()}

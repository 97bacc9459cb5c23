"""The ledger: each candidate ends in exactly one place, and the sums agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.stages.tables import count_rows, parts
from wit.errors import ContractError, InputError
from wit.shards import list_indexes, shards_of_run
from wit.storage import is_remote, join, list_names, local_path, locate, open_input, size


@dataclass(frozen=True)
class Entry:
    """What one stage did with the candidates that reached it."""

    stage: str
    num_in: int
    num_merged: int
    """Occurrences of a pair that is already there (extract only)."""
    num_out: int
    rejects: dict[str, int]
    """Candidates by reason, most frequent first."""

    def check(self) -> None:
        """Raise ContractError unless what came in is what went out, was merged, or was rejected."""
        num_rejected = sum(self.rejects.values())
        if self.num_in != self.num_out + self.num_merged + num_rejected:
            raise ContractError(
                f"{self.stage}: the ledger does not add up: {self.num_in} in, "
                f"{self.num_out} out + {self.num_merged} merged + {num_rejected} rejected"
            )

    def as_manifest(self) -> dict[str, Any]:
        """Return the entry as plain values."""
        return {
            "num_in": self.num_in,
            "num_merged": self.num_merged,
            "num_out": self.num_out,
            "rejects": dict(sorted(self.rejects.items())),
        }


def from_manifest(stage: str, values: dict[str, Any]) -> Entry:
    """Return the entry that a stage's manifest holds; raises InputError when it is none."""
    rejects = values.get("rejects") if isinstance(values, dict) else None
    if not isinstance(rejects, dict) or not all(
        isinstance(count, int) for count in (*rejects.values(), *map(values.get, ("num_in", "num_merged", "num_out")))
    ):
        raise InputError(f"{stage}/manifest.json: expected a ledger, found something else; redo it with --from {stage}")
    return Entry(stage, values["num_in"], values["num_merged"], values["num_out"], _by_count(values["rejects"]))


def measure(root: str, stage: str, previous: Entry | None) -> Entry:
    """Count what a finished stage wrote. Extract counts occurrences; the later stages distinct pairs."""
    rejects = count_reasons(root, stage)
    if previous is None:
        num_found = count_occurrences(root, "extract/found/kept")
        num_out = count_rows(root, "extract/pairs")
        num_merged = count_occurrences(root, "extract/pairs")
        if num_merged != num_found:
            raise ContractError(f"{stage}: {num_found} occurrences were found, {num_merged} are in the merged pairs")
        entry = Entry(stage, num_found + sum(rejects.values()), num_found - num_out, num_out, rejects)
    else:
        entry = Entry(stage, previous.num_out, 0, count_rows(root, f"{stage}/kept"), rejects)
    entry.check()
    return entry


WIDTH = 40  # columns of the funnel's longest bar


def count_occurrences(root: str, table: str) -> int:
    """Return the sum of a table's num_occurrences."""
    total = 0
    for url in parts(root, table):
        with open_input(url) as file:
            for batch in pq.ParquetFile(file).iter_batches(columns=["num_occurrences"]):
                total += pc.sum(batch.column("num_occurrences")).as_py() or 0
    return total


def describe_tables(root: str, stage: str) -> dict[str, dict[str, int]]:
    """Return parts, rows and bytes of every table that a stage wrote, its rejects included, by folder."""
    folders = _folders(root, stage)
    folders += [inner for folder in folders for inner in _folders(root, folder)]
    found = {folder: parts(root, folder) for folder in [*folders, f"rejects/{stage}"]}
    return {
        folder: {"num_parts": len(urls), "num_rows": count_rows(root, folder), "num_bytes": sum(map(size, urls))}
        for folder, urls in sorted(found.items())
        if urls
    }


def _folders(root: str, folder: str) -> list[str]:
    """Return what lies in a folder and is no file: files of a run have a suffix, folders none."""
    return [f"{folder}/{name}" for name in list_names(join(root, folder)) if "." not in name]


def count_reasons(root: str, stage: str) -> dict[str, int]:
    """Return how many candidates a stage rejected, by reason, most frequent first."""
    counts: Counter[str] = Counter()
    for url in parts(root, f"rejects/{stage}"):
        with open_input(url) as file:
            for batch in pq.ParquetFile(file).iter_batches(columns=["reason"]):
                for item in batch.column("reason").value_counts().to_pylist():
                    counts[item["values"]] += item["counts"]
    return _by_count(counts)


def _by_count(counts: dict[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def open_tables(root: str) -> Any:
    """Return a DuckDB connection with a view for each table of a run.

    `match/matches` is called match_matches, `match/kept` match_kept; `rejects` holds those of all stages, and `shards`
    the shards' index. Raises InputError for a table that cannot be read.
    """
    import duckdb

    connection = duckdb.connect()
    views = dict(_tables(root))
    if is_remote(shards_of_run(root)):
        connection.register_filesystem(locate(shards_of_run(root))[0])
    for name in sorted(views):
        files = ", ".join("'" + local_path(url).replace("'", "''") + "'" for url in views[name])
        try:
            connection.sql(f"select * from read_parquet([{files}])").create_view(name)
        except duckdb.Error as error:
            raise InputError(f"{root}: the table {name} cannot be read: {str(error).splitlines()[0]}") from error
    return connection


def _tables(root: str) -> Iterator[tuple[str, list[str]]]:
    """Yield (name for SQL, URLs of the parts) of every table."""
    all_rejects = []
    indexes = list_indexes(shards_of_run(root))
    if indexes:
        yield "shards", indexes
    for stage in list_names(root):
        for table in list_names(join(root, stage)):
            folder = f"{stage}/{table}"
            found = parts(root, folder)
            if stage == "rejects":
                all_rejects += found
            elif found:
                yield f"{stage}_{table}", found
            elif parts(root, f"{folder}/kept"):
                yield f"{stage}_{table}", parts(root, f"{folder}/kept")
    if all_rejects:
        yield "rejects", all_rejects


def funnel_rows(entries: Sequence[Entry]) -> Iterator[tuple[str, str, int, float | None]]:
    """Yield (stage, reason, candidates, share of those found): a row a reason, then what the stage leaves.

    What is found and what is left have the reason "" and a share, what goes has None.
    """
    found = entries[0].num_in
    yield "found", "", found, 1.0 if found else 0.0
    for entry in entries:
        for reason, count in entry.rejects.items():
            yield entry.stage, reason, count, None
        if entry.num_merged:
            yield entry.stage, "merged (same URL, caption)", entry.num_merged, None
        yield entry.stage, "", entry.num_out, entry.num_out / found if found else 0.0


def funnel(entries: Sequence[Entry]) -> str:
    """Return the run as a funnel in plain text: a line a stage, a line a reason."""
    if not entries:
        return "nothing finished yet"
    lines = [f"{'':24}{'occurrences':>12}"]
    for stage, reason, count, share in funnel_rows(entries):
        if share is None:
            lines.append(f"    - {reason:<28}{count:>12,}")
        else:
            lines.append(f"{stage:<24}{count:>12,}  {'█' * round(share * WIDTH):<{WIDTH}} {share:6.1%}")
    first, last = entries[0], entries[-1]
    rejected = sum(sum(entry.rejects.values()) for entry in entries)
    lines.append(
        f"{first.num_in:,} = {last.num_out:,} left + {first.num_merged:,} merged + {rejected:,} rejected: "
        "the ledger adds up"
    )
    return "\n".join(lines)

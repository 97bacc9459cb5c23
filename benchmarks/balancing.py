"""Balancing 0.1, 1 and 10 million pairs: the steps of the stage, one sort of all matches, and MetaCLIP's loop.

    python -m benchmarks.balancing [--pairs 100000 ...] [--cap 20000] [--processes 1] [--folder FOLDER]

Pairs match 2 to 17 of 500,000 queries, by Zipf's law: the first query matches two fifths of all pairs. `ours` runs
every step of `balance` by the local executor, over tables on disk, captions and all. `sort` is the cap as plain SQL has
it: DuckDB's row_number() over the long rows of matches, and a join back to the pairs, with as many threads and no limit
of memory; it counts nothing. `loop` is the published rule as its authors run it, a draw a match in Python, over lists
that are in memory already; it does not read, write or count. Memory is the resident set of all processes of a way
together, sampled. Exits 1 when `ours` and `sort` differ.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.chain import peak_memory
from pipelines.executors.local import LocalExecutor
from pipelines.executors.parts import part_name, write_rows
from pipelines.stages.balance import Balance
from pipelines.stages.verb import RunSettings
from wit.balancing import count_table
from wit.schema import MATCHED, MATCHES, TERMS
from wit.stage import PlanStage, SqlStage

NUM_TERMS = 500_000
PAIRS_A_PART = 250_000
HEADER = "| pairs | matches | way | s | pairs/s | peak memory, MB |\n|---|---|---|---|---|---|"


def main() -> None:
    """Measure each way at each size, each in a process of its own, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, action="append", help="sizes; 100000, 1000000 and 10000000")
    parser.add_argument("--cap", type=int, default=20_000)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--way", choices=WAYS, help="one way alone, over FOLDER; used by the script itself")
    options = parser.parse_args()
    if options.way:
        print(WAYS[options.way](options.folder, options.cap, options.processes))
        return
    print(HEADER, flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        for size in options.pairs or [100_000, 1_000_000, 10_000_000]:
            folder = (options.folder or Path(scratch)) / str(size)
            num_matches = write_pairs(folder, size)
            for way in WAYS:
                command = [sys.executable, "-m", "benchmarks.balancing", "--way", way, "--folder", str(folder)]
                command += ["--cap", str(options.cap), "--processes", str(options.processes)]
                process = subprocess.Popen(command, stdout=subprocess.PIPE)
                peak = peak_memory(process)
                seconds = float(process.communicate()[0])
                cells = (f"{size:,}", f"{num_matches:,}", way, f"{seconds:.1f}", f"{size / seconds:,.0f}")
                print(f"| {' | '.join(cells)} | {peak / 1e6:,.0f} |", flush=True)
            _check(folder)


def _check(folder: Path) -> None:
    """Exit unless `ours` and `sort` kept the same pairs."""
    tables = (folder / "balance" / "kept", folder / "sorted.parquet")
    mine, theirs = (pq.read_table(table, columns=["key"]).sort_by("key")["key"] for table in tables)
    if not mine.equals(theirs):
        sys.exit(f"{folder}: the two ways differ: {len(mine)} and {len(theirs)} pairs")


def write_pairs(folder: Path, num_pairs: int) -> int:
    """Write the tables that match leaves; return how many matches there are."""
    num_parts = max(1, num_pairs // PAIRS_A_PART)
    draw = np.random.default_rng(0)
    total = 0
    for part in range(num_parts):
        table = _pairs(draw, num_pairs // num_parts, part)
        ids = table["query_ids"].combine_chunks()
        zeros = np.zeros(len(ids.flatten()), np.int32)
        columns = [table["key"].take(ids.value_parent_indices()), zeros + np.int32(part), ids.flatten(), zeros]
        matches = pa.table(columns, schema=MATCHES)
        counts = np.bincount(ids.flatten().to_numpy(), minlength=NUM_TERMS)
        for name, rows in (("kept", table), ("matches", matches), ("counts", count_table(counts, num_parts))):
            write_rows(str(folder / "match" / name / part_name(part)), rows.schema, rows.to_batches())
        total += matches.num_rows
    ids = np.arange(NUM_TERMS, dtype=np.int32)
    ids = ids[np.argsort(ids % num_parts, kind="stable")]
    terms = pa.table([ids, ids % np.int32(num_parts), [f"term {each}" for each in ids.tolist()]], schema=TERMS)
    write_rows(str(folder / "match" / "queries" / part_name(0)), TERMS, terms.to_batches())
    return total


def _pairs(draw: np.random.Generator, count: int, bucket: int) -> pa.Table:
    """Return MATCHED: uniform ranks, keys that begin with their bucket, and queries by Zipf's law."""
    rows = np.repeat(np.arange(count), draw.integers(2, 18, count))
    ids = np.minimum(np.exp(draw.uniform(0.0, np.log(NUM_TERMS), len(rows))) - 1, NUM_TERMS - 1).astype(np.int64)
    rows, ids = np.divmod(np.unique(rows * NUM_TERMS + ids), NUM_TERMS)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=count))]).astype(np.int32)
    kind = MATCHED.field("query_ids").type
    keys = [
        f"{bucket:08x}{number:08x}{tail:016x}" for number, tail in enumerate(draw.integers(0, 2**63, count).tolist())
    ]
    columns = {
        "key": keys,
        "bucket": np.full(count, bucket, np.int32),
        "rank": draw.integers(0, 2**63, count),
        "url": [f"https://www.example.com/images/{key}.jpg" for key in keys],
        "caption": [
            f"a caption as long as most, of some fifteen words, and another for each pair: {key}" for key in keys
        ],
        "page_url": pa.nulls(count, pa.string()),
        "archive": ["CC-MAIN-20240520173148-20240520203148-00000.warc.wat.gz"] * count,
        "offset": np.arange(count),
        "attribute": ["img@alt"] * count,
        "num_occurrences": np.ones(count, np.int64),
        "query_ids": pa.ListArray.from_arrays(pa.array(offsets), pa.array(ids.astype(np.int32)), type=kind),
    }
    return pa.table([columns[name] for name in MATCHED.names], schema=MATCHED)


def ours(folder: Path, cap: int, processes: int) -> float:
    """Run the steps of the stage as a run does."""
    num_buckets = len(list((folder / "match" / "kept").iterdir()))
    executor = LocalExecutor(str(folder), num_buckets, processes, 1024 * processes)
    started = time.perf_counter()
    for step in Balance(cap=cap).steps(RunSettings(num_buckets=num_buckets)):
        if isinstance(step.stage, SqlStage):
            executor.sql(step, lambda _: None)
        elif step.sources:
            executor.map(step, lambda _: None)
        else:
            plan: PlanStage = step.stage  # type: ignore[assignment]
            for index, table in enumerate(plan(str(folder))):
                write_rows(str(folder / step.target / part_name(index)), table.schema, table.to_batches())
    seconds = time.perf_counter() - started
    executor.close()
    return seconds


def sort(folder: Path, cap: int, processes: int) -> float:
    """Number the matches of each query by one window over all of them, and write the pairs that stay."""
    import duckdb

    connection = duckdb.connect(config={"threads": processes, "temp_directory": str(folder)})
    started = time.perf_counter()
    connection.sql(f"""
        copy (
            select pairs.* from read_parquet('{folder}/match/kept/*.parquet') pairs
            where key in (
                select key from (
                    select matches.key,
                        row_number() over (partition by query_id order by rank, matches.key) as place
                    from read_parquet('{folder}/match/matches/*.parquet') matches
                    join read_parquet('{folder}/match/kept/*.parquet') ranked on ranked.key = matches.key
                ) where place <= {cap}
            ) order by key
        ) to '{folder}/sorted.parquet' (compression zstd)
    """)
    return time.perf_counter() - started


def loop(folder: Path, cap: int, processes: int) -> float:
    """Draw for each match in turn until a query takes the pair."""
    column = pq.read_table(folder / "match" / "kept", columns=["query_ids"])["query_ids"]
    counts = np.bincount(column.combine_chunks().flatten().to_numpy(), minlength=NUM_TERMS)
    probability = (cap / np.maximum(counts, cap)).tolist()
    draw = random.Random(0).random
    seconds = 0.0
    for chunk in column.chunks:
        pairs = chunk.to_pylist()
        started = time.perf_counter()
        _ = [any(draw() < probability[query] for query in ids) for ids in pairs]
        seconds += time.perf_counter() - started
    return seconds


WAYS = {"ours": ours, "sort": sort, "loop": loop}


if __name__ == "__main__":
    main()

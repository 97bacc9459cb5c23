"""From crawl to balanced list: time and memory of extract, filter_text, match and balance at 0.1, 1 and 10 million.

    python -m benchmarks.candidates --captions CAPTIONS.parquet --queries QUERIES [--candidates 100000 ...]
        [--folder FOLDER] [--processes 2] [--executor spark --spark-master 'local-cluster[2,1,4096]']

For each size: writes the WAT files of a synthetic crawl (benchmarks.synthetic_crawl), fills the list of queries up to
500,000 terms with n-grams of the captions, runs `wit run wit400m --until balance`, and prints one row of a Markdown
table. Memory is the resident set of the run and its workers together, sampled five times a second. What a run wrote
stays in FOLDER/run-SIZE; with --executor spark its tables are compared, byte for byte, with those of a local run there.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.chain import peak_memory
from benchmarks.synthetic_crawl import write_crawl

NUM_TERMS = 500_000
STAGES = ("extract", "filter_text", "match", "balance")
HEADER = (
    "| candidates | WAT, GB | pairs | filtered | matched | balanced | matches | extract, s | filter_text, s | match, s "
    "| balance, s | run, s | candidates/s | peak memory, MB | on disk, MB |\n" + "|---" * 15 + "|"
)


def main() -> None:
    """Measure each size and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--captions", type=Path, required=True)
    parser.add_argument("--queries", type=Path, required=True, help="folder that wit queries build wrote")
    parser.add_argument("--candidates", type=int, action="append", help="sizes; 100000, 1000000 and 10000000")
    parser.add_argument("--cap", type=int, default=20_000)
    parser.add_argument("--buckets", type=int, default=16)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--executor", choices=("local", "spark"), default="local")
    parser.add_argument("--spark-master", default="local-cluster[2,1,4096]")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}\n\n{HEADER}", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder: Path = options.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        queries = folder / "queries.parquet"
        fill_queries(options.queries / "queries.parquet", options.captions, queries)
        for size in options.candidates or [100_000, 1_000_000, 10_000_000]:
            crawl = folder / f"crawl-{size}"
            if not crawl.exists():
                write_crawl(options.captions, crawl, size)
            print(_measure(folder, crawl, queries, size, options), flush=True)


def fill_queries(source: Path, captions: Path, target: Path) -> None:
    """Write the list with the commonest 2- and 3-grams of the captions' normal forms added, up to NUM_TERMS."""
    from wit.schema import QUERIES
    from wit.tokens import normal_form_array

    table = pq.read_table(source)
    terms = dict.fromkeys(table.column("term").to_pylist())
    counts: Counter[str] = Counter()
    for form in normal_form_array(pq.read_table(captions).column("TEXT").drop_null()).to_pylist():
        words = form.split()
        for length in (2, 3):
            counts.update(" ".join(words[start : start + length]) for start in range(len(words) - length + 1))
    added = [term for term, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0])) if term not in terms]
    added = added[: NUM_TERMS - table.num_rows]
    rows = [
        {"query_id": table.num_rows + place, "term": term, "sources": ["bigram"]} for place, term in enumerate(added)
    ]
    pq.write_table(pa.concat_tables([table, pa.Table.from_pylist(rows, schema=QUERIES)]), target)


def _measure(folder: Path, crawl: Path, queries: Path, size: int, options: argparse.Namespace) -> str:
    run = folder / f"run-{size}{'-spark' if options.executor == 'spark' else ''}"
    command = [sys.executable, "-m", "wit", "run", "wit400m", "--out", str(run), "--until", "balance"]
    command += ["--set", f"extract.wat={crawl}/*.wat.gz", "--set", f"match.queries={queries}"]
    command += ["--set", f"run.num_buckets={options.buckets}", "--set", f"balance.cap={options.cap}"]
    command += ["--processes", str(options.processes), "--executor", options.executor]
    command += ["--spark-master", options.spark_master]
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    peak = peak_memory(process)
    seconds = time.monotonic() - started
    _, errors = process.communicate()
    if process.returncode:
        sys.exit(errors.decode()[-2000:])
    if options.executor == "spark":
        _compare(run, folder / f"run-{size}")
    logs = {line["stage"]: line for line in map(json.loads, (run / "log.jsonl").read_text().splitlines())}
    wat = sum(path.stat().st_size for path in crawl.iterdir()) / 1e9
    matches = sum(pq.read_metadata(path).num_rows for path in (run / "match" / "matches").iterdir())
    disk = sum(path.stat().st_size for path in run.rglob("*") if path.is_file())
    found = logs["extract"]["num_in"]
    cells = [f"{found:,}", f"{wat:.2f}", *(f"{logs[name]['num_out']:,}" for name in STAGES), f"{matches:,}"]
    cells += [f"{logs[name]['seconds']:.1f}" for name in STAGES]
    cells += [f"{seconds:.1f}", f"{found / seconds:,.0f}", f"{peak / 1e6:,.0f}", f"{disk / 1e6:,.0f}"]
    return "| " + " | ".join(cells) + " |"


def _compare(run: Path, other: Path) -> None:
    """Exit unless two runs hold the same tables, byte for byte."""
    hashes = [
        {
            str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(root.rglob("*.parquet"))
        }
        for root in (run, other)
    ]
    if hashes[0] != hashes[1]:
        names = sorted(
            name for name in hashes[0].keys() | hashes[1].keys() if hashes[0].get(name) != hashes[1].get(name)
        )
        sys.exit(f"{run} and {other} differ in {len(names)} tables, first {names[0]}")
    print(f"{len(hashes[0])} tables of {run.name} and {other.name} are equal, byte for byte", file=sys.stderr)


if __name__ == "__main__":
    main()

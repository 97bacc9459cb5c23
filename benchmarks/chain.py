"""What the whole chain costs as the work grows: time, memory and bytes at 1x, 10x, 100x.

    python -m benchmarks.chain [--pairs 1000 --pairs 10000 ...] [--folder FOLDER]

For each size: writes the miniature web, builds its query list, serves it from another process, runs the tiny recipe,
checks every candidate against the truth, and prints one row of a Markdown table. Memory is the resident set of the run
and its workers together, sampled five times a second; the server and the sample's writer are not in it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.kill_soak import WIT, prepare, run_command

HEADER = """| pairs | candidates | packed | run, s | candidates/s | peak memory, MB | on disk, MB | as the truth says |
|---|---|---|---|---|---|---|---|"""


def main() -> None:
    """Measure each size and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, action="append", help="sizes of the miniature web")
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}\n\n{HEADER}", flush=True)
    for pairs in options.pairs or [1000, 10_000, 100_000]:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            print(_measure(Path(folder), pairs), flush=True)


def _measure(folder: Path, pairs: int) -> str:
    from wit.sample.server import serving

    sample, queries = prepare(folder, pairs)
    run = folder / "run"
    with serving(str(sample)) as address:
        started = time.monotonic()
        process = subprocess.Popen(
            [*run_command(sample, queries, address), "--out", str(run)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        peak = peak_memory(process)
        seconds = time.monotonic() - started
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    check = subprocess.run([*WIT, "sample", "check", str(sample), str(run)], capture_output=True, check=False)
    ledgers = {name: json.loads((run / name / "manifest.json").read_text())["ledger"] for name in ("extract", "pack")}
    found, packed = ledgers["extract"]["num_in"], ledgers["pack"]["num_out"]
    size = sum(path.stat().st_size for path in run.rglob("*") if path.is_file())
    truth = "yes" if check.returncode == 0 else "NO"
    return (
        f"| {pairs:,} | {found:,} | {packed:,} | {seconds:.1f} | {found / seconds:,.0f} | {peak / 1e6:,.0f} | "
        f"{size / 1e6:,.0f} | {truth} |"
    )


def peak_memory(process: subprocess.Popen[bytes]) -> int:
    """Wait for a process; return the largest resident set of it and its children together, in bytes."""
    peak = 0
    parent = psutil.Process(process.pid)
    while process.poll() is None:
        try:
            peak = max(peak, sum(each.memory_info().rss for each in (parent, *parent.children(recursive=True))))
        except psutil.NoSuchProcess:
            continue
        time.sleep(0.2)
    return peak


if __name__ == "__main__":
    main()

"""Dump to n-gram counts, against decompressing the same file: CPU seconds, wall time, peak memory.

    python benchmarks/queries.py DUMP.bz2 [--copies 20] [--processes 1 2]

The dump's pages are repeated to make the work long enough to measure; copies add no new words, so memory is not
measured at scale by this.
"""

from __future__ import annotations

import argparse
import bz2
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DECOMPRESS = "import bz2, sys\nwith bz2.open(sys.argv[1]) as file:\n    while file.read(1 << 20): pass"
BUILD = "from wit.cli import main\nif __name__ == '__main__': main()"


def _repeat(dump: Path, copies: int, target: Path) -> int:
    """Write a multistream dump with the pages `copies` times; return the bytes of its XML."""
    xml = bz2.decompress(dump.read_bytes())
    start, end = xml.index(b"<page>"), xml.rindex(b"</page>") + len(b"</page>")
    pages = bz2.compress(xml[start:end])
    target.write_bytes(bz2.compress(xml[:start]) + pages * copies + bz2.compress(xml[end:]))
    return len(xml) + (copies - 1) * (end - start)


def _measure(*command: str) -> tuple[float, float, float]:
    """Return (CPU seconds of a command and its children, wall seconds, peak MB of its largest process)."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, command
    return usage.ru_utime + usage.ru_stime, time.perf_counter() - started, usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dump", type=Path)
    parser.add_argument("--copies", type=int, default=20)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        dump, script = Path(folder, "dump.xml.bz2"), Path(folder, "build.py")
        num_bytes = _repeat(options.dump, options.copies, dump)
        script.write_text(BUILD)
        jobs = {"decompression alone": ["-c", DECOMPRESS, str(dump)]}
        for processes in options.processes:
            arguments = ["queries", "build", "--dump", str(dump), "--processes", str(processes)]
            jobs[f"queries build, {processes} processes"] = [str(script), *arguments]
        print(f"{num_bytes / 1e6:,.0f} MB of XML, best of {options.repeats}")
        for name, job in jobs.items():
            runs = []
            for repeat in range(options.repeats):
                out = ["--out", f"{folder}/out-{name}-{repeat}"] if name.startswith("queries") else []
                runs.append(_measure(*job, *out))
            cpu_s, wall_s, peak_mb = (min(values) for values in zip(*runs, strict=True))
            rate = num_bytes / cpu_s / 1e6
            print(f"{name:<28}{cpu_s:8.2f} s CPU{wall_s:8.2f} s wall{peak_mb:8.0f} MB{rate:8.1f} MB/s CPU")


if __name__ == "__main__":
    main()

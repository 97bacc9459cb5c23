"""Dump to query list, beside decompression alone and gensim, in one run on one file: time, CPU, memory.

    python -m benchmarks.queries DUMP.xml.bz2 [...] [--processes 1 2] [--memory 2GB] [--json RESULTS.json]
        [--peers PYTHON --gensim-dump SMALLER.xml.bz2]
    python -m benchmarks.queries --project RESULTS.json

`benchmarks.synthetic_dump` writes dumps of any size. Every job is held to as many cores as it has processes. A row is
the run with the least wall time of `--repeats`, which go round all jobs. Memory is the proportional set size of the job
and all its children together, at its peak, sampled four times a second: pages that processes share count once. The
ratios are to the fastest decompression of the same dump with as many cores, and to the one with the least CPU; on a
machine that does other work at the same time only the second can be trusted.

gensim (`WikiCorpus` and `Phrases`, NPMI) runs on SMALLER and its rate is taken for all sizes; measure two to see
whether it holds. `--project` prints what a full English dump would cost, from the results of the largest dump measured
with two numbers of processes, on a machine that did nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import psutil

PEERS_SCRIPT = Path(__file__).with_name("peers.py")
SAMPLE_S = 0.25

ENWIKI_XML_BYTES, ENWIKI_STORED_BYTES = 105e9, 24e9
"""Assumed of a full enwiki pages-articles-multistream dump, decompressed and as stored."""


@dataclass(frozen=True)
class Result:
    """One job on one dump."""

    job: str
    dump: str
    xml_bytes: int
    processes: int
    wall_s: float
    cpu_s: float
    peak_bytes: int

    @property
    def rate(self) -> float:
        """Megabytes of XML a second."""
        return self.xml_bytes / self.wall_s / 1e6


BUILD, GENSIM = "wit queries build", "gensim WikiCorpus + Phrases"
DECOMPRESSIONS = ("lbzip2", "indexed_bzip2", "bz2 by stream")


def commands(dump: Path, processes: int, memory: str, out: str) -> dict[str, list[str]]:
    """Return the command of each job on a dump, by the job's name."""
    decompress = [sys.executable, "-m", "benchmarks.decompress"]
    build = [sys.executable, "-m", "wit", "queries", "build", "--dump", str(dump), "--out", out]
    jobs = {
        "indexed_bzip2": [*decompress, "indexed_bzip2", str(dump), str(processes)],
        BUILD: [*build, "--processes", str(processes), "--memory", memory],
    }
    if shutil.which("lbzip2"):
        jobs["lbzip2"] = ["lbzip2", "-n", str(processes), "-dc", str(dump)]
    if Path(str(dump).replace(".xml.bz2", "-index.txt.bz2")).exists():
        jobs["bz2 by stream"] = [*decompress, "streams", str(dump), str(processes)]
    return jobs


def measure(job: str, command: list[str], dump: Path, xml_bytes: int, processes: int) -> Result:
    """Run a command on as many cores as it has processes; raises CalledProcessError when it fails."""
    cores = sorted(os.sched_getaffinity(0))[:processes]
    started = time.perf_counter()
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            preexec_fn=partial(os.sched_setaffinity, 0, cores),
        )
        peak = 0
        while (ended := os.wait4(process.pid, os.WNOHANG))[0] == 0:
            peak = max(peak, _memory(process.pid))
            time.sleep(SAMPLE_S)
        wall_s = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(ended[1])
        if process.returncode:
            errors.seek(0)
            sys.exit(f"{' '.join(command)}: exit {process.returncode}\n{errors.read().decode()[-2000:]}")
    usage = ended[2]
    return Result(job, dump.name, xml_bytes, processes, wall_s, usage.ru_utime + usage.ru_stime, peak)


def _memory(pid: int) -> int:
    """Return the proportional set size of a process and its descendants, in bytes."""
    try:
        root = psutil.Process(pid)
        tree = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    return sum(_proportional_size(each.pid) for each in tree)


def _proportional_size(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):  # it has just ended
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def xml_size(dump: Path) -> int:
    """Return how many bytes of XML a dump holds."""
    command = [sys.executable, "-m", "benchmarks.decompress", "indexed_bzip2", str(dump), str(os.cpu_count())]
    return int(subprocess.run(command, check=True, capture_output=True).stdout)


def run_all(options: argparse.Namespace, folder: str) -> Iterator[Result]:
    """Yield the best run of each job: dump by dump, for each number of processes."""
    for dump in options.dumps:
        size = xml_size(dump)
        for processes in options.processes:
            best: dict[str, Result] = {}
            for _ in range(options.repeats):
                out = tempfile.mkdtemp(dir=folder)
                for job, command in commands(dump, processes, options.memory, f"{out}/list").items():
                    found = measure(job, command, dump, size, processes)
                    best[job] = min(found, best.get(job, found), key=lambda each: each.wall_s)
                shutil.rmtree(out)
            yield from best.values()
    if options.peers:
        dump = options.gensim_dump
        for processes in options.processes:
            command = [options.peers, str(PEERS_SCRIPT), "phrases", str(dump), str(processes)]
            yield measure(GENSIM, command, dump, xml_size(dump), processes)


def table(results: list[Result]) -> Iterator[str]:
    """Yield the lines of the Markdown table."""
    yield (
        "| dump, MB of XML | job | processes | wall, s | CPU, s | XML MB/s | peak memory, MB | "
        "wall, times decompression | CPU, times decompression |"
    )
    yield "|---" * 9 + "|"
    for each in results:
        same = [other for other in results if (other.dump, other.processes) == (each.dump, each.processes)]
        bare = [other for other in same if other.job in DECOMPRESSIONS]
        wall = f"{each.wall_s / min(other.wall_s for other in bare):.2f}" if bare else ""
        cpu = f"{each.cpu_s / min(other.cpu_s for other in bare):.2f}" if bare else ""
        yield (
            f"| {each.xml_bytes / 1e6:,.0f} | {each.job} | {each.processes} | {each.wall_s:,.1f} | {each.cpu_s:,.1f} | "
            f"{each.rate:,.1f} | {each.peak_bytes / 1e6:,.0f} | {wall} | {cpu} |"
        )


def projection(results: list[Result], cores: tuple[int, ...] = (2, 16, 64)) -> Iterator[str]:
    """Yield a Markdown table: hours for a full English dump by cores, from the measured rates.

    With wall times w1 and w2 of p1 and p2 processes on a dump of S bytes of XML, w = A / p + B (Amdahl): A = (w1 - w2)
    / (1 / p1 - 1 / p2), B = w1 - A / p1, at least 0. A full dump of X bytes takes X / S (A / p + B): linear in X, which
    overstates what depends on distinct words. gensim is taken at its best measured rate, whatever the cores: the
    half of it that counts phrases runs in one process.
    """
    yield "| cores | " + " | ".join(f"{each}" for each in cores) + " |"
    yield "|---" * (len(cores) + 1) + "|"
    largest = max(each.xml_bytes for each in results if each.job == BUILD)
    for job in (*DECOMPRESSIONS, BUILD):
        points = sorted(
            (1 / each.processes, each.wall_s) for each in results if each.job == job and each.xml_bytes == largest
        )
        if len(points) < 2:
            continue
        (few, least), (many, most) = points[0], points[-1]
        if least >= most:
            sys.exit(
                f"{job}: expected less wall time with more processes, found {most:.1f} and {least:.1f} s; measure again"
            )
        parallel_s = (most - least) / (many - few)
        serial_s = max(0.0, most - parallel_s * many)
        hours = [ENWIKI_XML_BYTES / largest * (parallel_s / each + serial_s) / 3600 for each in cores]
        yield f"| {job}, hours | " + " | ".join(f"{each:,.2f}" for each in hours) + " |"
    rates = [each.rate for each in results if each.job == GENSIM]
    if rates:
        hours_s = f"{ENWIKI_XML_BYTES / 1e6 / max(rates) / 3600:,.1f}"
        yield f"| {GENSIM}, hours | " + " | ".join([hours_s] * len(cores)) + " |"
    disk = [f"{ENWIKI_STORED_BYTES / (200e6) / 3600:,.2f}"] * len(cores)
    yield "| reading the stored bytes at 200 MB/s, hours | " + " | ".join(disk) + " |"


def main() -> None:
    """Measure and print, or print the projection."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dumps", type=Path, nargs="*")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--memory", default="2GB")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--peers", help="interpreter that has gensim; without it gensim is not measured")
    parser.add_argument("--gensim-dump", type=Path)
    parser.add_argument("--json", type=Path, help="where to keep the results")
    parser.add_argument("--project", type=Path, metavar="RESULTS.json")
    options = parser.parse_args()
    if options.project:
        print("\n".join(projection([Result(**each) for each in json.loads(options.project.read_text())])))
        return
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, --memory {options.memory}\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        results = list(run_all(options, folder))
    if options.json:
        options.json.write_text(json.dumps([asdict(each) for each in results], indent=1))
    print("\n".join(table(results)))


if __name__ == "__main__":
    main()

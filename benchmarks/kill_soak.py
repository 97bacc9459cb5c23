"""Kills a run at random moments, restarts it each time, and compares every byte with an undisturbed run's.

    python -m benchmarks.kill_soak [--kills 30] [--pairs 1000] [--seed 0] [--until STAGE] [--folder FOLDER]
        [--spark-master 'local-cluster[2,1,1024]']

Each kill is SIGKILL to the run's parent or to one of its workers, at a random moment; on Spark to the driver's Python
process, to an executor (where the master has any of their own) or to one of its Python workers. After each: no process
of the run may be left, and no file under a final name may differ from the undisturbed run's. The last restart must
finish with the same bytes, and nothing half-written may stay in a finished run. Exits 1 at the first breach.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil

from pipelines.executors.parts import SCRATCH

VOLATILE = {"log.jsonl", ".lock"}
WIT = (sys.executable, "-m", "wit")


def main() -> None:
    """Run the soak and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--until", default="pack", help="the last stage")
    parser.add_argument("--spark-master", help="run on Spark")
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args()
    more = ["--until", options.until]
    if options.spark_master:
        more += ["--executor", "spark", "--spark-master", options.spark_master]
    with tempfile.TemporaryDirectory() as scratch:
        soak(options.folder or Path(scratch), options.kills, options.pairs, options.seed, more)


def soak(folder: Path, num_kills: int, pairs: int, seed: int, more: list[str]) -> None:
    """Make a sample and its queries under `folder`, run them undisturbed, then `soak_over` them."""
    sample, queries = prepare(folder, pairs)
    from wit.sample.server import serving

    with serving(str(sample)) as address:
        command = [*run_command(sample, queries, address), *more]
        started = time.monotonic()
        subprocess.run([*command, "--out", str(folder / "undisturbed")], check=True, capture_output=True)
        length_s = time.monotonic() - started
        print(f"undisturbed run: {length_s:.1f} s")
        kills = soak_over(command, folder / "undisturbed", folder / "killed", num_kills, length_s, seed)
    print(f"{sum(kills.values())} kills survived: {dict(sorted(kills.items()))}; all bytes equal")


def prepare(folder: Path, pairs: int) -> tuple[Path, Path]:
    """Write the sample and its query list; return their folders."""
    sample, queries = folder / "sample", folder / "queries"
    subprocess.run([*WIT, "sample", str(sample), "--pairs", str(pairs)], check=True, capture_output=True)
    build = ["queries", "build", "--dump", f"{sample}/wiki/samplewiki-pages-articles-multistream.xml.bz2"]
    build += ["--pageviews", f"{sample}/pageviews/*.gz", "--wordnet", f"{sample}/wordnet/dict"]
    build += ["--min-word-count", "100", "--min-bigram-count", "20", "--min-pmi", "6", "--min-views", "70"]
    subprocess.run([*WIT, *build, "--out", str(queries)], check=True, capture_output=True)
    return sample, queries


def run_command(sample: Path, queries: Path, address: str) -> list[str]:
    """Return the `wit run` of the tiny recipe over a sample, without --out."""
    overrides = {
        "extract.warc": f"{sample}/archives/*.warc.gz",
        "match.queries": f"{queries}/queries.parquet",
        "overlap.sets": f"shapes-test={sample}/eval/shapes-test",
        "fetch.connect_to": address,
        "balance.cap": json.loads((sample / "sample.json").read_text())["cap"],
    }
    sets = [word for name, value in overrides.items() for word in ("--set", f"{name}={value}")]
    return [*WIT, "run", "tiny", "--processes", "2", *sets]


def soak_over(
    command: list[str], undisturbed: Path, target: Path, num_kills: int, length_s: float, seed: int
) -> Counter[str]:
    """Kill a run `num_kills` times, at moments up to half its length; return the kills by kind.

    A run that was killed is restarted by the next round; one that finished is compared, removed and begun again.
    """
    chance = random.Random(seed)
    kills: Counter[str] = Counter()
    expected = hash_files(undisturbed)
    while sum(kills.values()) < num_kills:
        process = start([*command, "--out", str(target)])
        kind = kill_at(process, chance.uniform(0.3, length_s * 0.5), chance)
        if kind not in ("parent", "finished"):
            expect_success(process, length_s * 10 + 60)
        process.communicate()
        check(target, expected)
        kills[kind] += kind != "finished"
        if kind != "parent":
            check_finished(target, expected)
            shutil.rmtree(target)
        print(f"{sum(kills.values())}/{num_kills}: {kind}", flush=True)
    expect_success(start([*command, "--out", str(target)]), length_s * 10 + 60)
    check_finished(target, expected)
    return +kills


def expect_success(process: subprocess.Popen[str], seconds: float) -> None:
    """Wait for a run that must finish; a hang or a failure is a breach."""
    _, errors = process.communicate(timeout=seconds)
    assert process.returncode == 0, errors


def start(command: list[str]) -> subprocess.Popen[str]:
    """Start a run whose errors can be read."""
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def kill_at(process: subprocess.Popen[str], seconds: float, chance: random.Random) -> str:
    """Kill the parent or a worker after a while; return which, or `finished` when the run was quicker."""
    try:
        expect_success(process, seconds)
        return "finished"
    except subprocess.TimeoutExpired:
        pass
    workers = _workers(process.pid)
    victims = {kind: [each for each, its_kind in workers.items() if its_kind == kind] for kind in _WORKERS.values()}
    kinds = ["parent", *(kind for kind, found in victims.items() if found and kind != "driver")]
    if (kind := chance.choice(kinds)) != "parent":
        chance.choice(victims[kind]).kill()
        return kind
    process.kill()
    _, alive = psutil.wait_procs(workers, timeout=15)
    assert not alive, f"orphans: {alive}"
    return "parent"


_WORKERS = {
    "spawn_main": "worker",
    "CoarseGrainedExecutorBackend": "executor",
    "SparkSubmit": "driver",
    "pyspark": "Python worker of an executor",
}
"""What stands in the command line of a run's processes, the first that does: their kind."""


def _workers(pid: int) -> dict[psutil.Process, str]:
    found: dict[psutil.Process, str] = {}
    try:
        for child in psutil.Process(pid).children(recursive=True):
            if kind := _kind(" ".join(child.cmdline())):
                found[child] = kind
    except psutil.NoSuchProcess:
        pass  # one that ended while they were listed
    return found


def _kind(command_line: str) -> str | None:
    return next((kind for sign, kind in _WORKERS.items() if sign in command_line), None)


def check(target: Path, undisturbed: dict[str, str]) -> None:
    """Every file under a final name is whole: equal to the undisturbed run's."""
    for name, digest in hash_files(target).items():
        assert undisturbed.get(name) == digest, f"{name} is not what the undisturbed run has"


def check_finished(target: Path, undisturbed: dict[str, str]) -> None:
    """A finished run is the undisturbed one, and nothing that was needed on the way stays in it."""
    found = hash_files(target)
    differing = sorted(name for name in {*found, *undisturbed} if found.get(name) != undisturbed.get(name))
    assert not differing, f"the finished run differs in {differing}"
    left = [str(path) for name in (".tmp-*", SCRATCH) for path in target.rglob(name)]
    assert not left, f"half-written files stay: {left}"


def hash_files(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file under its final name, by path below the folder."""
    import hashlib

    found = {}
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".tmp-") and name != SCRATCH]
        for name in names:
            if name not in VOLATILE and not name.startswith(".tmp-"):
                path = Path(parent, name)
                found[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


if __name__ == "__main__":
    main()

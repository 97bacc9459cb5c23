"""Disturbs the stages from fetch to pack in every way it can, and compares each byte with an undisturbed run's.

    python -m benchmarks.fetch_soak [--kills 50] [--unmounts 3] [--outage-s 60] [--pairs 1000] [--seed 0]
        [--only kills disk mount network] [--folder FOLDER]

- kills: SIGKILL to the run's parent or to one of its workers, at random moments; the same command again each time.
- disk: the run's folder is a small tmpfs that is full again and again, and given a little more each time.
- mount: the run's folder is a mount that is taken away (umount -l) at a random moment, and comes back.
- network: for a minute the server hangs (SIGSTOP), or is dead (SIGKILL) and comes back on its port.

Each begins with the stages up to balance done. disk and mount need root on Linux. In the end the bytes must be those of
the undisturbed run, no process of the run may be left and nothing half-written; every failure on the way must be one
line that says what is the matter. Printed: how often the run was started, and how many requests the server saw beside
those of the undisturbed run. Exits 1 at the first breach.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.kill_soak import (
    check,
    check_finished,
    expect_success,
    hash_files,
    kill_at,
    prepare,
    run_command,
    start,
)
from wit.sample.server import serving

_FIRST_DONE = "balance"  # the stage before fetch
_MOST_ATTEMPTS = 200
_MARK = "WIT_SOAK"
"""Environment variable by which the processes of this soak's runs are known, whoever their parent is."""


def main() -> None:
    """Run the soak and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--unmounts", type=int, default=3)
    parser.add_argument("--outage-s", type=float, default=60.0)
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args()
    os.environ[_MARK] = str(os.getpid())
    with tempfile.TemporaryDirectory() as scratch:
        soak(options.folder or Path(scratch), options)


def soak(folder: Path, options: argparse.Namespace) -> None:
    """Make a sample under `folder`, run it undisturbed, then disturbed in each way that is asked for."""
    sample, queries = prepare(folder, options.pairs)
    with Server(str(sample), folder / "requests.txt") as server:
        trial = Trial.begin(folder, run_command(sample, queries, server.address), server, random.Random(options.seed))
        print(f"undisturbed, from fetch on: {trial.length_s:.1f} s, {trial.num_requests} requests\n", flush=True)
        print("| disturbance | times | starts of the run | requests beside the undisturbed run's |\n|---|--:|--:|--:|")
        for way in options.only:
            for seen in WAYS[way](trial, options):
                print(f"| {seen.what} | {seen.times} | {seen.starts} | {seen.more_requests} |", flush=True)


class Server:
    """The miniature web's server on one port: it can hang, die and come back."""

    def __init__(self, sample: str, log: Path) -> None:
        self._sample, self._log = sample, log
        self._stack = ExitStack()
        self.address = ""

    def __enter__(self) -> Server:
        self.revive()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def revive(self) -> None:
        """Serve, on the same port as before."""
        port = int(self.address.rpartition(":")[2] or 0)
        before = set(psutil.Process().children())
        self.address = self._stack.enter_context(serving(self._sample, port, str(self._log)))
        (self.process,) = (each for each in set(psutil.Process().children()) - before if "spawn_main" in _line(each))

    def num_requests(self) -> int:
        """Return how many requests were seen so far."""
        return self._log.read_bytes().count(b"\n") if self._log.exists() else 0

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Take connections and answer nothing meanwhile."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    @contextmanager
    def dead(self) -> Iterator[None]:
        """Refuse connections meanwhile."""
        self.process.kill()
        while self.process.status() != psutil.STATUS_ZOMBIE:  # `serving` is to reap it
            time.sleep(0.01)
        yield
        self.revive()


def _line(process: psutil.Process) -> str:
    return " ".join(process.cmdline())


@dataclass(frozen=True)
class Seen:
    """What a disturbance led to."""

    what: str
    times: int
    starts: int
    more_requests: int


@dataclass(frozen=True)
class Trial:
    """A run that is begun up to balance, and what is known of its undisturbed end."""

    folder: Path
    command: list[str]
    """Without --out."""
    server: Server
    chance: random.Random
    expected: dict[str, str]
    length_s: float
    num_requests: int
    num_bytes: int
    """Of the finished run's files beyond the begun one's."""

    @classmethod
    def begin(cls, folder: Path, command: list[str], server: Server, chance: random.Random) -> Trial:
        """Run up to balance, then a copy of it to the end."""
        begun, undisturbed = folder / "begun", folder / "undisturbed"
        expect_success(start([*command, "--until", _FIRST_DONE, "--out", str(begun)]), 600)
        shutil.copytree(begun, undisturbed)
        started = time.monotonic()
        expect_success(start([*command, "--out", str(undisturbed)]), 600)
        length_s = time.monotonic() - started
        num_bytes = _num_bytes(undisturbed) - _num_bytes(begun)
        return cls(folder, command, server, chance, hash_files(undisturbed), length_s, server.num_requests(), num_bytes)

    def copy(self, target: Path) -> Path:
        """Put the begun run into an empty or absent folder."""
        return Path(shutil.copytree(self.folder / "begun", target, dirs_exist_ok=True))

    def start(self, target: Path) -> subprocess.Popen[str]:
        """Start, or go on with, a run."""
        return start([*self.command, "--out", str(target)])

    def finish(self, target: Path) -> None:
        """Run to the end, and compare."""
        expect_success(self.start(target), 10 * self.length_s + 120)
        check_finished(target, self.expected)

    def seen(self, what: str, times: int, starts: int, requests_before: int, num_runs: int = 1) -> Seen:
        """Count the requests since then, for so many finished runs."""
        more = self.server.num_requests() - requests_before - num_runs * self.num_requests
        return Seen(what, times, starts, more)


def _num_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def kills(trial: Trial, options: argparse.Namespace) -> Iterator[Seen]:
    """Kill the parent or a worker at random moments; a run that is finished is compared and begun again."""
    before, target = trial.server.num_requests(), trial.folder / "killed"
    killed, starts, finished = dict.fromkeys(("parent", "worker"), 0), 0, 0
    trial.copy(target)
    while sum(killed.values()) < options.kills:
        process = trial.start(target)
        starts += 1
        kind = kill_at(process, trial.chance.uniform(0.3, trial.length_s), trial.chance)
        if kind == "worker":
            expect_success(process, 10 * trial.length_s + 120)
        process.communicate()
        expect_no_orphans()
        check(target, trial.expected)
        if kind != "finished":
            killed[kind] += 1
        if kind != "parent":
            check_finished(target, trial.expected)
            finished += 1
            shutil.rmtree(target)
            trial.copy(target)
    trial.finish(target)
    what = f"SIGKILL ({killed['parent']} of the parent, {killed['worker']} of a worker)"
    yield trial.seen(what, options.kills, starts + 1, before, finished + 1)


def full_disk(trial: Trial, _: argparse.Namespace) -> Iterator[Seen]:
    """Give the run a disk that is too small, and a twentieth of what it writes more each time that it is full."""
    before, disk, starts = trial.server.num_requests(), trial.folder / "disk", 0
    with _mounted(disk, "-t", "tmpfs", "tmpfs"):
        target = trial.copy(disk / "run")
        used = os.statvfs(disk)
        size = (used.f_blocks - used.f_bfree) * used.f_frsize
        while (starts := starts + 1) < _MOST_ATTEMPTS:
            _mount("-o", f"remount,size={size}", str(disk))
            process = trial.start(target)
            error = _failure(process, trial)
            if error is None:
                break
            assert "no space left" in error, error
            check(target, trial.expected)
            size += trial.num_bytes // 20
        check_finished(target, trial.expected)
    yield trial.seen("full disk", starts - 1, starts, before)


def lost_mount(trial: Trial, options: argparse.Namespace) -> Iterator[Seen]:
    """Take the run's folder away under it, put it back, and go on."""
    before, starts, lost = trial.server.num_requests(), 0, 0
    for number in range(options.unmounts):
        disk, target = trial.folder / f"disk-{number}", trial.folder / f"mount-{number}"
        trial.copy(disk)
        with _mounted(target, "--bind", str(disk)):
            process = trial.start(target)
            time.sleep(trial.chance.uniform(0.3, trial.length_s))
            subprocess.run(["umount", "-l", str(target)], check=True)
            lost += _failure(process, trial) is not None
            shutil.rmtree(target)  # what was written where the mount had been
            target.mkdir()
            _mount("--bind", str(disk), str(target))
            check(target, trial.expected)
            trial.finish(target)
            starts += 2
    yield trial.seen(f"mount taken away ({lost} ended in an error)", options.unmounts, starts, before, options.unmounts)


def lost_network(trial: Trial, options: argparse.Namespace) -> Iterator[Seen]:
    """Let the server hang, then die, for a while, once each, in the midst of a fetch."""
    for name, outage in (("hangs", trial.server.hanging), ("is dead", trial.server.dead)):
        before, target = trial.server.num_requests(), trial.copy(trial.folder / name.replace(" ", "-"))
        process = trial.start(target)
        after = int(trial.num_requests * trial.chance.uniform(0.1, 0.6))
        while trial.server.num_requests() - before < after and process.poll() is None:
            time.sleep(0.005)
        with outage():
            time.sleep(options.outage_s)
        expect_success(process, 10 * trial.length_s + 120)
        check_finished(target, trial.expected)
        yield trial.seen(f"the server {name} for {options.outage_s:.0f} s", 1, 1, before)


WAYS: dict[str, Callable[[Trial, argparse.Namespace], Iterator[Seen]]] = {
    "kills": kills,
    "disk": full_disk,
    "mount": lost_mount,
    "network": lost_network,
}
"""The disturbances by name, in the order in which they are made."""


def _failure(process: subprocess.Popen[str], trial: Trial) -> str | None:
    """Return the one line with which a run ended, None when it finished; a traceback or an orphan is a breach."""
    _, errors = process.communicate(timeout=10 * trial.length_s + 120)
    expect_no_orphans()
    if process.returncode == 0:
        return None
    assert process.returncode == 2, f"exit code {process.returncode}: {errors}"
    assert "Traceback" not in errors, errors
    return errors.strip().splitlines()[-1]


def expect_no_orphans() -> None:
    """Wait for what this process's runs began and left to others; it must end soon."""
    mine = {os.getpid(), *(child.pid for child in psutil.Process().children(recursive=True))}
    left = [each for each in psutil.process_iter() if each.pid not in mine and _is_marked(each)]
    _, alive = psutil.wait_procs(left, timeout=15)
    assert not alive, f"orphans: {alive}"


def _is_marked(process: psutil.Process) -> bool:
    try:
        return bool(process.environ().get(_MARK) == str(os.getpid()))
    except psutil.Error:  # ended meanwhile, or another user's
        return False


@contextmanager
def _mounted(folder: Path, *what: str) -> Iterator[None]:
    folder.mkdir()
    _mount(*what, str(folder))
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def _mount(*words: str) -> None:
    if os.geteuid() != 0:
        raise SystemExit("mounts need root: run as root, or leave them out with --only kills network")
    subprocess.run(["mount", *words], check=True)


if __name__ == "__main__":
    main()

"""Fetching beside img2dataset: the same pictures from the same nginx, at the same sizes, with CPU time.

    python -m benchmarks.fetching --photos FOLDER --peers PYTHON [--nginx /usr/sbin/nginx] [--pictures 20000]
        [--repeat 2] [--folder FOLDER]

Two sets of JPEGs are made of the photographs in FOLDER: small ones (longer side 400 to 600 px) and large ones (1,500
to 3,000 px). nginx (one worker) serves them on 64 addresses of loopback under as many URLs as are asked for. Each set
is fetched at 256 and at 512 px by wit's fetch stage (all its steps) and by img2dataset (the interpreter PEERS has it),
in turns, with two processes of 64 connections each: longer side fitted, never enlarged, JPEG quality 95, SHA-256. The
time is that of the whole command, with its start; CPU is user and system time of all its processes, without nginx. The
best of the turns is shown.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

SETS = {"small": (400, 600), "large": (1500, 3000)}
SIZES_PX = (256, 512)
DISTINCT = {"small": 2000, "large": 300}
PROCESSES, CONNECTIONS, BUCKETS = 2, 64, 8
HOSTS = [f"127.0.0.{number}" for number in range(1, 65)]  # few would be uneven parts
HEADER = (
    "| pictures | to, px | who | stored | wall, s | images/s | CPU, ms an image | images/s a core of CPU |\n"
    + "|---" * 8
    + "|"
)
PARTS = (
    "| pictures | to, px | asking, scheduling | decoding, resizing, encoding | noting | writing out | in all |\n"
    + "|---" * 7
    + "|"
)
_NGINX = """
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    types {{ image/jpeg jpg; }}
    sendfile on;
    keepalive_requests 100000;
    server {{ {listen} root {folder}/web; }}
}}
"""


def main() -> None:
    """Make the pictures, serve them, measure each set at each size, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--peers", required=True, help="a Python that has img2dataset")
    parser.add_argument("--nginx", default="/usr/sbin/nginx")
    parser.add_argument("--pictures", type=int, default=20_000)
    parser.add_argument("--large", type=int, default=4_000, help="pictures of the large set")
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    version = subprocess.run(
        [options.peers, "-c", "from importlib.metadata import version; print(version('img2dataset'))"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, img2dataset {version}\n")
    with tempfile.TemporaryDirectory() as scratch:
        folder = (options.folder or Path(scratch)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)  # nginx, started by root, reads as nobody
        counts = {"small": options.pictures, "large": options.large}
        for name, count in counts.items():
            make_pictures(options.photos, folder / "web" / name, name, count)
        with serving(options.nginx, folder) as port:
            print(HEADER, flush=True)
            addresses: dict[str, list[str]] = {}
            for name, count in counts.items():
                urls = addresses[name] = [f"http://{HOSTS[n % len(HOSTS)]}:{port}/{name}/{n}.jpg" for n in range(count)]
                for side in SIZES_PX:
                    _compare(folder, name, urls, side, options)
            print(f"\nWhere wit's time goes, CPU, ms an image (one process):\n\n{PARTS}", flush=True)
            for name, urls in addresses.items():
                for side in SIZES_PX:
                    print(_parts(folder, name, urls, side), flush=True)


def make_pictures(photos: Path, folder: Path, kind: str, count: int) -> None:
    """Write JPEGs of a set, cut and scaled from photographs, under `count` names: links to `DISTINCT` files."""
    if folder.exists():
        return
    folder.mkdir(parents=True)
    sources = sorted(path for path in photos.rglob("*.jp*g"))
    chance = random.Random(kind)
    low, high = SETS[kind]
    for number in range(min(count, DISTINCT[kind])):
        with Image.open(chance.choice(sources)) as image:
            photo = image.convert("RGB")
        width, height = (int(side * chance.uniform(0.7, 1.0)) for side in photo.size)
        left, top = chance.randint(0, photo.width - width), chance.randint(0, photo.height - height)
        scale = chance.uniform(low, high) / max(width, height)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        photo.crop((left, top, left + width, top + height)).resize(size, Image.Resampling.BICUBIC).save(
            folder / f"{number}.jpg", quality=chance.choice((80, 85, 90, 95)), progressive=chance.random() < 0.3
        )
    for number in range(DISTINCT[kind], count):
        os.link(folder / f"{number % DISTINCT[kind]}.jpg", folder / f"{number}.jpg")
    num_bytes = sum((folder / f"{number}.jpg").stat().st_size for number in range(count))
    print(f"{kind}: {count:,} JPEGs, {num_bytes / count / 1000:.0f} kB on average", flush=True)


@contextmanager
def serving(nginx: str, folder: Path) -> Iterator[int]:
    """Serve `folder`/web on a free port of loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    config = folder / "nginx.conf"
    listen = " ".join(f"listen {host}:{port};" for host in HOSTS)
    config.write_text(_NGINX.format(folder=folder, listen=listen))
    process = subprocess.Popen([nginx, "-c", str(config), "-p", str(folder)], stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()


def _compare(folder: Path, name: str, urls: list[str], side: int, options: argparse.Namespace) -> None:
    """Run each fetcher in turns; print the best of each."""
    best: dict[str, tuple[float, float, int]] = {}
    for _ in range(options.repeat):
        for who, run in (("wit", _wit), ("img2dataset", _img2dataset)):
            place = folder / "out"
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            command = run(place, urls, side, options.peers)
            before, started = _cpu(), time.monotonic()
            with open(place / "log", "wb") as log:
                subprocess.run(command, check=True, stdout=log, stderr=log, cwd=place, env=_environment())
            measured = (_cpu() - before, time.monotonic() - started, _num_stored(place))
            if not measured[2]:
                raise SystemExit(f"{who} stored none of {len(urls):,} pictures: does nginx serve {folder}/web?")
            best[who] = min(best.get(who, measured), measured)
    for who, (cpu, wall, stored) in best.items():
        row = (
            name,
            side,
            who,
            f"{stored:,}",
            f"{wall:.1f}",
            f"{len(urls) / wall:.0f}",
            f"{1000 * cpu / len(urls):.2f}",
        )
        print(f"| {' | '.join(map(str, row))} | {len(urls) / cpu:.0f} |", flush=True)


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _environment() -> dict[str, str]:
    root = str(Path(__file__).resolve().parents[1])
    return os.environ | {"PYTHONPATH": root, "NO_ALBUMENTATIONS_UPDATE": "1", "WANDB_MODE": "disabled"}


def _wit(place: Path, urls: list[str], side: int, peers: str) -> list[str]:
    pq.write_table(pa.table({"url": urls}), place / "urls.parquet")
    return [sys.executable, "-m", "benchmarks.fetching", "--stage", str(place), str(side)]


def run_stage(place: Path, side: int) -> None:
    """Run every step of the fetch stage over the URLs of `place`/urls.parquet, as an executor does."""
    from pipelines.executors.local import LocalExecutor
    from pipelines.executors.parts import part_name, write_rows
    from pipelines.stages.fetch import Fetch
    from pipelines.stages.verb import RunSettings
    from wit.keys import key_bucket, sample_key, uniform_rank
    from wit.schema import MATCHED
    from wit.stage import SqlStage

    settings = _settings(Fetch, side)
    blank = dict.fromkeys(MATCHED.names, "") | {"caption": "x", "offset": 0, "num_occurrences": 1, "query_ids": [0]}
    rows = []
    for url in pq.read_table(place / "urls.parquet")["url"].to_pylist():
        key = sample_key(url, "x")
        rows.append(blank | {"key": key, "bucket": key_bucket(key, BUCKETS), "url": url, "rank": uniform_rank("", key)})
    table = pa.Table.from_pylist(sorted(rows, key=lambda row: str(row["key"])), schema=MATCHED)
    for bucket in range(BUCKETS):
        of_bucket = table.filter(pa.compute.equal(table["bucket"], bucket))
        write_rows(str(place / "balance/kept" / part_name(bucket)), MATCHED, of_bucket.to_batches())
    executor = LocalExecutor(str(place), BUCKETS, PROCESSES, 1024)
    for step in settings.steps(RunSettings(BUCKETS)):
        (executor.sql if isinstance(step.stage, SqlStage) else executor.map)(step, lambda _: None)
    executor.close()


def _img2dataset(place: Path, urls: list[str], side: int, peers: str) -> list[str]:
    pq.write_table(pa.table({"url": urls}), place / "urls.parquet")
    options = {
        "url_list": place / "urls.parquet", "input_format": "parquet", "url_col": "url",
        "output_folder": place / "shards", "output_format": "webdataset", "image_size": side,
        "resize_mode": "keep_ratio_largest", "resize_only_if_bigger": True, "encode_quality": 95,
        "processes_count": PROCESSES, "thread_count": CONNECTIONS, "compute_hash": "sha256", "timeout": 20,
        "retries": 1, "number_sample_per_shard": max(1, len(urls) // (4 * PROCESSES)), "enable_wandb": False,
    }  # fmt: skip
    return [peers, "-m", "img2dataset.main", *(f"--{name}={value}" for name, value in options.items())]


def _parts(folder: Path, name: str, urls: list[str], side: int) -> str:
    """Run one part of the fetch in this process, its pieces timed by the CPU time of their threads; return a row."""
    from pipelines.fetching import journal
    from pipelines.stages import bodies
    from pipelines.stages.fetch import Fetch
    from tests.support import MemoryPart
    from wit.image import prepare
    from wit.schema import ASKED

    spent = dict.fromkeys(("prepare", "add", "outputs"), 0.0)

    def timed(key: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*values: Any) -> Any:
            began = time.thread_time()
            try:
                return function(*values)
            finally:
                spent[key] += time.thread_time() - began

        return call

    class Journal(journal.Journal):
        def add(self, *values: Any) -> None:
            timed("add", super().add)(*values)

        def outputs(self, *values: Any) -> Any:
            began = time.thread_time()
            yield from super().outputs(*values)
            spent["outputs"] += time.thread_time() - began

    rows = [{"key": f"{n:032x}", "bucket": 0, "rank": 0, "url": url, "place": 0} for n, url in enumerate(urls)]
    batches = pa.Table.from_pylist(rows, schema=ASKED).to_batches()
    place = folder / "out"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    with mock.patch.multiple(bodies, prepare=timed("prepare", prepare), Journal=Journal):
        began, looped = time.process_time(), time.thread_time()
        for _ in bodies.FetchFromWeb(_settings(Fetch, side))(iter(batches), MemoryPart(place)):
            pass
        in_all, loop = time.process_time() - began, time.thread_time() - looped - spent["outputs"]
    values = (loop, spent["prepare"], spent["add"], spent["outputs"], in_all)
    return f"| {name} | {side} | {' | '.join(f'{1000 * value / len(urls):.3f}' for value in values)} |"


def _settings(section: Any, side: int) -> Any:
    """Return the section of a recipe that asks as fast as it can."""
    return section(
        side=side, allow_private=True, obey_robots=False, host_rate=0.0, per_host=CONNECTIONS, concurrency=CONNECTIONS
    )


def _num_stored(place: Path) -> int:
    """Return how many images a run stored, by its tables."""
    tables = [*place.glob("fetch/kept/*.parquet"), *place.glob("shards/*.parquet")]
    return sum(sum(value in (None, "success") for value in _statuses(pq.read_table(table))) for table in tables)


def _statuses(table: pa.Table) -> list[str | None]:
    return table["status"].to_pylist() if "status" in table.column_names else [None] * table.num_rows


if __name__ == "__main__":
    if sys.argv[1:2] == ["--stage"]:
        run_stage(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        main()

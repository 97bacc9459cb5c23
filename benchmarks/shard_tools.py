"""The tools on shards at 10 thousand, 100 thousand and a million small samples: seconds and memory of each.

    python -m benchmarks.shard_tools [--samples 10000 ...] [--folder FOLDER] [--processes 2]

For each size: writes the shards and their manifest (1,000 different JPEGs of 32 px, about 0.8 kB; a caption and a URL
a sample; 10,000 samples a shard), then runs `wit shards verify`, `split --size 5000`, `split --into`, `sample`, `merge`
of the two parts, `remove` of 1,000 samples of one domain that lie in all shards, and `verify` again, each as a user
would, from the command line. Prints a row of a Markdown table for each. Memory is the resident set of the command and
its workers together, sampled five times a second. The commands' own start takes about 0.4 s.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from benchmarks.chain import peak_memory
from wit.keys import sample_keys
from wit.processes import map_in_order
from wit.schema import SAMPLES
from wit.shards import write_manifest, write_shard

SHARD_SIZE = 10_000
NUM_PICTURES, SIDE_PX = 1_000, 32
NUM_REMOVED = 1_000
DOMAIN = "takedown.example"
HEADER = "| samples | what | s | samples/s | peak memory, MB |\n|---|---|---|---|---|"
WIT = [sys.executable, "-m", "wit"]


def main() -> None:
    """Measure each size and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, action="append", help="sizes; 10000, 100000 and 1000000")
    parser.add_argument("--folder", type=Path, help="where the shards go, and stay")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        write_set(options.write, options.samples[0], options.processes)
        return
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}\n\n{HEADER}", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        for size in options.samples or [10_000, 100_000, 1_000_000]:
            _measure_all((options.folder or Path(scratch)) / str(size), size, options.processes)


def _measure_all(folder: Path, size: int, processes: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    packed, workers = str(folder / "packed"), ["--processes", str(processes)]
    write = [sys.executable, "-m", "benchmarks.shard_tools", "--samples", str(size), "--write", packed, *workers]
    _measure(size, "write shards and manifest", write)
    shards = [*WIT, "shards"]
    _measure(size, "verify", [*shards, "verify", packed, *workers])
    _measure(
        size,
        "split --size 5000",
        [*shards, "split", packed, "--size", "5000", "--out", str(folder / "split"), *workers],
    )
    parts = ["--into", "train=0.9", "--into", "val=0.1", "--out", str(folder / "parts")]
    _measure(size, "split --into train=0.9, val=0.1", [*shards, "split", packed, *parts, *workers])
    drawn = ["--num", str(size // 10), "--out", str(folder / "drawn")]
    _measure(size, "sample a tenth", [*shards, "sample", packed, *drawn, *workers])
    sets = [str(folder / "parts" / name) for name in ("train", "val")]
    _measure(size, "merge of the two parts", [*shards, "merge", *sets, "--out", str(folder / "merged"), *workers])
    removal = ["--domain", DOMAIN, "--reason", "benchmark"]
    _measure(size, f"remove {NUM_REMOVED:,} of a domain", [*shards, "remove", packed, *removal, *workers])
    _measure(size, "verify what is left", [*shards, "verify", packed, *workers])
    for name in ("split", "parts", "drawn", "merged"):
        shutil.rmtree(folder / name)


def _measure(size: int, what: str, command: list[str]) -> None:
    begun = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    peak = peak_memory(process)
    seconds = time.monotonic() - begun
    if process.returncode:
        raise SystemExit(process.stderr.read().decode() if process.stderr else what)
    print(f"| {size:,} | {what} | {seconds:.1f} | {size / seconds:,.0f} | {peak / 1e6:,.0f} |", flush=True)


def write_set(folder: Path, size: int, processes: int) -> None:
    """Write a set of `size` samples, in shards of SHARD_SIZE, several at a time."""
    folder.mkdir(parents=True)
    numbers = np.arange(size)
    is_removed = numbers % (size // NUM_REMOVED) == 0
    urls = [
        f"http://{DOMAIN if gone else f'h{n % 5000}.example'}/{n}.jpg" for n, gone in enumerate(is_removed.tolist())
    ]
    captions = [f"a photograph of something, number {n}" for n in range(size)]
    keys = sample_keys(pa.array(urls), pa.array(captions))
    order = np.argsort(keys.to_numpy(zero_copy_only=False), kind="stable")
    tables = [
        (
            start // SHARD_SIZE,
            [(keys[n].as_py(), urls[n], captions[n]) for n in order[start : start + SHARD_SIZE].tolist()],
        )
        for start in range(0, size, SHARD_SIZE)
    ]
    for _ in map_in_order(partial(_write_one, str(folder)), tables, processes):
        pass
    write_manifest(str(folder))


def _write_one(folder: str, table: tuple[int, list[tuple[str, str, str]]]) -> int:
    number, rows = table
    pictures = [_picture(each) for each in range(NUM_PICTURES)]
    hashes = [hashlib.sha256(picture).hexdigest() for picture in pictures]
    blank: dict[str, object] = dict.fromkeys(SAMPLES.names, 0) | {
        "format": "jpeg", "width": SIDE_PX, "height": SIDE_PX, "page_url": None, "archive": "a.warc.gz",
        "attribute": "img@alt", "query_ids": [1, 2, 3],
    }  # fmt: skip

    def samples() -> Iterator[tuple[dict[str, object], bytes]]:
        for key, url, caption in rows:
            each = int(key[:8], 16) % NUM_PICTURES
            digest = hashes[each]
            facts = {"key": key, "url": url, "final_url": url, "caption": caption}
            yield blank | facts | {"sha256": digest, "original_sha256": digest}, pictures[each]

    return int(write_shard(folder, number, samples()).of_shard["num_samples"])


def _picture(seed: int) -> bytes:
    tiles = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(tiles).resize((SIDE_PX, SIDE_PX), Image.Resampling.BILINEAR).save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


if __name__ == "__main__":
    main()

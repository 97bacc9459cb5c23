"""The loader beside webdataset and open_clip's pipeline on the same tars: reading, decoding, tokenising, first batch.

    python -m benchmarks.loading DATA --peers PEERS_PYTHON [--shards 10000] [--only PART ...]

DATA is the folder of real data. Its photographs of 760 px or more are brought to 256, 512, 768 and 1,024 px (the longer
side; JPEG, quality 85 and 90 in turn) and packed with the first of the 10,000 captions of img2dataset's tests. Each
side works in one process and one thread; what is shown is its processor time, the least of three runs. `loader` and
`first batch` are by the clock, the loader's with one and two threads (ours) or worker processes (open_clip's).
PEERS_PYTHON has webdataset, torch and open_clip; without --peers our own numbers are printed. The merges file is found
there, or in an installed package. open_clip crops 90 % to 100 % of a picture at random shapes, we a square.

`under the lock`: what a sample costs while the interpreter's lock is held, so that no number of threads gets beyond one
over it. It is the time of all but the calls that let go of it: decoders, kernels, and reads.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from benchmarks.loading_peers import BATCH_SIZE, CONTEXT_LENGTH, IMAGE_PX, least, least_once, read_texts
from benchmarks.noise_shards import sample
from trainer.loader.decode import Crop, decode_crop
from trainer.loader.index import read_index
from trainer.loader.loader import Loader, LoaderOptions, chunks
from trainer.loader.order import LoaderState
from trainer.loader.reading import Reader
from trainer.tokenizer import INSTALLED, RELEASED_NAME, ClipTokenizer, read_merges
from wit.shards import write_manifest, write_shard

SIDES = (256, 512, 768, 1024)
LEAST_PX, NUM_PHOTOGRAPHS = 760, 24
NUM_SAMPLES = {256: 4_000, 512: 2_000, 768: 800, 1024: 400}
FOLDERS = ("neardup/pdq", "image_text")
CAPTIONS = ("peers", "img2dataset", "test_files", "test_10000.parquet")
MODES = ("exact", "draft", "fast")
PARTS = ("reading", "decoding", "loader", "tokenising", "first batch")
HOSTILE = [
    "", " \t\n", "it's IT'S we'll they've d'd 'sss", "naïve café CAFE\u0301", "日本語のテキスト 한국어 مرحبا नमस्ते",
    "İstanbul ΌΣΟΣ ǅ ſ ẞ", "𝕳𝖊𝖑𝖑𝖔 ﬁ ﬂ", "\u0345\u0300 combining",
    "👩‍👩‍👧‍👦 🏳️‍🌈", "\U0001fa77\U00010fff", "x²+y³=½ ٣٤ Ⅻ",
    "a" * 300, "&amp;amp;lt;b&amp;gt; &eacute; &#x41; &notanentity;", "â€œquotedâ€\x9d schÃ¶n", "don’t “stop”",
    "\u200b\u200e\ufeff zero\u200bwidth", "\x00\x01\x1b[31mred", "a\u00a0b\u3000c\u2028d\x1fe\x85f", "\ud83d".encode(
        "utf-8", "replace").decode(),
]  # fmt: skip
UNLOCKED = {
    "trainer.loader.picture_kernels": ("plan_all", "decode_all"),
    "trainer.loader.pixel_kernels": ("resize",),
    "wit.jpeg_header_kernels": ("read_all_facts",),
    "simplejpeg": ("decode_jpeg",),
    "os": ("preadv",),
}
"""Calls that let go of the interpreter's lock, by module."""


def main() -> None:
    """Write the shards, run the parts, print their tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--peers", help="Python with webdataset, torch and open_clip")
    parser.add_argument("--shards", type=int, default=10_000, help="for the time to the first batch")
    parser.add_argument("--only", choices=PARTS, nargs="+", default=PARTS)
    options = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_sets(options.data, folder)
        peers = Peers(options.peers)
        runs: dict[str, Callable[[], None]] = {
            "reading": lambda: print_reading(folder, peers),
            "decoding": lambda: print_decoding(folder, peers),
            "loader": lambda: print_loader(folder, peers),
            "tokenising": lambda: print_tokenising(folder, peers),
            "first batch": lambda: print_first_batch(folder, peers, options.shards),
        }
        for part in options.only:
            runs[part]()


class Peers:
    """Runs the peers' jobs, and says what they answered; nothing without their Python."""

    def __init__(self, python: str | None) -> None:
        self.python = python

    def run(self, job: str, folder: Path) -> dict[str, Any]:
        """Return the answer of a job; empty without peers."""
        if self.python is None:
            return {}
        script = Path(__file__).with_name("loading_peers.py")
        command = [self.python, str(script), job, str(folder)]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        answer: dict[str, Any] = json.loads(output.splitlines()[-1])
        return answer

    def merges(self) -> str:
        """Return the path of the released merges file among the peers' packages, or INSTALLED."""
        if self.python is None:
            return INSTALLED
        find = "import importlib.util; print(importlib.util.find_spec('open_clip').submodule_search_locations[0])"
        found = subprocess.run([self.python, "-c", find], capture_output=True, text=True, check=True).stdout
        return os.path.join(found.strip(), RELEASED_NAME)


def write_sets(data: Path, folder: Path) -> None:
    """Write, for each side, a folder of JPEGs and their shards; and the texts."""
    import pyarrow.parquet as pq

    captions = [text for text in pq.read_table(data.joinpath(*CAPTIONS))["TEXT"].to_pylist() if text]
    folder.joinpath("texts.jsonl").write_text(f"{json.dumps(HOSTILE)}\n{json.dumps(captions)}\n")
    for side in SIDES:
        bodies = list(islice(_photographs(data, side), NUM_PHOTOGRAPHS))
        where = folder / str(side)
        where.mkdir()
        for number, (body, _) in enumerate(bodies):
            where.joinpath(f"{number:02}.jpg").write_bytes(body)
        each = (bodies[number % len(bodies)] for number in range(NUM_SAMPLES[side]))
        samples = [sample(f"http://photo.example/{n}", captions[n], *one) for n, one in enumerate(each)]
        samples.sort(key=lambda one: str(one[0]["key"]))
        for shard in range(2):
            write_shard(str(where), shard, samples[shard * len(samples) // 2 : (shard + 1) * len(samples) // 2])


def _photographs(data: Path, side: int) -> Iterator[tuple[bytes, tuple[int, int]]]:
    from PIL import Image

    quality = 85
    for path in sorted(path for name in FOLDERS for path in data.joinpath(name).rglob("*.jp*g")):
        with Image.open(path) as image:
            if min(image.size) < LEAST_PX:
                continue
            share = side / max(image.size)
            size = round(image.width * share), round(image.height * share)
            out = io.BytesIO()
            image.convert("RGB").resize(size, Image.Resampling.LANCZOS).save(out, "JPEG", quality=quality)
        quality = 175 - quality
        yield out.getvalue(), size


def print_reading(folder: Path, peers: Peers) -> None:
    """Samples a second: the image's bytes and the caption, ours in an epoch's order, as many at a time as a thread."""
    print("\n| reading, samples/s a core, files of | webdataset | ours | times |\n|---|---|---|---|")
    for side in SIDES:
        index = read_index(str(folder / str(side)))
        order = index.order(1 << 18, 0, len(index)).batch(0, 0).samples
        reader, tasks = Reader(index), [order[part] for part in chunks(len(order))]
        ours = len(order) / least(lambda: _each(reader.read_all, tasks))  # noqa: B023
        theirs = peers.run("reading", folder / str(side)).get("per_s")
        print(f"| {side} px | {_number(theirs)} | {ours:,.0f} | {_times(ours, theirs)} |")


def print_decoding(folder: Path, peers: Peers) -> None:
    """Milliseconds of an image, decoded and cropped to IMAGE_PX; and how near to `exact`."""
    print("\n| decode and crop, images/s a core | open_clip | mode | ours | times | PSNR to exact, dB: mean, least |")
    print("|---|---|---|---|---|---|")
    for side in SIDES:
        bodies = [path.read_bytes() for path in sorted((folder / str(side)).glob("*.jpg"))]
        theirs = peers.run("decoding", folder / str(side)).get("ms")
        exact = [_crop(body, "exact") for body in bodies]
        for mode in MODES:
            ours = len(bodies) / least(lambda: _each(partial(_crop, mode=mode), bodies))  # noqa: B023
            near = [_psnr(_crop(body, mode), one) for body, one in zip(bodies, exact, strict=True)]
            quality = "the same" if mode == "exact" else f"{np.mean(near):.1f}, {min(near):.1f}"
            rate = 1e3 / theirs if theirs else None
            print(f"| {side} px | {_number(rate)} | {mode} | {ours:,.0f} | {_times(ours, rate)} | {quality} |")


def _each(work: Callable[[Any], object], items: Sequence[Any]) -> None:
    """Do the work on each, and keep nothing: memory that is not used again costs more than some of the work."""
    for one in items:
        work(one)


def _crop(body: bytes, mode: str) -> NDArray[np.uint8]:
    return decode_crop(body, Crop(IMAGE_PX, IMAGE_PX, 0.5, 0.5), mode)


def _psnr(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> float:
    difference = float(np.mean((left.astype(np.float64) - right) ** 2))
    return 10 * float(np.log10(255**2 / max(difference, 1e-9)))


def print_loader(folder: Path, peers: Peers) -> None:
    """Images a second by the clock; and what a sample costs under the interpreter's lock."""
    tokenizer = ClipTokenizer(read_merges(peers.merges()))
    print("\n| the whole loader, 512 px | 1 worker, images/s | 2 workers | under the lock, µs | so at most, images/s |")
    print("|---|---|---|---|---|")
    theirs = peers.run("loader", folder / "512")
    if theirs:
        print(f"| open_clip (processes) | {theirs['1']:,.0f} | {theirs['2']:,.0f} | - | - |")
    for mode in MODES:
        rates = [_loader_rate(open_loader(folder / "512", tokenizer, mode, threads)) for threads in (1, 2)]
        locked = under_the_lock(open_loader(folder / "512", tokenizer, mode, 1))
        print(
            f"| ours, {mode} (threads) | {rates[0]:,.0f} | {rates[1]:,.0f} | {locked * 1e6:.0f} | {1 / locked:,.0f} |"
        )


def open_loader(folder: Path, tokenizer: ClipTokenizer, mode: str, num_threads: int) -> Loader:
    """Return a loader of a folder of shards, from the beginning."""
    index = read_index(str(folder))
    options = LoaderOptions(image_px=IMAGE_PX, resize_px=IMAGE_PX, decode=mode, num_threads=num_threads)
    state = LoaderState(0, 0, 0, BATCH_SIZE, index.hash)
    return Loader(index, lambda texts: tokenizer(texts, CONTEXT_LENGTH), state, options)


def _loader_rate(loader: Loader) -> float:
    num = 24
    with closing(iter(loader)) as batches:
        list(islice(batches, 6))
        begun = time.perf_counter()
        for _ in range(num):
            next(batches)
        return num * BATCH_SIZE / (time.perf_counter() - begun)


def under_the_lock(loader: Loader) -> float:
    """Return the seconds of a sample less those of calls that let go of the interpreter's lock; in this thread."""
    work = [one for _, tasks in islice(loader.plans(), 16) for one in tasks]
    for one in work[:8]:
        loader.prepare(one)
    with _unlocked() as seconds:
        begun = time.thread_time()
        for one in work[8:]:
            loader.prepare(one)
        spent = time.thread_time() - begun
    return (spent - seconds[0]) / sum(len(one.rows) for one in work[8:])


@contextmanager
def _unlocked() -> Iterator[list[float]]:
    """Add up the time in UNLOCKED calls of this thread, for a while."""
    seconds = [0.0]

    def timed(call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **named: Any) -> Any:
            begun = time.thread_time()
            try:
                return call(*arguments, **named)
            finally:
                seconds[0] += time.thread_time() - begun

        return run

    import importlib

    patches = []
    for place, names in UNLOCKED.items():
        module = importlib.import_module(place)
        patches += [patch.object(module, name, timed(getattr(module, name))) for name in names]
    for one in patches:
        one.start()
    try:
        yield seconds
    finally:
        for one in patches:
            one.stop()


def print_tokenising(folder: Path, peers: Peers) -> None:
    """Captions a second, and whether the ids agree."""
    texts, captions = read_texts(folder)
    tokenizer = ClipTokenizer(read_merges(peers.merges()))
    first = len(captions) / least_once(lambda: tokenizer(captions, CONTEXT_LENGTH))
    again = len(captions) / least(lambda: tokenizer(captions, CONTEXT_LENGTH))
    theirs = peers.run("tokenising", folder)
    print("\n| tokenising, captions/s a core | open_clip | ours | times |\n|---|---|---|---|")
    for name, rate, key in (("the first time", first, "first_per_s"), ("words known", again, "per_s")):
        print(f"| {name} | {_number(theirs.get(key))} | {rate:,.0f} | {_times(rate, theirs.get(key))} |")
    if theirs:
        pairs = zip(texts + captions, theirs["ids"], strict=True)
        unlike = [text for text, ids in pairs if tokenizer.encode(text) != ids]
        print(f"\nIds of {len(captions):,} captions and {len(texts)} hostile texts: {len(unlike)} differ. {unlike[:5]}")


def print_first_batch(folder: Path, peers: Peers, num_shards: int) -> None:
    """Seconds from nothing to the first batch, over many small shards."""
    from PIL import Image

    out = io.BytesIO()
    Image.new("RGB", (32, 32), "red").save(out, "JPEG")
    where = folder / "many"
    where.mkdir()
    for shard in range(num_shards):
        rows = [sample(f"http://many.example/{shard}/{n}", "a red square", out.getvalue(), (32, 32)) for n in range(4)]
        write_shard(str(where), shard, sorted(rows, key=lambda one: str(one[0]["key"])))
    theirs = peers.run("first_batch", where).get("s")
    print(f"\n| to the first batch over {num_shards:,} shards, s | webdataset | ours |\n|---|---|---|")
    print(f"| 4 samples a shard, an index each | {f'{theirs:.2f}' if theirs else '-'} | {_first_batch(where):.2f} |")
    write_manifest(str(where))
    print(f"| and a manifest of all | | {_first_batch(where):.2f} |")


def _first_batch(folder: Path) -> float:
    begun = time.perf_counter()
    with closing(iter(open_loader(folder, ClipTokenizer([]), "exact", 2))) as batches:
        next(batches)
        return time.perf_counter() - begun


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _times(ours: float, theirs: float | None) -> str:
    return "-" if theirs is None else f"{ours / theirs:.1f}"


if __name__ == "__main__":
    main()

"""A large WAT file to image links: ours, cc2dataset's parser, FastWARC with orjson, and gunzip alone, interleaved.

    python -m benchmarks.wat REAL.warc --peers PEERS_PYTHON [--megabytes 300] [--rounds 3]

REAL.warc is a real WAT file of Common Crawl with pages in it. The large file repeats its records in order, one request,
one response and one crawl metadata record a page, each its own gzip member: the links of a page are a random choice of
its template's in random order, and the digits of their addresses are others each time, so that no two pages are alike.
PEERS_PYTHON has cc2dataset. `inflate` is our reading of gzip members alone. A round runs each once, in a process of its
own, its imports, warm-up and compiled code not counted; the table has the least processor time of the rounds, of
one core. Ours also has titles and previews (og:image), and images whose alt is blank, hence more links; cc2dataset's
makes addresses absolute and hashes each link, which ours leaves to a later step.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import resource
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


def main() -> None:
    """Write the file, time everyone on it, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("real", type=Path)
    parser.add_argument("--peers", required=True)
    parser.add_argument("--megabytes", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        large, small = Path(folder, "large.warc.wat.gz"), Path(folder, "small.warc.wat.gz")
        write_wat(options.real, small, 1 << 20)
        num_bytes = write_wat(options.real, large, options.megabytes << 20)
        seconds: dict[str, list[float]] = {}
        facts: dict[str, dict[str, Any]] = {}
        for _ in range(options.rounds):
            for name in ("gunzip", *TOOLS):
                facts[name] = _run(name, large, small, options.peers)
                seconds.setdefault(name, []).append(facts[name]["seconds"])
        print(
            f"{num_bytes / 1e6:.0f} MB of records, {large.stat().st_size / 1e6:.0f} MB compressed; {platform.machine()}"
        )
        _print_table({name: min(taken) for name, taken in seconds.items()}, facts, num_bytes)


def _print_table(seconds: dict[str, float], facts: dict[str, dict[str, Any]], num_bytes: int) -> None:
    print("| | seconds | MB/s | times gunzip | image links | peak memory, MB |\n|---|---|---|---|---|---|")
    for name, taken in seconds.items():
        links, memory = facts[name].get("links", ""), facts[name].get("peak_mb", "")
        ratio = taken / seconds["gunzip"]
        print(f"| {name} | {taken:.2f} | {num_bytes / 1e6 / taken:.0f} | {ratio:.2f} | {links} | {memory} |")


def _run(name: str, path: Path, small: Path, peers: str) -> dict[str, Any]:
    if name == "gunzip":
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        with path.open("rb") as file:
            subprocess.run(["gunzip", "-c"], stdin=file, stdout=subprocess.DEVNULL, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return {"seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime}
    python = [peers, __file__] if name == "cc2dataset" else [sys.executable, "-m", "benchmarks.wat"]
    output = subprocess.run(
        [*python, "run", name, str(path), str(small)], capture_output=True, text=True, check=True
    ).stdout
    result: dict[str, Any] = json.loads(output)
    return result


def write_wat(real: Path, target: Path, num_bytes: int, seed: int = 0) -> int:
    """Write a WAT of at least so many bytes of records; return how many they are."""
    written = 0
    draw = random.Random(seed)
    templates = list(_templates(real))
    with target.open("wb") as file:
        while written < num_bytes:
            for headers, body in templates[bool(written) :]:  # the first one describes the file
                record = _record(headers, body if isinstance(body, bytes) else _varied(body, draw))
                compressor = zlib.compressobj(6, zlib.DEFLATED, 31)
                file.write(compressor.compress(record) + compressor.flush())
                written += len(record)
    return written


def _templates(real: Path) -> Iterator[tuple[dict[str, str], Any]]:
    from fastwarc.warc import ArchiveIterator

    for record in ArchiveIterator(str(real), parse_http=False):
        body = record.reader.read()
        is_page = b'"HTML-Metadata"' in body
        yield dict(record.headers), json.loads(body) if is_page else body


def _varied(record: Any, draw: random.Random) -> bytes:
    """Return a page's record with some of its links, in another order, their digits replaced."""
    response = record["Envelope"]["Payload-Metadata"]["HTTP-Response-Metadata"]
    page = response["HTML-Metadata"]
    digits = str.maketrans("0123456789", "".join(draw.choices("0123456789", k=10)))
    links = [
        {key: value.translate(digits) if key == "url" else value for key, value in link.items()}
        for link in draw.sample(page["Links"], draw.randint(len(page["Links"]) // 2, len(page["Links"])))
    ]
    changed = {**response, "HTML-Metadata": {**page, "Links": links}}
    payload = {**record["Envelope"]["Payload-Metadata"], "HTTP-Response-Metadata": changed}
    whole = {**record, "Envelope": {**record["Envelope"], "Payload-Metadata": payload}}
    return json.dumps(whole, ensure_ascii=False, separators=(",", ":")).encode()


def _record(headers: dict[str, str], body: bytes) -> bytes:
    lines = [f"{name}: {value}\r\n" for name, value in headers.items() if name != "Content-Length"]
    return f"WARC/1.0\r\n{''.join(lines)}Content-Length: {len(body)}\r\n\r\n".encode() + body + b"\r\n\r\n"


def _inflate() -> Callable[[str], int]:
    from pipelines.sources.whole_members import whole_members

    def run(path: str) -> int:
        with open(path, "rb") as file:
            return sum(0 * len(member.data) for member in whole_members(file))

    return run


def _ours() -> Callable[[str], int]:
    from pipelines.sources.source import Fault, Slice
    from pipelines.sources.wat import Wat

    def run(path: str) -> int:
        return sum(len(found) for found in Wat().findings(Slice(path)) if not isinstance(found, Fault))

    return run


def _cc2dataset() -> Callable[[str], int]:
    from cc2dataset.main import extract_documents_from_wat

    def run(path: str) -> int:
        with open(path, "rb") as file:
            return len(extract_documents_from_wat(file, "image"))

    return run


def _orjson() -> Callable[[str], int]:
    import orjson
    from fastwarc.warc import ArchiveIterator, WarcRecordType

    def run(path: str) -> int:
        num_links = 0
        for record in ArchiveIterator(path, record_types=WarcRecordType.metadata, parse_http=False):
            payload = orjson.loads(record.reader.read())["Envelope"]["Payload-Metadata"]
            page = payload.get("HTTP-Response-Metadata", {}).get("HTML-Metadata", {})
            num_links += sum(link["path"] == "IMG@/src" and "alt" in link for link in page.get("Links", ()))
        return num_links

    return run


TOOLS = {"inflate": _inflate, "ours": _ours, "cc2dataset": _cc2dataset, "fastwarc + orjson": _orjson}


def run_tool(name: str, path: str, small_path: str) -> None:
    """Time one tool on a file, after a run on a small one; print a line of JSON."""
    run = TOOLS[name]()
    run(small_path)
    started = time.process_time()
    num_links = run(path)
    seconds = time.process_time() - started
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(json.dumps({"seconds": seconds, "links": num_links, "peak_mb": peak_mb}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["run"]:
        run_tool(*sys.argv[2:])
    else:
        main()

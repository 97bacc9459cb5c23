"""WAT files of any size with the captions of a real table: what a crawl of so many candidates would be.

    python -m benchmarks.synthetic_crawl CAPTIONS.parquet FOLDER --candidates 1000000 [--seed 0]

Each page has 12 images with a text among 120 other links, in the fields of Common Crawl's records, about 12 KB of JSON;
each record is its own gzip member. Captions are real ones, half of them with the end of another, so that
their words and lengths are real and most are distinct; one in 12 is repeated from a short list, as logos are, under
addresses that recur too. One address in seven is relative to its page, one in 30 a data: URL, one caption in 20 blank.
"""

from __future__ import annotations

import argparse
import json
import random
import zlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq

IMAGES_A_PAGE = 12
CANDIDATES_A_FILE = 250_000
_HOSTS = 40_000


def main() -> None:
    """Write the files, in two processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("captions", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--candidates", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    write_crawl(options.captions, options.folder, options.candidates, options.seed)


def write_crawl(captions: Path, folder: Path, num_candidates: int, seed: int = 0) -> int:
    """Write `num_candidates` image links as FOLDER/00000.warc.wat.gz and so on; return the bytes of JSON in them."""
    folder.mkdir(parents=True, exist_ok=True)
    sizes = [min(CANDIDATES_A_FILE, num_candidates - start) for start in range(0, num_candidates, CANDIDATES_A_FILE)]
    with ProcessPoolExecutor(2) as pool:
        return sum(pool.map(partial(_write_file, captions, folder, seed), range(len(sizes)), sizes))


def _write_file(captions: Path, folder: Path, seed: int, index: int, num_candidates: int) -> int:
    texts = [text for text in pq.read_table(captions).column("TEXT").to_pylist() if text]
    draw = random.Random(f"{seed} {index}")
    num_bytes = 0
    with (folder / f"{index:05d}.warc.wat.gz").open("wb") as file:
        for number in range(num_candidates // IMAGES_A_PAGE):
            record = _record(*_page(draw, texts, index, number))
            num_bytes += len(record)
            compressor = zlib.compressobj(1, zlib.DEFLATED, 31)
            file.write(compressor.compress(record) + compressor.flush())
    return num_bytes


def _page(draw: random.Random, texts: list[str], index: int, number: int) -> tuple[str, list[dict[str, str]]]:
    host = f"www.site-{int(_HOSTS * draw.random() ** 3)}.example.com"  # few hosts have most pages
    page_url = f"https://{host}/articles/{index}/{number}.html"
    links: list[dict[str, str]] = []
    for position in range(IMAGES_A_PAGE):
        links += [
            {"path": "A@/href", "url": f"/section/{draw.randrange(999)}/item-{position}-{other}.html", "text": "More"}
            for other in range(10)
        ]
        links.append({"path": "IMG@/src"} | _image(draw, texts, host, f"{index}-{number}-{position}"))
    return page_url, links


def _image(draw: random.Random, texts: list[str], host: str, name: str) -> dict[str, str]:
    kind = draw.random()
    if kind < 1 / 12:
        number = draw.randrange(50)
        return {"url": f"https://{host}/theme/logo-{number}.png", "alt": f"Logo of partner {number}"}
    if kind < 1 / 12 + 1 / 30:
        return {"url": "data:image/gif;base64," + "R0lGODlhAQABAIAAAAAAAP" * 8, "alt": "spacer"}
    url = f"/media/{name}.jpg" if kind > 6 / 7 else f"https://cdn.{host}/uploads/2024/05/{name}-1024x768.jpg"
    return {"url": url, "alt": "" if draw.random() < 1 / 20 else _caption(draw, texts)}


def _caption(draw: random.Random, texts: list[str]) -> str:
    text = draw.choice(texts)
    if draw.random() < 0.5:
        return text
    words, others = text.split(), draw.choice(texts).split()
    return " ".join(words[: draw.randint(1, len(words) or 1)] + others[len(others) // 2 :])


def _record(page_url: str, links: list[dict[str, str]]) -> bytes:
    envelope = {
        "Container": {"Filename": "synthetic.warc.gz", "Compressed": True, "Offset": "0"},
        "Envelope": {
            "WARC-Header-Metadata": {"WARC-Type": "response", "WARC-Target-URI": page_url},
            "Payload-Metadata": {
                "HTTP-Response-Metadata": {
                    "Headers": {"Content-Type": "text/html; charset=utf-8", "Server": "nginx"},
                    "HTML-Metadata": {"Head": {"Title": "An article", "Metas": _METAS}, "Links": links},
                }
            },
        },
    }
    body = json.dumps(envelope, ensure_ascii=False, separators=(",", ":")).encode()
    return b"".join(_headers(page_url, len(body))) + body + b"\r\n\r\n"


_METAS = [{"name": f"twitter:label{number}", "content": "a value of a usual length " * 2} for number in range(12)]


def _headers(page_url: str, length: int) -> Iterator[bytes]:
    yield b"WARC/1.0\r\nWARC-Type: metadata\r\n"
    yield f"WARC-Target-URI: {page_url}\r\n".encode()
    yield f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n".encode()


if __name__ == "__main__":
    main()

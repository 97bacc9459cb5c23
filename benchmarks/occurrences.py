"""From links to candidates, one core: columns of links against link by link, and where the time goes.

    python -m benchmarks.occurrences CAPTIONS.parquet [--rows 320000] [--rounds 5]

CAPTIONS is a table of addresses and captions with columns URL and TEXT (LAION's). Its rows are repeated and varied as
pages write them: of the addresses 35% lack scheme and host, 10% the scheme, 18% are relative to the page's folder, 4%
are data: URLs; of the captions 30% have a character reference, 10% are blank. Time is that of the process, the best of
the rounds, which take turns.
"""

from __future__ import annotations

import argparse
import hashlib
import platform
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.sources.links import fold_space, image_address, unescape_attribute, why_not_fetchable
from pipelines.sources.occurrences import Settings, occurrences
from pipelines.sources.source import FLUSH_ROWS, Links, LinksBuilder
from wit.keys import sample_key, sample_keys, uniform_rank, uniform_ranks

SETTINGS = Settings(64, "wit")
PIXEL = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
LINKS_A_PAGE = 20


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("captions", type=Path)
    parser.add_argument("--rows", type=int, default=320_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    batches = varied(options.captions, options.rows)
    found = [occurrences(links, "x", SETTINGS)[0] for links in batches]
    num_found = sum(batch.num_rows for batch in found)
    ways: dict[str, tuple[Callable[[], object], int]] = {
        "links to candidates, columns": (
            lambda: [occurrences(links, "x", SETTINGS) for links in batches],
            options.rows,
        ),
        "links to candidates, link by link": (lambda: [one_by_one(links) for links in batches], options.rows),
        "keys and ranks, columns": (lambda: [draw(batch) for batch in found], num_found),
        "keys and ranks, row by row": (lambda: [draw_one_by_one(batch) for batch in found], num_found),
    }
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(options.rounds):
        for name, (way, _) in ways.items():
            begin = time.process_time()
            way()
            best[name] = min(best[name], time.process_time() - begin)
    print(
        f"{platform.machine()}, Python {platform.python_version()}, {options.rows:,} links, {num_found:,} candidates\n"
    )
    print("| | rows/s | us/row |\n|---|---|---|")
    for name, (_, rows) in ways.items():
        print(f"| {name} | {rows / best[name]:,.0f} | {best[name] / rows * 1e6:.2f} |")


def varied(path: Path, num_rows: int) -> list[Links]:
    """Return the rows of a table as pages write links, in batches; the same ones each time."""
    rows = list(zip(*pq.read_table(path, columns=["URL", "TEXT"]).to_pydict().values(), strict=True))
    builder, batches = LinksBuilder(("img@alt",)), []
    for number in range(num_rows):
        if number % LINKS_A_PAGE == 0 or len(builder) == 0:
            page = f"https://www.example-{number % 997}.com/2021/05/article-{number}.html"
            builder.page(page, page)
        url, text = rows[number % len(rows)]
        builder.add(*written(url, text or "", number), number, "img@alt")
        if len(builder) == FLUSH_ROWS or number == num_rows - 1:
            batches.append(builder.flush())
    return [Links(**{**vars(links), "url_has_references": True, "text_has_references": True}) for links in batches]


def written(url: str, text: str, number: int) -> tuple[str, str]:
    """Return an address and a caption as the page of link `number` writes them."""
    draw = hashlib.sha256(str(number).encode()).digest()
    part, kind = draw[0] / 2.56, draw[1] / 2.56  # uniform in [0, 100)
    host, _, path = url.partition("//")[2].partition("/")
    name = path.rpartition("/")[2].replace(":", "")
    forms = ((35, f"/{path}"), (45, f"//{host}/{path}"), (60, f"img/{name}"), (63, f"../{name}"), (67, PIXEL))
    address = next((form for limit, form in forms if part < limit), url)
    captions = ((20, text.replace(" ", " &amp; ", 1)), (30, text.replace(" ", "&#39;s ", 1)), (40, ""))
    return address, next((caption for limit, caption in captions if kind < limit), text)


def one_by_one(links: Links) -> int:
    """Return how many links are candidates; the rows of tables are not even made."""
    num_found = 0
    bases = links.base.to_pylist()
    for url, text, page in zip(links.url.to_pylist(), links.text.to_pylist(), links.page.tolist(), strict=True):
        address, caption = image_address(unescape_attribute(url), bases[page]), fold_space(unescape_attribute(text))
        key = sample_key(address, caption)
        if caption and not why_not_fetchable(address):
            num_found += uniform_rank(SETTINGS.salt, key) >= 0
    return num_found


def draw(batch: pa.RecordBatch) -> object:
    """Return ranks by way of keys, in columns."""
    return uniform_ranks(SETTINGS.salt, sample_keys(batch["url"], batch["caption"]))


def draw_one_by_one(batch: pa.RecordBatch) -> object:
    """Return ranks by way of keys, each by itself."""
    pairs = zip(batch["url"].to_pylist(), batch["caption"].to_pylist(), strict=True)
    return [uniform_rank(SETTINGS.salt, sample_key(url, caption)) for url, caption in pairs]


if __name__ == "__main__":
    main()

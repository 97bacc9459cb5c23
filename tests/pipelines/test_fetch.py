"""The fetch stage: rows and tar in key order, whatever the timing; bodies from the web and from archives."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import random
import tarfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from fastwarc.warc import ArchiveIterator
from PIL import Image
from selectolax.lexbor import LexborHTMLParser

from pipelines.stages.fetch import Fetch
from pipelines.stages.verb import RunSettings
from tests.pipelines.fetching.faults import Script, answer, hang, serving
from tests.support import read_parts, real_data, run_steps, write_part
from wit.errors import InputError, RecipeError
from wit.image import Limits, prepare
from wit.keys import key_bucket, sample_key, uniform_rank
from wit.schema import MATCHED
from wit.storage import read_range

SETTINGS = Fetch(deadline_s=2.0, side=64, obey_robots=False, concurrency=16)


def picture(seed: int) -> bytes:
    """A picture of its own for each seed: noise, so that it is large."""
    noise = Image.frombytes("RGB", (80, 60), random.Random(seed).randbytes(80 * 60 * 3))
    buffer = io.BytesIO()
    noise.save(buffer, ("JPEG", "PNG", "WEBP")[seed % 3])
    return buffer.getvalue()


def matched(pairs: list[tuple[str, str]], num_buckets: int = 1) -> pa.Table:
    """Rows of MATCHED for (url, caption), in key order."""
    rows = []
    for url, caption in pairs:
        key = sample_key(url, caption)
        row = dict.fromkeys(MATCHED.names, "") | {"key": key, "bucket": key_bucket(key, num_buckets)}
        rows.append(
            row
            | {
                "rank": uniform_rank("", key),
                "url": url,
                "caption": caption,
                "offset": 0,
                "num_occurrences": 1,
                "query_ids": [0],
            }
        )
    return pa.Table.from_pylist(sorted(rows, key=lambda row: str(row["key"])), schema=MATCHED)


def fetched(settings: Fetch, pairs: list[tuple[str, str]], root: Path, num_buckets: int = 1) -> dict[str, pa.Table]:
    """What every step of the stage writes, part by part, for pairs that balance kept."""
    table = matched(pairs, num_buckets)
    for bucket in range(num_buckets):
        write_part(root, "balance/kept", bucket, table.filter(pc.equal(table["bucket"], bucket)))
    run_steps(settings.steps(RunSettings(num_buckets)), root, num_buckets)
    return {"kept": read_parts(root, "fetch/kept"), "rejects": read_parts(root, "rejects/fetch")}


def digest(root: Path) -> str:
    return hashlib.sha256((root / "fetch/blobs/part-00000.tar").read_bytes()).hexdigest()


def test_rows_and_tar_say_the_same(tmp_path: Path) -> None:
    """Each row's offset and length give its image in the tar, which tarfile opens; members lie in key order."""
    scripts: dict[str, Script | list[Script]] = {f"http://h{n % 5}.example/{n}": answer(picture(n)) for n in range(40)}
    pairs = [(url, f"caption {number}") for number, url in enumerate(scripts)]
    with serving(scripts) as server:
        written = fetched(replace(SETTINGS, connect_to=server.address), pairs, tmp_path)
    rows = written["kept"].to_pylist()
    assert [row["key"] for row in rows] == sorted(sample_key(*pair) for pair in pairs)
    with tarfile.open(tmp_path / rows[0]["blob"]) as archive:
        members = archive.getmembers()
    assert [(member.offset_data, member.size) for member in members] == [(row["offset"], row["length"]) for row in rows]
    assert [member.name.split(".")[0] for member in members] == [row["key"] for row in rows]
    assert {(member.mtime, member.uid, member.gid, member.mode) for member in members} == {(0, 0, 0, 0o644)}
    for row in rows:
        body = picture(int(row["final_url"].rsplit("/", 1)[1]))
        stored = read_range(str(tmp_path / row["blob"]), row["offset"], row["length"])
        assert stored == prepare(body, Limits(side_px=64)).body
        assert row["sha256"] == hashlib.sha256(stored).hexdigest()
        assert (row["original_length"], row["original_sha256"]) == (len(body), hashlib.sha256(body).hexdigest())
        assert max(row["width"], row["height"]) == 64


def test_the_bytes_do_not_depend_on_when_answers_come(tmp_path: Path) -> None:
    """Five runs whose answers are shuffled by random delays give the same tables and the same tar."""
    chance = random.Random(3)

    def late(script: Script) -> Script:
        async def send(writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(chance.random() / 50)
            await script(writer)

        return send

    bodies = [picture(number) if number % 4 else b"<html>" for number in range(30)]
    scripts = {f"http://h{n % 3}.example/{n}": late(answer(bodies[n], 404 if n % 7 == 3 else 200)) for n in range(30)}
    pairs = [(url, str(number)) for number, url in enumerate(scripts)]
    with serving(scripts) as server:
        settings = replace(SETTINGS, connect_to=server.address, decoders=4)
        runs = [(fetched(settings, pairs, tmp_path / str(run)), digest(tmp_path / str(run))) for run in range(5)]
    assert all(run == runs[0] for run in runs)
    assert runs[0][0]["kept"].num_rows + runs[0][0]["rejects"].num_rows == 30
    assert set(runs[0][0]["rejects"]["reason"].to_pylist()) == {"not_image", "http_status"}


def test_a_part_of_one_dead_host_asks_hosts_of_other_parts_whether_there_is_a_network(tmp_path: Path) -> None:
    """It gave its robots.txt, and then nothing: the run does not wait for a network that is there."""
    urls = ["http://dead.example/1", *(f"http://h{number}.example/1" for number in range(8))]
    scripts: dict[str, Script | list[Script]] = {url: answer(picture(number)) for number, url in enumerate(urls)}
    scripts[urls[0]] = hang
    with serving(scripts) as server:
        settings = replace(
            SETTINGS, connect_to=server.address, obey_robots=True, retries=0, deadline_s=0.5, outage_s=60.0
        )
        written = fetched(settings, [(url, "caption") for url in urls], tmp_path, num_buckets=16)
    assert written["rejects"]["reason"].to_pylist() == ["timeout"]
    assert written["kept"].num_rows == 8


def test_a_url_is_fetched_once_for_all_its_pairs(tmp_path: Path) -> None:
    """Pairs that share a URL get a row each and share the bytes; the server is asked once."""
    url = "http://a.example/shared"
    with serving({url: answer(picture(1))}) as server:
        pairs = [(url, f"caption {number}") for number in range(5)] + [
            ("http://a.example/gone", "x"),
            ("http://a.example/gone", "y"),
        ]
        written = fetched(replace(SETTINGS, connect_to=server.address), pairs, tmp_path)
        assert server.asked == Counter({url: 1, "http://a.example/gone": 1})
    assert written["kept"].num_rows == 5
    assert len(set(zip(written["kept"]["offset"].to_pylist(), written["kept"]["sha256"].to_pylist(), strict=True))) == 1
    assert written["rejects"]["detail"].to_pylist() == ["HTTP 404"] * 2


def test_no_pairs_give_an_empty_tar(tmp_path: Path) -> None:
    """A part without rows writes empty tables and a tar without members."""
    written = fetched(SETTINGS, [], tmp_path)
    assert [table.num_rows for table in written.values()] == [0, 0]
    with tarfile.open(tmp_path / "fetch/blobs/part-00000.tar") as archive:
        assert archive.getmembers() == []


def test_every_reason_is_documented() -> None:
    """The reasons that the parts can give are those of the section, no more and no fewer."""
    from pipelines.fetching import outcome
    from pipelines.fetching.optout import OPT_OUTS
    from wit import image

    given = {
        value
        for module in (outcome, image)
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, str)
    }
    assert (given | set(OPT_OUTS.values())) - {image._BOMB} == set(Fetch.reasons)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"backend": "archive"}, "archives"),
        ({"connect_to": "nowhere"}, "HOST:PORT"),
        ({"connect_to": ":80"}, "HOST:PORT"),
        ({"user_agent": "(anonymous)"}, "wit/0.1"),
        ({"user_agent": "wit/0.1\r\nCookie: a"}, "wit/0.1"),
    ],
)
def test_settings_that_cannot_work_are_refused(wrong: Mapping[str, str], says: str) -> None:
    """A mistake in the section is told at once, with what was expected."""
    with pytest.raises(RecipeError, match=says):
        Fetch(**wrong)  # type: ignore[arg-type]


def from_archives(archives: tuple[str, ...], pairs: list[tuple[str, str]], root: Path) -> dict[str, pa.Table]:
    return fetched(replace(SETTINGS, backend="archive", archives=archives), pairs, root, num_buckets=3)


def alt_texts(path: Path) -> list[tuple[str, str]]:
    """Distinct (image URL, alt) of the pages of a WARC, read by means of our own."""
    from urllib.parse import urldefrag, urljoin

    pairs = {}
    for record in ArchiveIterator(str(path), parse_http=True):
        if (
            not record.is_http
            or record.http_headers.status_code != 200
            or "html" not in (record.http_content_type or "")
        ):
            continue
        page = LexborHTMLParser(record.reader.read().decode("utf-8", "replace"))
        base = page.css_first("base[href]")
        at = urljoin(record.headers["WARC-Target-URI"], base.attributes["href"] if base else "")
        for image in page.css("img[src][alt]"):
            caption = " ".join((image.attributes["alt"] or "").split())
            if caption and image.attributes["src"]:
                pairs[urldefrag(urljoin(at, image.attributes["src"].strip())).url, caption] = True
    return list(pairs)


def test_a_real_crawl_is_replayed(tmp_path: Path) -> None:
    """The 69 distinct (URL, alt) pairs whose bodies lie in the same file are all found and stored."""
    path = real_data("webarchive", "aut", "example.warc.gz")
    pairs = alt_texts(path)
    written = from_archives((str(path),), pairs, tmp_path)
    assert written["kept"].num_rows == 69
    assert written["rejects"]["reason"].to_pylist() == ["not_in_archive"] * (len(pairs) - 69)
    for row in written["kept"].to_pylist():
        with Image.open(io.BytesIO(read_range(str(tmp_path / row["blob"]), row["offset"], row["length"]))) as image:
            assert image.size == (row["width"], row["height"])


def test_revisits_give_the_body_of_the_original(tmp_path: Path) -> None:
    """A record that says only "the same as before" is resolved by its digest, also across archives."""
    original, revisit = ("url-agnostic-orig", "url-agnostic-revisit")
    paths = [str(real_data("webarchive", "pywb", f"example-{name}.warc.gz")) for name in (original, revisit)]
    urls = [
        record.headers["WARC-Target-URI"]
        for path in paths
        for record in ArchiveIterator(path)
        if "response" in str(record.record_type) or "revisit" in str(record.record_type)
    ]
    found = from_archives(tuple(paths), [(url, "x") for url in urls], tmp_path)["rejects"].to_pylist()
    assert {row["reason"] for row in found} == {"not_image"}  # the body is a page: it was found, and judged
    alone = from_archives((paths[1],), [(urls[1], "x")], tmp_path / "alone")["rejects"].to_pylist()
    assert [row["reason"] for row in alone] == ["not_in_archive"]


def test_a_damaged_archive_gives_what_it_holds(tmp_path: Path) -> None:
    """A WARC that breaks off gives what it holds; one that is none, is gzipped whole or missing is told."""
    (tmp_path / "rubbish.warc").write_text("not an archive")
    pair = ("http://a.example/", "x")
    with pytest.raises(InputError, match="archives only"):
        from_archives((str(tmp_path / "rubbish.warc"),), [pair], tmp_path / "a")
    path = real_data("webarchive", "aut", "example.warc.gz")
    (tmp_path / "whole.warc.gz").write_bytes(gzip.compress(gzip.decompress(path.read_bytes()), 1))
    with pytest.raises(InputError, match="record by record"):
        from_archives((str(tmp_path / "whole.warc.gz"),), [pair], tmp_path / "b")
    with pytest.raises(InputError, match="missing"):
        from_archives((str(tmp_path / "missing.warc"),), [pair], tmp_path / "c")
    (tmp_path / "half.warc.gz").write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    written = from_archives((str(tmp_path / "half.warc.gz"),), alt_texts(path), tmp_path / "d")
    assert 0 < written["kept"].num_rows < 69

"""The contact sheet shows what it was asked for, always the same, and is safe to open whatever the samples hold."""

from __future__ import annotations

import base64
import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipelines.report.contact_sheet import Card, address, render
from pipelines.shardset.cutting import Limit
from pipelines.shardset.indexing import index_tars
from pipelines.shardset.show import Selection, contact_sheet
from pipelines.shardset.splitting import draw
from pipelines.shardset.terms import Terms, read_terms
from tests.html import check_nesting, shown_text, tags
from tests.wit.test_shards import make_samples
from wit.cli import main
from wit.errors import InputError, UserError
from wit.schema import SHARD_INDEX, TERMS
from wit.shards import list_shards, read_index, write_manifest, write_shard
from wit.storage import write_parquet
from wit.thumbnails import MAX_BYTES

NO_TERMS = Terms(pa.table({"query_id": pa.array([], pa.int32()), "term": pa.array([], pa.string())}))
NUM_SAMPLES = 30


def write_set(folder: Path, shard_size: int) -> list[str]:
    """Write 30 samples of two hosts, in shards of a size; return the shards."""
    samples = []
    for number, (row, image) in enumerate(make_samples(NUM_SAMPLES)):
        host = "img.example.org" if number % 3 else "example.net"
        samples.append((row | {"url": f"http://{host}/{number}.jpg", "page_url": "https://example.org/page"}, image))
    for start in range(0, NUM_SAMPLES, shard_size):
        write_shard(str(folder), start // shard_size, samples[start : start + shard_size])
    write_manifest(str(folder))
    return list_shards(str(folder))


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return write_set(tmp_path_factory.mktemp("show") / "shards", 10)


def sheet(shards: list[str], terms: Terms = NO_TERMS, **asked: Any) -> str:
    return contact_sheet(shards, "the set", Selection(**asked), terms)


def keys_of(page: str) -> list[str]:
    return [attributes["alt"].removeprefix("image ") for tag, attributes in tags(page) if tag == "img"]  # type: ignore[union-attr]


def rows_of(shards: list[str]) -> list[dict[str, Any]]:
    return [row for shard in shards for row in read_index(shard).to_pylist()]


# ---- which samples ----


def test_the_same_seed_shows_the_same_samples(shards: list[str], tmp_path: Path) -> None:
    """In the order of the shards, whatever their sizes; those that `shards sample` draws; others by another seed."""
    page = sheet(shards, num=7)
    assert sheet(shards, num=7) == page
    keys = keys_of(page)
    assert len(keys) == 7
    assert keys == [row["key"] for row in rows_of(shards) if row["key"] in keys]
    assert keys_of(sheet(write_set(tmp_path / "whole", NUM_SAMPLES), num=7)) == keys
    draw(str(Path(shards[0]).parent), str(tmp_path / "drawn"), 7, 0, Limit(100), 1)
    assert [row["key"] for row in rows_of(list_shards(str(tmp_path / "drawn")))] == keys
    assert set(keys_of(sheet(shards, num=5))) < set(keys)
    assert keys_of(sheet(shards, num=7, seed=1)) != keys
    assert len(keys_of(sheet(shards, num=1_000))) == NUM_SAMPLES


def test_conditions_are_met_by_all_that_is_shown(shards: list[str]) -> None:
    """A column's value, a query by number or by term, a domain with what is below it, and all of them together."""
    rows = rows_of(shards)
    one = rows[12]
    assert keys_of(sheet(shards, where=(f"key={one['key']}",))) == [one["key"]]
    assert len(keys_of(sheet(shards, where=("width=5", "shard=00001.tar")))) == 10
    number = one["query_ids"][1]
    terms = Terms(pa.table({"query_id": pa.array([1, number], pa.int32()), "term": ["red circle", "café"]}))
    for query in (str(number), "Café!"):
        assert keys_of(sheet(shards, terms, query=query)) == [one["key"]]
    assert len(keys_of(sheet(shards, terms, query="Red  Circle"))) == NUM_SAMPLES
    below = [row["key"] for row in rows if "example.org" in row["url"]]
    assert keys_of(sheet(shards, domain="Example.ORG")) == below
    together = sheet(shards, domain="example.net", where=("shard=00000.tar",), query="1")
    assert keys_of(together) == [row["key"] for row in rows[:10] if row["key"] not in below]
    assert "shard=00000.tar; query 1; domain example.net" in shown_text(together)


def test_conditions_that_cannot_be(shards: list[str]) -> None:
    """Each is told in a line that says what would do."""
    for asked, message in (
        ({"where": ("size=1",)}, "expected COLUMN=VALUE with one of key, shard"),
        ({"where": ("key",)}, "expected COLUMN=VALUE"),
        ({"where": ("query_ids=1",)}, "expected COLUMN=VALUE"),
        ({"query": "zebra"}, "expected a number, or --queries with the list"),
        ({"domain": "http://example.org/"}, "expected a domain"),
        ({"where": ("key=x",), "query": "1"}, "expected samples with key=x and query 1, found none among 30"),
    ):
        with pytest.raises(UserError, match=message):
            sheet(shards, **asked)


# ---- names of queries ----


def test_terms_come_from_a_list_or_a_run(shards: list[str], tmp_path: Path) -> None:
    """A query list, a run, or the run around the shards; what has no name is shown by its number."""
    rows = [
        {"query_id": 1, "query_bucket": 1, "term": "<b>red</b>"},
        {"query_id": 9, "query_bucket": 1, "term": "nine"},
    ]
    run = Path(shards[0]).parents[1]
    table = pa.Table.from_pylist(rows, schema=TERMS)
    write_parquet(str(tmp_path / "queries.parquet"), table)
    write_parquet(str(run / "match" / "queries" / "part-00000.parquet"), table)
    for terms in (
        read_terms("elsewhere", queries=str(tmp_path / "queries.parquet")),
        read_terms("elsewhere", run=str(run)),
        read_terms(str(run / "shards")),
        read_terms(str(run / "shards" / "*.tar")),
    ):
        page = sheet(shards, terms, num=30)
        shown = [part.split("size")[0] for part in shown_text(page).split("picture ")[1:]]
        assert all("<b>red</b>" in part for part in shown)
        assert "nine" in shown_text(page)
        assert "#14" in shown_text(page)
    assert len(read_terms(str(tmp_path / "set")).table) == 0
    with pytest.raises(InputError, match="expected a run with the table match/queries"):
        read_terms("elsewhere", run=str(tmp_path))
    with pytest.raises(InputError, match="expected a query list with query_id and term"):
        read_terms("elsewhere", queries=shards[0].replace(".tar", ".parquet"))


# ---- hostile samples ----

HOSTILE_URLS = [
    "javascript:alert(1)", "JavaScript:alert(1)", " javascript:alert(1)", "java\nscript:alert(1)", "data:text/html,x",
    "vbscript:x", "file:///etc/passwd", "//evil.example", "http:evil", "http://a b/", "http://a/\"onclick='x'",
    "ftp://x", "http://a/<script>", "https://tar.invalid/a.jpg", "http://a/\u202egpj.exe", "", " ", "\x00",
    "http://" + "a" * 5_000,
]  # fmt: skip
HOSTILE_TEXTS = [
    "<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "'", "&lt;", "</figure></main></body>", "<!--",
    "]]>", "\u202e\u2066 turned", "a" * 100_000, "\x00\x1b[31m", "مرحبا", "",
]  # fmt: skip


def card(**facts: Any) -> Card:
    given: dict[str, Any] = {
        "picture": "data:image/png;base64,AA==", "problem": "", "caption": "a dog", "terms": ("dog",), "width": 1,
        "url": "http://example.org/a.jpg", "page_url": None, "height": 1, "num_bytes": 5, "member": "k.jpg", "key": "k",
        "shard": "00000.tar",
    }  # fmt: skip
    return Card(**given | facts)


def test_nothing_hostile_becomes_markup() -> None:
    """Whatever a text field holds: no script, no handler, no picture from elsewhere, no link but to http(s)."""
    names = ("caption", "url", "page_url", "member", "key", "shard")
    cards = [card(**dict.fromkeys(names, text), terms=(text,) * 40) for text in HOSTILE_TEXTS + HOSTILE_URLS]
    page = render("<b>set</b>", ["caption=<i>"], 0, [*cards, card(picture="", problem="<u>broken</u>")], 1, 1)
    check_nesting(page)
    found = tags(page)
    assert {tag for tag, _ in found}.isdisjoint({"script", "b", "i", "u", "iframe", "object"})
    assert not any(name.startswith("on") for _, attributes in found for name in attributes)
    assert {attributes["src"] for tag, attributes in found if tag == "img"} == {"data:image/png;base64,AA=="}
    assert {attributes["href"] for tag, attributes in found if tag == "a"} == {"http://example.org/a.jpg"}
    assert len(page) < 20_000 * len(cards)


@given(st.one_of(st.text(), st.sampled_from(HOSTILE_URLS), st.from_regex(r"https?://[ -~]{0,30}", fullmatch=True)))
def test_only_plain_addresses_of_the_web_are_links(url: str) -> None:
    """A link goes where its text says: http or https, of ASCII without spaces, double quotes and angle brackets."""
    for tag, attributes in tags(address(url)):
        if tag == "a":
            assert attributes["href"] == url
            assert url.startswith(("http://", "https://"))
            assert url.isascii()
            assert not set(url) & set(' "<>\n\t')


def test_a_real_address_is_a_link() -> None:
    """Queries, ports, percent signs and what else addresses have."""
    url = "https://user@example.org:8080/a%20b/c,d;e~f(1).jpg?x=1&y=[2]'#z"
    ((_, attributes), *_) = tags(address(url))
    assert attributes == {"href": url, "rel": "noopener noreferrer nofollow"}


# ---- pictures ----


def foreign_set(folder: Path, images: dict[str, bytes]) -> list[str]:
    """Write a tar without captions, metadata or facts, and an index that says where its images are."""
    folder.mkdir()
    data, rows = b"", []
    for name, image in images.items():
        place = {"image_member": name, "image_offset": len(data), "image_length": len(image)}
        blank = {field.name: "" if pa.types.is_string(field.type) else 0 for field in SHARD_INDEX}
        rows.append(blank | {"key": name, "shard": "a.tar", "query_ids": [], "page_url": None, **place})
        data += image
    (folder / "a.tar").write_bytes(data)
    write_parquet(str(folder / "a.parquet"), pa.Table.from_pylist(rows, schema=SHARD_INDEX))
    return [str(folder / "a.tar")]


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_pictures_of_any_kind_are_small_or_say_why_not(tmp_path: Path) -> None:
    """BMP, an animation, noise that no PNG packs, a large photo; what is broken has its reason in its place."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (240, 240, 3), dtype=np.uint8))
    large = Image.fromarray(np.full((900, 2000, 3), 120, np.uint8))
    images = {
        "a/noise.png": encoded(noise, "PNG"),
        "b.bmp": encoded(noise, "BMP"),
        "c.gif": encoded(noise, "GIF", save_all=True, append_images=[noise.rotate(90)] * 5),
        "d.jpeg": encoded(large, "JPEG"),
        "e.jpg": b"<html>",
        "f.png": encoded(noise, "PNG")[:5_000],
        "g.jpg": b"",
    }
    page = sheet(foreign_set(tmp_path / "foreign", images))
    check_nesting(page)
    sources = [str(attributes["src"]) for tag, attributes in tags(page) if tag == "img"]
    assert len(sources) == 4
    for source in sources:
        body = base64.b64decode(source.partition("base64,")[2])
        with Image.open(io.BytesIO(body)) as image:
            image.load()
            assert max(image.size) <= 240
        assert len(body) <= 2 * MAX_BYTES
    shown = shown_text(page)
    assert shown.count("not shown: ") == 3
    assert "not_image" in shown
    assert "corrupt_image" in shown
    assert shown.count("no caption") == len(images)


def test_tars_of_others_are_shown_once_they_are_indexed(tmp_path: Path) -> None:
    """Any member names; what a tar does not say is not on the page."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8))
    members = {
        "x/b.jpeg": encoded(noise, "JPEG"), "x/b.cap.txt": b"<i>two</i>", "x/a.png": encoded(noise, "PNG"),
        "x/c.webp": b"RIFF broken", "x/c.json": b'{"caption": "three", "url": "http://example.org/c.webp"}',
    }  # fmt: skip
    path = tmp_path / "any.tar"
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    index_tars(str(path), None, 1)
    page = sheet([str(path)])
    check_nesting(page)
    assert keys_of(page) == ["x/b", "x/a"]
    shown = shown_text(page)
    for words in ("<i>two</i>", "no caption", "three", "not shown: ", "32 × 24 px", "http://example.org/c.webp"):
        assert words in shown


def test_a_shard_that_is_cut_is_told(shards: list[str], tmp_path: Path) -> None:
    """The page is not made of half an image."""
    folder = tmp_path / "cut"
    write_set(folder, NUM_SAMPLES)
    (folder / "00000.tar").write_bytes((folder / "00000.tar").read_bytes()[:3_000])
    with pytest.raises(InputError, match=r"expected the bytes that .* names, found 3000"):
        sheet([str(folder / "00000.tar")])


def test_the_command(shards: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`wit shards show` writes the page and says where; a mistake is one line and exit code 2, and no page."""
    folder, out = str(Path(shards[0]).parent), tmp_path / "sheet.html"
    with pytest.raises(SystemExit) as end:
        main(["shards", "show", folder, "--num", "3", "--out", str(out)])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"{out}\n"
    assert len(keys_of(out.read_text())) == 3
    with pytest.raises(SystemExit) as end:
        main(["shards", "show", folder, "--where", "size=3", "--out", str(tmp_path / "none.html")])
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("wit: error: --where size=3: expected COLUMN=VALUE")
    assert not (tmp_path / "none.html").exists()

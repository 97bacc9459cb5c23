"""Dumps in every form they come in, cut anywhere, broken in every way."""

from __future__ import annotations

import bz2
import gzip
import random
import re
from collections import Counter
from pathlib import Path

import pytest

from queries import pages, seams
from queries.bzip2 import find_magics
from queries.dumps import MultistreamIndex, PartReader, open_dump, parts
from queries.wikipedia import Damage
from tests.queries.dumps import dump, forms, header, page, zstd
from tests.queries.reading import Found, read_dump
from tests.support import real_data
from wit.errors import InputError

MIXED = [
    page("A & B", "x < y\n[[c]] ä", page_id=1),
    page("Old", "#REDIRECT [[A & B]]", page_id=2, redirect="A & B"),
    page("Talk:A & B", "hm", page_id=3, namespace=1),
    page("Some.json", "{}", page_id=4, model="json"),
    page("Odd", "<![CDATA[", page_id=5).replace("&lt;![CDATA[", "<![CDATA[< & >]]>"),
    page("Long", "word " * 300, page_id=6),
    page("Last", "", page_id=7),
]
EXPECTED = Found(
    Counter({"x < y\n[[c]] ä": 1, "< & >": 1, "word " * 300: 1, "": 1}),
    Counter(["A & B", "Some.json", "Odd", "Long", "Last"]),
    Counter([("Old", "A & B")]),
    Counter(article=4, redirect=1, other_namespace=1, other_model=1),
)
FORMS = forms(MIXED)

NAMED = [page(f"Page {number}", f"text of {number} " * 40, page_id=number) for number in range(60)]
NAMED_XML = dump(NAMED)


def _written(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def _reasons(damage: list[Damage]) -> list[str]:
    return sorted(each.reason for each in damage)


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("part_bytes", [None, 64, 301, 1000, 3000])
def test_every_form_in_parts_of_any_size_holds_the_same_pages(
    tmp_path: Path, name: str, part_bytes: int | None
) -> None:
    """XML, bz2, gzip and zstd, of one stream or many, give the same pages whatever the parts and chunks are."""
    path = _written(tmp_path, name, FORMS[name])
    for chunk_bytes in (1, 500, 1 << 20):
        found = read_dump(path, part_bytes, chunk_bytes, tmp_path)
        assert (found, found.damage) == (EXPECTED, [])


def test_a_small_dump_is_the_same_cut_at_every_byte(tmp_path: Path) -> None:
    """Two parts, the border at any byte of plain XML, give what one part gives."""
    small = dump([page("A", "b & c"), page("D", "#", redirect="A"), page("E", "f")])
    path = _written(tmp_path, "a.xml", small)
    whole = read_dump(path)
    assert (whole.kinds, whole.damage) == ({"article": 2, "redirect": 1}, [])
    for cut in range(1, len(small)):
        found = read_dump(path, cut)
        assert (found, found.damage) == (whole, []), cut


def test_parts_that_are_not_wanted_are_left_out(tmp_path: Path) -> None:
    """The parts that are wanted are the same, with the same names, whichever others are."""
    of_named = forms(NAMED)
    for name, part_bytes in (("a.xml", 700), ("cut.xml.bz2", 700), ("members.xml.gz", 700), ("frames.xml.zst", 5000)):
        opened = open_dump(str(_written(tmp_path, name, of_named[name])))
        spooled: list[int] = []

        def spool(index: int, spooled: list[int] = spooled) -> str:
            spooled.append(index)
            return str(tmp_path / f"{index}.part")

        every = list(parts(opened, spool, lambda _: True, part_bytes))
        contents = [Path(part.path).read_bytes() for part in every if part.path]
        spooled.clear()
        some = list(parts(opened, spool, lambda index: index % 2 == 1, part_bytes))
        assert some == every[1::2]
        assert len(every) > 3
        if contents:
            assert spooled == list(range(1, len(every), 2))
            assert [Path(part.path).read_bytes() for part in some if part.path] == contents[1::2]


def _pages_in(xml: bytes, lost: list[tuple[int, int]]) -> set[str]:
    """Return the titles of pages that do not touch what is lost: ranges of bytes."""
    return {
        match[1].decode()
        for match in re.finditer(rb"<page>\s*<title>(.*?)</title>.*?</page>", xml, re.DOTALL)
        if not any(start < match.end() and match.start() < end for start, end in lost)
    }


@pytest.mark.parametrize("part_bytes", [None, 200, 1500])
def test_a_flipped_bit_costs_the_pages_in_its_block(tmp_path: Path, part_bytes: int | None) -> None:
    """A bit flipped in a bzip2 block loses exactly the pages that touch it: one damage, which names the first."""
    cut = 2500
    streams = [bz2.compress(NAMED_XML[start : start + cut]) for start in range(0, len(NAMED_XML), cut)]
    rng = random.Random(part_bytes)
    num_damaged = 0
    for number in range(1, len(streams)):
        broken = bytearray(streams[number])
        bit = rng.randrange(8 * 4, 8 * (len(broken) - 11))  # not in the stream's header and footer
        broken[bit // 8] ^= 1 << bit % 8
        data = b"".join([*streams[:number], bytes(broken), *streams[number + 1 :]])
        found = read_dump(_written(tmp_path, "a.xml.bz2", data), part_bytes)
        if _decompresses(bytes(broken)):  # a table that no symbol uses
            assert (len(found.titles), found.damage) == (60, [])
            continue
        num_damaged += 1
        assert set(found.titles) == _pages_in(NAMED_XML, [(number * cut, (number + 1) * cut)]), number
        assert _reasons(found.damage) == ["corrupt_block"]
        assert found.damage[0].offset - sum(map(len, streams[:number])) in (0, 4)  # 0: the magic is hit, nothing begins
        before = NAMED_XML[: number * cut]
        started = before[before.rfind(b"<page>") :]
        if b"</title>" in started and b"</page>" not in started:
            assert repr(started.split(b"<title>")[1].split(b"</title>")[0].decode()) in found.damage[0].detail
    assert num_damaged > 5


def _decompresses(data: bytes) -> bool:
    try:
        return bool(bz2.decompress(data))
    except (OSError, ValueError):
        return False


def test_blocks_that_are_overwritten_cost_the_pages_in_them(tmp_path: Path) -> None:
    """A stretch of zeros over the middle of a single stream of many blocks loses the pages there, told once."""
    xml = dump([page(f"Page {number}", random.Random(number).randbytes(4000).hex()) for number in range(100)])
    stored = bytearray(bz2.compress(xml, 1))
    places, is_block = find_magics(bytes(stored))
    assert sum(is_block.tolist()) == 9
    stored[int(places[3]) // 8 + 100 : int(places[5]) // 8 + 100] = bytes(int(places[5]) // 8 - int(places[3]) // 8)
    path = _written(tmp_path, "a.xml.bz2", bytes(stored))
    for part_bytes in (None, 30_000, 100_000):
        found = read_dump(path, part_bytes)
        lost = {f"Page {number}" for number in range(100)} - set(found.titles)
        assert _reasons(found.damage) == ["corrupt_block"]
        numbers = sorted(int(title.split()[1]) for title in lost)
        assert numbers == list(range(numbers[0], numbers[-1] + 1))
        assert len(numbers) in range(34, 40)  # three blocks of 100 kB, pages of 8.3 kB


@pytest.mark.parametrize("name", ["a.xml", "level1.xml.bz2", "pages.xml.bz2", "cut.xml.bz2", "a.xml.gz"])
def test_a_dump_that_breaks_off_gives_what_is_whole(tmp_path: Path, name: str) -> None:
    """Cut at any place after its head, a dump gives some first pages, whole ones only, and says that it is cut."""
    stored = FORMS[name]
    first = stored.find(b"<page>") + 7 if name == "a.xml" else len(stored) // 3
    order = ["A & B", "Some.json", "Odd", "Long", "Last"]
    counts = set()
    for size in range(first, len(stored) - 15, 3 if name == "pages.xml.bz2" else 23):
        path = _written(tmp_path, name, stored[:size])
        try:
            open_dump(str(path))
        except InputError:  # it breaks off in its head
            continue
        found = read_dump(path, 400, spool=tmp_path)
        assert sorted(found.titles) == sorted(order[: found.titles.total()]), size
        assert not set(found.texts) - set(EXPECTED.texts)
        assert len(found.damage) in (1, 2), (size, found.damage)
        assert {"cut_short"} <= set(_reasons(found.damage)) <= {"cut_short", "corrupt_block"}, size
        counts.add(found.titles.total())
    assert len(counts) > 1 or name in ("level1.xml.bz2", "a.xml.gz")


def test_a_cut_page_is_named(tmp_path: Path) -> None:
    """When the file ends inside a page, the damage names it."""
    path = _written(tmp_path, "a.xml", NAMED_XML[: NAMED_XML.index(b"<title>Page 30") + 200])
    for part_bytes in (None, 1000, 100):
        found = read_dump(path, part_bytes)
        assert len(found.titles) == 30
        assert [(each.reason, each.pages) for each in found.damage] == [("cut_short", 1)]
        assert "page 'Page 30' breaks off" in found.damage[0].detail


@pytest.mark.parametrize("compression", ["gz", "zst"])
@pytest.mark.parametrize("cut", [True, False])
def test_a_damaged_stream_gives_what_comes_before(tmp_path: Path, compression: str, cut: bool) -> None:
    """gzip and zstd that are damaged in the middle, or end there, give the pages before it and say what is not read."""
    cuts = [NAMED_XML[start : start + 5000] for start in range(0, len(NAMED_XML), 5000)]
    streams = [gzip.compress(each) if compression == "gz" else zstd(each) for each in cuts]
    at = sum(map(len, streams[:5])) + 30
    stored = b"".join(streams)
    stored = stored[:at] if cut else stored[:at] + bytes(20) + stored[at + 20 :]
    path = _written(tmp_path, f"a.xml.{compression}", stored)
    found = read_dump(path, 7000, spool=tmp_path)
    # two or three hundred bytes of the damaged piece may still be read; of zstd, the last 4 KiB before it are not
    assert len(found.titles) in range(26, 36)
    broken = {"gz": "corrupt_gzip", "zst": "corrupt_zstd"}[compression]
    assert _reasons(found.damage) == ["cut_short" if cut else broken]
    assert "bytes of the file are not read" in found.damage[0].detail


@pytest.mark.parametrize("name", [name for name in FORMS if name.endswith(("bz2", "gz"))])
@pytest.mark.parametrize("junk", [bytes(2000), b"junk" * 50])
def test_what_follows_the_end_is_no_damage(tmp_path: Path, name: str, junk: bytes) -> None:
    """Bytes after the last stream of a dump that is whole change nothing."""
    path = _written(tmp_path, name, FORMS[name] + junk)
    found = read_dump(path, 900, spool=tmp_path)
    assert (found, found.damage) == (EXPECTED, [])


def test_a_page_too_long_is_left_out_and_the_next_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page beyond the limit costs itself; whichever part or chunk it lies in, memory does not hold it whole."""
    monkeypatch.setattr(pages, "MAX_PAGE_BYTES", 2000)
    monkeypatch.setattr(seams, "MAX_PAGE_BYTES", 2000)
    monkeypatch.setattr(seams, "NAMED_BYTES", 200)
    xml = dump([page("A", "b"), page("Huge", "c" * 9000), page("D", "e")])
    path = _written(tmp_path, "a.xml", xml)
    for part_bytes in (None, 500, 1500, 5000, 9500):
        for chunk_bytes in (100, 1000, 1 << 20):
            found = read_dump(path, part_bytes, chunk_bytes)
            assert set(found.titles) == {"A", "D"}, (part_bytes, chunk_bytes)
            assert _reasons(found.damage) == ["page_too_long"], (part_bytes, chunk_bytes)
            assert "'Huge'" in found.damage[0].detail


def test_all_pages_within_the_limit_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exactly the pages that are longer than the limit are left out, wherever they lie in parts and chunks."""
    limit = 1000
    for module in (pages, seams):
        monkeypatch.setattr(module, "MAX_PAGE_BYTES", limit)
        monkeypatch.setattr(module, "NAMED_BYTES", 200)
    rng = random.Random(4)
    written = [page(f"Page {number}", "x" * rng.randrange(1400)) for number in range(40)]
    path = _written(tmp_path, "a.xml", dump(written))
    short = {f"Page {number}" for number, each in enumerate(written) if len(each.strip()) <= limit}
    for part_bytes in (None, *rng.sample(range(20, 3000), 40)):
        found = read_dump(path, part_bytes, rng.randrange(1, 2000))
        assert set(found.titles) == short, part_bytes
        assert set(_reasons(found.damage)) == {"page_too_long"}


def test_windows_line_ends_and_no_head(tmp_path: Path) -> None:
    """A dump with Windows line ends, and a part of one without a head, are read."""
    windows = dump(MIXED).replace(b"\n", b"\r\n")
    assert read_dump(_written(tmp_path, "a.xml", windows), 200) == EXPECTED
    assert read_dump(_written(tmp_path, "b.xml", "".join(MIXED).encode() + b"</mediawiki>"), 200) == EXPECTED


def test_dumps_that_were_concatenated_are_one(tmp_path: Path) -> None:
    """Two dumps in one file give the pages of both."""
    half = [dump(MIXED[:3]), dump(MIXED[3:])]
    for name, data in (("a.xml", b"".join(half)), ("a.xml.bz2", b"".join(map(bz2.compress, half)))):
        found = read_dump(_written(tmp_path, name, data), 500)
        assert (found, found.damage) == (EXPECTED, [])


NOT_DUMPS = {
    "empty": (b"", "found an empty file"),
    "text": (b"hello\n" * 10, "found no <mediawiki> element"),
    "HTML": (b"<!DOCTYPE html>\n<html><body>404</body></html>", "found no <mediawiki> element"),
    "7z": (b"7z\xbc\xaf\x27\x1c" + bytes(50), "found a 7z archive; unpack it first"),
    "xz": (b"\xfd7zXZ\0" + bytes(50), "found an xz file"),
    "UTF-16": (dump(MIXED).decode().encode("utf-16"), "found no <mediawiki> element"),
    "head only": (dump(MIXED)[:200], "breaks off before the first"),
    "no pages": (dump([]), "expected a dump with pages, found none"),
    "empty bz2": (bz2.compress(b""), "found no <mediawiki> element"),
    "bz2 damaged at its start": (bz2.compress(dump(MIXED))[:200], "its head is damaged"),
    "gzip damaged at its start": (gzip.compress(dump(MIXED))[:12] + bytes(50), "its head is damaged"),
    "zstd damaged at its start": (zstd(dump(MIXED))[:8] + b"\xff" * 50, "its head is damaged"),
    "head without end": (header().encode() + b"<a/>" * 400_000, "breaks off before the first"),
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_DUMPS)
def test_what_is_no_dump_is_named(tmp_path: Path, name: str) -> None:
    """A file that is no dump raises one InputError that says what was found."""
    data, found = NOT_DUMPS[name]
    path = _written(tmp_path, "broken.xml", data)
    with pytest.raises(InputError, match=re.escape(found)) as caught:
        open_dump(str(path))
    assert str(path) in str(caught.value)


def test_an_index_is_told_from_a_dump(tmp_path: Path) -> None:
    """The index of a multistream dump raises an error of its own, so that it can be passed over."""
    lines = b"616:10:AccessibleComputing\n616:12:Anarchism: a history\n"
    for name, data in (("index.txt", lines), ("index.txt.bz2", bz2.compress(lines * 99))):
        with pytest.raises(MultistreamIndex, match="the index of one, which is not needed"):
            open_dump(str(_written(tmp_path, name, data)))


def test_a_missing_dump_is_named(tmp_path: Path) -> None:
    """A path with nothing there, and a folder, are InputErrors."""
    with pytest.raises(InputError, match="found nothing"):
        open_dump(str(tmp_path / "none.xml"))
    with pytest.raises(InputError, match="found a folder"):
        open_dump(str(tmp_path))


def test_a_file_that_shrinks_while_it_is_read_is_named(tmp_path: Path) -> None:
    """Parts of a file that has become shorter since it was opened are not silently empty."""
    for name in ("a.xml", "cut.xml.bz2"):
        path = _written(tmp_path, name, FORMS[name])
        last = list(parts(open_dump(str(path)), str, lambda _: True, 500))[-1]
        _written(tmp_path, name, FORMS[name][:-300])
        with pytest.raises(InputError, match="it has changed since it was opened"):
            list(PartReader(last))


@pytest.mark.parametrize(
    ("name", "num_pages", "articles", "redirects"),
    [
        ("enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2", 206, 106, 99),
        ("enwiki-table-markup.xml.bz2", 5, 5, 0),
        ("testcorpus.xml.bz2", 9, 9, 0),
    ],
)
def test_real_dumps_hold_the_pages_that_are_documented(
    tmp_path: Path, name: str, num_pages: int, articles: int, redirects: int
) -> None:
    """Pages, articles and redirects of the real dumps are as their source says, in every form and part size."""
    path = real_data("wiki", name)
    whole = read_dump(path)
    assert (whole.kinds.total(), whole.kinds["article"], whole.kinds["redirect"]) == (num_pages, articles, redirects)
    assert whole.damage == []
    assert read_dump(path, 200_000) == whole
    xml = bz2.decompress(path.read_bytes())
    for name, data in (("a.xml", xml), ("a.xml.gz", gzip.compress(xml, 1)), ("a.xml.zst", zstd(xml))):
        found = read_dump(_written(tmp_path, name, data), 900_000, spool=tmp_path)
        assert (found, found.damage) == (whole, [])

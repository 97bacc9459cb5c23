"""Page view files: every format, hostile lines, damaged files, and titles as MediaWiki stores them."""

from __future__ import annotations

import bz2
import gzip
import unicodedata
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from queries.pageviews import VIEWS, page_title, read_views
from queries.wikipedia import DAMAGE_REASONS, Damage, Site, site_of
from tests.support import real_data
from wit.errors import InputError

EN = site_of("en", {4: "Wikipedia"})

HOURLY = b"""\
de Katze 7 0
en.b Cat 9 0
en Cat 5 0
en cat 1 0
en C%61t 2 0
en.m Cat 30 0
en.zero Cat 100 0
en Black_cat 4 0
en _Black__cat_ 4 0
en Caf%C3%A9 3 0
en Caf\xc3\xa9 1 0
en Cafe\xcc\x81 1 0
en %C3%A9clair 8 0
en \xc3\x89clair 8 0
en %FF 9 0
en - 900 0
en 100%_Wolf 1 0
en Cat x 0
en  5 0
en Cat 5
en Cat 5 0 0
en

en Cat -5 0
"""


def read(
    folder: Path, content: bytes, site: Site = EN, memory_bytes: int = 1 << 28
) -> tuple[dict[str, int], Counter[str], list[Damage]]:
    file = folder / "pageviews"
    file.write_bytes(content)
    fates, damage = read_views(str(file), str(folder / "views.parquet"), site, memory_bytes)
    table = pq.read_table(folder / "views.parquet")
    assert table.schema.equals(VIEWS)
    titles = table.column("title").to_pylist()
    assert titles == sorted(set(titles))
    return dict(zip(titles, table.column("views").to_pylist(), strict=True)), fates, damage


def test_hourly_files(tmp_path: Path) -> None:
    """Desktop, mobile and zero add up, every spelling of a title is one, and each line has one fate."""
    views, fates, damage = read(tmp_path, HOURLY)
    assert views == {"Cat": 138, "Black cat": 8, "Café": 5, "Éclair": 16, "100% Wolf": 1}
    assert fates == {"counted": 13, "other_domain": 2, "bad_encoding": 1, "untitled": 1, "malformed": 7}
    assert sum(fates.values()) == HOURLY.count(b"\n")
    assert damage == []


COMPLETE = b"""\
aa.wikibooks Main_Page null desktop 171 A8B6C8
en.wikibooks Cat null desktop 9 A9
en.wikipedia Cat 6678 desktop 5 A2B3
en.wikipedia Cat 6678 mobile-web 7 A7
en.wikipedia Cat null mobile-app 1 Z1
en.wikipedia File%3ACat.jpg desktop 1 K1
en.wikipedia Dog desktop 20 A8B6C6\\8_8
en.wikipedia Dog 1 desktop x A1
en.wikipedia - null desktop 8 F8
"""


def test_complete_files(tmp_path: Path) -> None:
    """Of pageview_complete the total is the last field but one, with a page id, with `null`, or with nothing there."""
    views, fates, _ = read(tmp_path, COMPLETE)
    assert views == {"Cat": 13, "File:Cat.jpg": 1, "Dog": 20}
    assert fates == {"counted": 5, "other_domain": 2, "malformed": 1, "untitled": 1}


@pytest.mark.parametrize("hours", [b"", b" A2B3"])
def test_merged_files(tmp_path: Path, hours: bytes) -> None:
    """Of pagecounts-ez the count is the third field, with the hours after it or without."""
    lines = [b"de.z Katze 5", b"en.b Cat 6", b"en.z Cat 7", b"en.z Dog 8"]
    views, fates, _ = read(tmp_path, b"".join(line + hours + b"\n" for line in lines))
    assert views == {"Cat": 7, "Dog": 8}
    assert fates == {"counted": 2, "other_domain": 2}


def test_lists(tmp_path: Path) -> None:
    """A plain list has a space or a tab before the count; titles may hold spaces; there are no domains."""
    views, fates, _ = read(tmp_path, b"Cat 5\nBlack cat 4\nBlack_cat\t3\r\n\xc3\x89clair\t1 \nen.z 2\n- 9\nDog\n 7\n")
    assert views == {"Cat": 5, "Black cat": 7, "Éclair": 1, "En.z": 2, "-": 9}
    assert fates == {"counted": 6, "malformed": 2}


def test_the_format_is_what_most_of_the_first_lines_are_in(tmp_path: Path) -> None:
    """Broken lines at the start do not tell the format, though one of another format may be seen in them."""
    views, fates, _ = read(tmp_path, b"Cat 5\n\n<html>\nen Cat 5\nen Dog 1 0\nen Dog 2 0\nen Dog 3 0\n")
    assert views == {"Dog": 6}
    assert fates == {"counted": 3, "other_domain": 1, "malformed": 3}


@pytest.mark.parametrize(
    ("line", "fate"),
    [
        (b'en "Cat" 5 0', "counted"),
        (b'en "Heroes" 5 0', "counted"),
        (b"en C\0at 5 0", "counted"),
        (b"en Cat 9223372036854775807 0", "counted"),
        (b"en Cat 0009 0", "counted"),
        (b"en " + b"x" * 1024 + b" 5 0", "counted"),
        (b"en Cat 9223372036854775808 0", "malformed"),
        (b"en Cat 99999999999999999999999999 0", "malformed"),
        (b"en Cat -5 0", "malformed"),
        (b"en Cat 5.0 0", "malformed"),
        (b"en Cat +5 0", "malformed"),
        (b"en Cat \xd9\xa5 0", "malformed"),  # an Arabic digit
        (b"en Cat  0", "malformed"),
        (b"en _ 5 0", "malformed"),
        (b"en %20 5 0", "malformed"),
        (b"en " + b"x" * 1025 + b" 5 0", "malformed"),
        (b"en " + b"x" * (10 << 20) + b" 5 0", "malformed"),
        (b"en Cat 5 0 " + b"x" * (10 << 20), "malformed"),
        (b"en\tCat\t5\t0", "malformed"),
        (b"en C\xc3t 5 0", "bad_encoding"),
        (b"en C%C3t 5 0", "bad_encoding"),
        (b"en \xed\xa0\x80 5 0", "bad_encoding"),  # half of a surrogate pair
        (b"en \xc0\xaf 5 0", "bad_encoding"),  # longer than it need be
        (b"english Cat 5 0", "other_domain"),
        (b"en.m.m Cat 5 0", "other_domain"),
        (b"\xff\xfe Cat 5 0", "other_domain"),
        (b"EN Cat 5 0", "other_domain"),
    ],
)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_hostile_lines(tmp_path: Path, line: bytes, fate: str, end: bytes) -> None:
    """A line has its fate whatever ends it, and takes none of its neighbours with it."""
    views, fates, damage = read(tmp_path, b"en Dog 1 0" + end + line + end + b"en Dog 2 0")
    assert views["Dog"] == 3
    assert fates == Counter({"counted": 2}) + Counter([fate])
    assert damage == []


def test_sums_stop_at_the_largest_integer(tmp_path: Path) -> None:
    """Counts whose sum is beyond int64 do not wrap round, on neighbouring lines or apart."""
    line = b"en Cat 9223372036854775807 0\n"
    assert read(tmp_path, line + line + b"en Dog 1 0\n" + line)[0] == {"Cat": 2**63 - 1, "Dog": 1}


@pytest.mark.parametrize(
    ("text", "language", "capital_links", "title"),
    [
        ("cat", "en", True, "Cat"),
        ("cat", "en", False, "cat"),
        ("_a__b_", "en", True, "A b"),
        ("a\u00a0\u3000b\u2028", "en", True, "A b"),
        ("\u200ea\u202bb", "en", True, "Ab"),
        ("straße", "de", True, "Straße"),
        ("ßtraße", "de", True, "ßtraße"),
        ("ﬁn", "en", True, "ﬁn"),
        ("éclair", "fr", True, "Éclair"),
        ("e\u0301clair", "fr", True, "Éclair"),
        ("я", "ru", True, "Я"),
        ("ა", "ka", True, "ა"),
        ("istanbul", "tr", True, "İstanbul"),
        ("ırmak", "tr", True, "Irmak"),
        ("한", "ko", True, "한"),
        ("\u1112\u1161\u11ab", "ko", True, "한"),
        ("𐐨", "en", True, "𐐀"),
        ("", "en", True, ""),
        ("\u200e", "en", True, ""),
    ],
)
def test_titles_are_as_mediawiki_stores_them(
    tmp_path: Path, text: str, language: str, capital_links: bool, title: str
) -> None:
    """NFC, single spaces, no marks of direction, and the wiki's own capital; the same from the compiled code."""
    site = site_of(language, {}, capital_links)
    assert page_title(text, site) == title
    views, _, _ = read(tmp_path, f"{language} Zzz 1 0\n{language} {text} 5 0\n".encode(), site)
    assert {name: count for name, count in views.items() if name.lower() != "zzz"} == ({title: 5} if title else {})


ALPHABET = st.one_of(
    st.characters(exclude_categories=["Cs"], exclude_characters="\n\r "),
    st.sampled_from("_%aäßＡ\u0301\u0323\u1161\u11a8\u200e\u00a0\u0130ıiΣςǆ가"),
)


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(st.text(ALPHABET, min_size=1, max_size=12), min_size=1), st.booleans(), st.sampled_from(["en", "tr"]))
@example(["%41%5f%5Fb", "%", "%4", "%4%41", "%C3%A9"], True, "en")
def test_compiled_titles_equal_their_definition(texts: list[str], capital_links: bool, language: str) -> None:
    """For any text, the kernel and `page_title` for what it flags give what unquoting and `page_title` give."""
    from urllib.parse import unquote_to_bytes

    from queries.pageviews import _HOURLY, _batches

    site = site_of(language, {}, capital_links)
    expected: Counter[str] = Counter()
    fates: Counter[str] = Counter()
    for text in texts:
        try:
            title = page_title(unquote_to_bytes(text).decode(), site)
        except UnicodeDecodeError:
            fates["bad_encoding"] += 1
            continue
        known = "untitled" if text == "-" else "counted"
        fates[known if title else "malformed"] += 1
        if title and text != "-":
            expected[title] += 1
    block = "".join(f"{language} {text} 1 0\n" for text in texts).encode()
    found: Counter[str] = Counter()
    counted: Counter[str] = Counter()
    for batch in _batches(iter([block]), _HOURLY, site, counted):
        for title, views in zip(*map(pa.Array.to_pylist, batch.columns), strict=True):
            found[title] += views
    assert found == expected
    assert +counted == fates
    assert all(unicodedata.is_normalized("NFC", title[1:]) for title in found)


def _zstd(data: bytes) -> bytes:
    compressed: bytes = pa.compress(data, codec="zstd", asbytes=True)
    return compressed


_FORMS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "zstd": _zstd,
}


@pytest.mark.parametrize("form", _FORMS)
def test_every_compression_gives_the_same_file(tmp_path: Path, form: str) -> None:
    """Plain, gzip, bzip2 and zstd, one stream or two, give the same bytes."""
    outputs = set()
    half = HOURLY.index(b"en.m")
    compress = _FORMS[form]
    for content in (HOURLY, compress(HOURLY), compress(HOURLY[:half]) + compress(HOURLY[half:])):
        read(tmp_path, content)
        outputs.add((tmp_path / "views.parquet").read_bytes())
    assert len(outputs) == 1


def _many_lines() -> bytes:
    """Lines that take several bzip2 blocks: title i has i + 1 views."""
    return b"".join(b"en T%06dx%d 1%d 0\n" % (number, number * 7919 % 10007, number) for number in range(120_000))


@pytest.mark.parametrize("form", ["gzip", "bzip2", "zstd"])
def test_a_file_cut_short_gives_what_stands_before(tmp_path: Path, form: str) -> None:
    """Of a truncated file the lines before are counted, never half a line, and the loss is named once."""
    content = _FORMS[form](_many_lines())
    whole, fates, damage = read(tmp_path, content)
    assert fates == {"counted": 120_000}
    assert damage == []
    views, fates, damage = read(tmp_path, content[: len(content) * 9 // 10])
    assert 50_000 < fates["counted"] < 120_000
    assert set(fates) == {"counted"}
    assert views.items() <= whole.items()
    assert [(item.reason, item.pages) for item in damage] == [("cut_short", None)]
    assert 0 < damage[0].offset <= len(content)
    assert damage[0].url == str(tmp_path / "pageviews")


def test_a_bad_bzip2_block_costs_its_own_lines(tmp_path: Path) -> None:
    """Lines after a corrupt block are read; those that lie in it are lost, and the loss is named."""
    content = bytearray(bz2.compress(_many_lines()))
    whole, _, _ = read(tmp_path, bytes(content))
    middle = len(content) // 2
    content[middle : middle + 20] = bytes(20)
    views, fates, damage = read(tmp_path, bytes(content))
    assert views.items() <= whole.items()
    assert set(fates) == {"counted"}
    assert {"T000000x0", "T119999x" + str(119999 * 7919 % 10007)} <= set(views)
    assert 50_000 < len(views) < 120_000
    assert [item.reason for item in damage] == ["corrupt_block"]
    assert {item.reason for item in damage} <= set(DAMAGE_REASONS)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "found an empty file"),
        (b"hello world\n", "found b'hello world"),
        (b"<html>\n", "found b'<html>"),
        (b"\n\n\n", "found b''"),
        (b"\0" * 100, "found b'"),
        (gzip.compress(HOURLY)[:12], "found no line that can be read"),
        (bz2.compress(HOURLY)[:30], "found no line that can be read"),
        (b"PK\x03\x04abcdef", "a zip archive"),
    ],
)
def test_a_file_that_is_no_pageview_file_is_named(tmp_path: Path, content: bytes, found: str) -> None:
    """An empty or foreign file, or one without a line that can be read, is one InputError that names it."""
    with pytest.raises(InputError, match=found) as caught:
        read(tmp_path, content)
    assert "pageviews" in str(caught.value)
    assert not (tmp_path / "views.parquet").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["pageviews"]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A file that is not there is an InputError."""
    with pytest.raises(InputError, match="found nothing"):
        read_views(str(tmp_path / "nothing"), str(tmp_path / "views.parquet"), EN)


def test_blocks_do_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the blocks end that a file is read in, the result is the same, its last line without an end included."""
    content = HOURLY + b"en Cat 1000 0"
    expected = read(tmp_path, content)
    assert expected[0]["Cat"] == 1138
    for block_bytes in (1, 7, 64):
        monkeypatch.setattr("queries.pageviews.BLOCK_BYTES", block_bytes)
        assert read(tmp_path, content) == expected


def test_memory_does_not_change_the_bytes(tmp_path: Path) -> None:
    """Sums that do not fit in the memory are summed on disk, to the same file."""
    random = np.random.default_rng(0)
    lines = b"".join(b"en %x 1 0\n" % number for number in random.integers(0, 2**40, 200_000).tolist())
    outputs = set()
    for memory_bytes in (16 << 20, 1 << 30):
        views, _, _ = read(tmp_path, lines + lines, memory_bytes=memory_bytes)
        assert set(views.values()) == {2}
        outputs.add((tmp_path / "views.parquet").read_bytes())
    assert len(outputs) == 1


def test_real_lists(tmp_path: Path) -> None:
    """Real views of cats: every line is counted, and no view is lost."""
    file = real_data("pageviews", "onezoom", "Felidae_pageviews-202401-user")
    views, fates, _ = read(tmp_path, file.read_bytes())
    lines = file.read_text().splitlines()
    assert fates == {"counted": len(lines)}
    assert sum(views.values()) == sum(int(line.split()[1]) for line in lines)
    assert views["Geoffroy's cat"] == 6485

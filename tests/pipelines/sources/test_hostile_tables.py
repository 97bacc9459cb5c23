"""Tables that are broken or meant to harm: bounded, and counted or refused in one line."""

from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.sources import parquet, windows
from pipelines.sources.source import MALFORMED_RECORD, UNREADABLE_ARCHIVE, Fault, Links, Slice
from pipelines.sources.tables import Tables
from tests.pipelines.sources.listing import Found, listed
from wit.errors import InputError


def found_in(path: Path, data: bytes) -> list[Found | Fault]:
    path.write_bytes(data)
    return listed(Tables(), str(path))


def written(path: Path, names: Any, *columns: Any, **options: Any) -> str:
    """A Parquet file with these columns."""
    pq.write_table(pa.table(list(columns), list(names)), path, **options)
    return str(path)


def pairs(found: list[Found | Fault]) -> list[tuple[str, str, int]]:
    return [(each.url, each.text, each.offset) for each in found if isinstance(each, Found)]


def reasons(found: list[Found | Fault]) -> list[tuple[str, int | None]]:
    return [(each.reason, each.offset) for each in found if isinstance(each, Fault)]


def test_values_of_megabytes_and_rows_beyond_the_limit(tmp_path: Path) -> None:
    """10 MB are a value; a row of more than 16 MiB is a fault, in every format, and its neighbours are found."""
    fine, beyond = "a" * 10_000_000, "b" * (windows.MAX_ROW_BYTES + 1)
    expected = [("u0", fine, 0), ("u2", "c", 2)], [(MALFORMED_RECORD, 1)]
    csv = f'url,caption\nu0,"{fine}"\nu1,{beyond}\nu2,c\n'.encode()
    lines = "".join(f'{{"url":"u{n}","caption":"{text}"}}\n' for n, text in enumerate([fine, beyond, "c"])).encode()
    for name, data in (("t.csv", csv), ("t.jsonl.gz", gzip.compress(lines, 1))):
        found = found_in(tmp_path / name, data)
        assert (pairs(found), reasons(found)) == expected
    url = written(tmp_path / "t.parquet", ("url", "caption"), ["u0", "u1", "u2"], [fine, beyond, "c"])
    found = listed(Tables(), url)
    assert (pairs(found), reasons(found)) == expected


@pytest.mark.parametrize("name", ["t.csv.gz", "t.jsonl.gz", "t.txt.gz"])
def test_a_line_without_end_is_given_up(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bomb of zeros behind a good row: the row is found, the bomb is unpacked up to a limit, in bounded memory."""
    monkeypatch.setattr(windows, "MAX_SKIPPED_BYTES", 32 << 20)
    head = {"t.csv.gz": b"url,caption\nu,c\n", "t.jsonl.gz": b'{"url":"u","caption":"c"}\n', "t.txt.gz": b"u\tc\n"}
    bomb = head[name] + bytes(100 << 20) + b"\nx,y\n"
    (tmp_path / name).write_bytes(gzip.compress(bomb, 1))
    tracemalloc.start()
    found = listed(Tables(), str(tmp_path / name))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert pairs(found) == [("u", "c", 0)]
    assert reasons(found) == [(MALFORMED_RECORD, 1), (UNREADABLE_ARCHIVE, None)]
    assert peak < 120 << 20


def test_a_line_that_ends_late_costs_itself(tmp_path: Path) -> None:
    """Beyond the limit of a row and below that of a bomb, what follows is found."""
    data = b"url,caption\n" + bytes(40 << 20) + b"\nu,c\n"
    found = found_in(tmp_path / "t.csv", data)
    assert (pairs(found), reasons(found)) == ([("u", "c", 1)], [(MALFORMED_RECORD, 0)])


def test_text_that_is_no_utf8(tmp_path: Path) -> None:
    """Broken bytes become U+FFFD, NUL stays, a mark at the beginning goes; UTF-16 is told of."""
    expected = [("u", "a\ufffd\0b", 0)]
    assert pairs(found_in(tmp_path / "t.csv", b"\xef\xbb\xbfurl,caption\r\nu,a\xff\0b\r\n")) == expected
    assert pairs(found_in(tmp_path / "t.jsonl", b'\xef\xbb\xbf{"url":"u","caption":"a\xff\\u0000b"}')) == expected
    binary = pa.array([b"a\xff\0b"], pa.binary())
    assert pairs(listed(Tables(), written(tmp_path / "t.parquet", ("url", "caption"), ["u"], binary))) == expected
    with pytest.raises(InputError, match="expected UTF-8, found UTF-16"):
        found_in(tmp_path / "u.csv", "url,caption\nu,c\n".encode("utf-16"))


TEXT_TYPES = [pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary()]


@pytest.mark.parametrize("kind", [*TEXT_TYPES, pa.dictionary(pa.int8(), pa.string()), pa.null()], ids=str)
def test_every_type_of_text_is_taken(kind: pa.DataType, tmp_path: Path) -> None:
    """Nulls are blank; a column of nothing but nulls is one of blanks."""
    values = [None, None] if pa.types.is_null(kind) else ["c", None]
    url = written(tmp_path / "t.parquet", ("url", "caption"), ["u", "v"], pa.array(values, kind))
    assert pairs(listed(Tables(), url)) == [("u", values[0] or "", 0), ("v", "", 1)]


def test_columns_that_are_missing_wrong_or_twice_there(tmp_path: Path) -> None:
    """One line says what is expected, what is found, and where."""
    with pytest.raises(InputError, match=r"t\.parquet: expected one of the columns url, .*, found u, caption"):
        listed(Tables(), written(tmp_path / "t.parquet", ("u", "caption"), ["a"], ["b"]))
    for wrong in ([1], [["a"]], [{"a": "b"}], [b"a" * 5]):
        column = pa.array(wrong, pa.binary(5)) if wrong == [b"aaaaa"] else pa.array(wrong)
        with pytest.raises(InputError, match="expected text in column 'caption', found"):
            listed(Tables(), written(tmp_path / "t.parquet", ("url", "caption"), ["a"], column))
    with pytest.raises(InputError, match="expected one column 'url', found 2"):
        listed(Tables(), written(tmp_path / "t.parquet", ("url", "url", "caption"), ["a"], ["b"], ["c"]))
    with pytest.raises(InputError, match="found column 0, column 1, "):
        found_in(tmp_path / "t.csv", ",".join(f"column {n}" for n in range(5000)).encode() + b"\n1,2\n")


def test_a_page_column_of_another_type_is_not_one(tmp_path: Path) -> None:
    """It is not asked for, so it does no harm."""
    url = written(tmp_path / "t.parquet", ("url", "caption", "page_url"), ["u"], ["c"], [7])
    assert listed(Tables(), url) == [Found("u", "c", 0, "caption")]


@pytest.mark.parametrize("is_dictionary", [True, False])
def test_a_small_file_that_holds_one_value_ten_thousand_times(is_dictionary: bool, tmp_path: Path) -> None:
    """40 GB of captions in a file of kilobytes come in pieces of bounded size, however Arrow gives them."""
    column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(10_000, np.int32)), ["x" * 4_000_000])
    options = {"compression": "zstd", "store_schema": is_dictionary}
    url = written(tmp_path / "t.parquet", ("url", "caption"), ["u"] * 10_000, column, **options)
    assert Path(url).stat().st_size < 100_000
    assert pa.types.is_dictionary(pq.read_schema(url).field("caption").type) == is_dictionary
    allocated = pa.total_allocated_bytes()
    findings = Tables().findings(next(iter(Tables().slices(url))))
    for _ in range(3):
        found = next(findings)
        assert isinstance(found, Links)
        assert 1 <= len(found) <= 9
        assert found.text.nbytes <= parquet._BATCH_BYTES + 4_000_000 + 1000
        assert pa.total_allocated_bytes() - allocated < 200 << 20


def test_a_page_that_is_corrupt_costs_its_row_group(tmp_path: Path) -> None:
    """One fault says which rows are lost; those of the other row groups are found, through slices of any size too."""
    values = [f"caption {n * 7919}" for n in range(3000)]
    url = written(tmp_path / "t.parquet", ("url", "caption"), values, values, row_group_size=1000, compression="zstd")
    start = pq.read_metadata(url).row_group(1).column(0).dictionary_page_offset
    data = bytearray(Path(url).read_bytes())
    data[start + 40 : start + 400] = b"\xaa" * 360
    for slice_rows in (10_000, 700):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("pipelines.sources.tables.SLICE_ROWS", slice_rows)
            patch.setattr("pipelines.sources.tables.MAX_SLICE_ROWS", slice_rows)
            found = found_in(tmp_path / "t.parquet", bytes(data))
        assert [offset for _, _, offset in pairs(found)] == [*range(1000), *range(2000, 3000)]
        lost = [(MALFORMED_RECORD, 1000)] + [(MALFORMED_RECORD, 1700)] * (slice_rows == 700)
        assert reasons(found) == lost
        assert "rows 1000 to 1" in next(each.detail for each in found if isinstance(each, Fault))


def test_no_rows_and_a_footer_that_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table without rows is one empty slice; one that states more than any file has is refused before it is cut."""
    nothing = pa.array([], pa.string())
    url = written(tmp_path / "t.parquet", ("url", "caption"), nothing, nothing)
    assert list(Tables().slices(url)) == [Slice(url, 0, 0)]
    assert list(Tables().findings(Slice(url, 0, 0))) == []
    monkeypatch.setattr("pipelines.sources.tables.MAX_ROWS", 1)
    with pytest.raises(InputError, match="expected at most 1 rows, found a footer that states 2"):
        list(Tables().slices(written(tmp_path / "t.parquet", ("url", "caption"), ["u", "v"], ["c", "d"])))


def test_names_of_columns_that_are_no_utf8(tmp_path: Path) -> None:
    """They are a damaged file, not a traceback."""
    url = written(tmp_path / "t.parquet", ("url", "caption"), ["u"], ["c"], store_schema=False)
    Path(url).write_bytes(Path(url).read_bytes().replace(b"caption", b"captio\xc9"))
    with pytest.raises(InputError, match=r"not a readable Parquet file: .*utf-8"):
        listed(Tables(), url)

"""Tables of URLs and captions: every format, columns found or named, broken rows counted."""

from __future__ import annotations

import bz2
import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.sources.source import Fault
from pipelines.sources.tables import Tables
from tests.pipelines.sources.listing import Found, listed
from wit.errors import InputError

ROWS = [("http://x.example/a.jpg", "A dog"), ("http://x.example/b.jpg", 'A "red, big" dog\nin rain'), ("b", None)]


def write(folder: Path, name: str, names: tuple[str, str] = ("url", "caption")) -> str:
    path = folder / name
    columns = [pa.array(values, pa.string()) for values in zip(*ROWS, strict=True)]
    if name.endswith(".parquet"):
        pq.write_table(pa.table(columns, list(names)), path)
        return str(path)
    if "jsonl" in name:
        import orjson

        data = b"\n".join(orjson.dumps(dict(zip(names, row, strict=True))) for row in ROWS) + b"\n\n"
    else:
        import csv
        import io

        text = io.StringIO()
        writer = csv.writer(text, delimiter="\t" if "tsv" in name else ",")
        writer.writerows([names, *ROWS])
        data = text.getvalue().encode()
    if name.endswith(".gz"):
        data = gzip.compress(data)
    elif name.endswith(".bz2"):
        data = bz2.compress(data)
    elif name.endswith(".zst"):
        data = pa.compress(data, "zstd", asbytes=True)
    path.write_bytes(data)
    return str(path)


def links(tables: Tables, url: str) -> list[Found | Fault]:
    return listed(tables, url)


@pytest.mark.parametrize(
    "name", ["t.parquet", "t.csv", "t.tsv", "t.jsonl", "t.csv.gz", "t.tsv.zst", "t.jsonl.gz", "T.CSV", "t.csv.bz2"]
)
def test_every_format_gives_the_same_rows(name: str, tmp_path: Path) -> None:
    """Quoted values with commas and line breaks, nulls as blanks, row numbers from 0."""
    found = links(Tables(), write(tmp_path, name))
    assert found == [Found(url, text or "", row, "caption") for row, (url, text) in enumerate(ROWS)]


@pytest.mark.parametrize("names", [("URL", "TEXT"), ("url", "alt"), ("image_url", "top_caption")])
def test_usual_columns_are_found(names: tuple[str, str], tmp_path: Path) -> None:
    """LAION's, and other published names; provenance says which column it was."""
    found = links(Tables(), write(tmp_path, "t.parquet", names))
    assert [each.attribute for each in found if isinstance(each, Found)] == [names[1]] * 3


def test_named_columns_win(tmp_path: Path) -> None:
    """A column that is named is taken, whatever it is called; an absent one is an error that lists the columns."""
    url = write(tmp_path, "t.csv", ("u", "c"))
    assert len(links(Tables(url_column="u", caption_column="c"), url)) == 3
    with pytest.raises(InputError, match=r"t\.csv: expected one of the columns url, .*, found u, c"):
        links(Tables(), url)
    with pytest.raises(InputError, match="'nope'"):
        links(Tables(url_column="nope"), url)


PUBLISHED = [
    ("laion", "p.parquet", ("SAMPLE_ID", "URL", "TEXT", "HEIGHT", "WIDTH", "LICENSE", "NSFW", "similarity")),
    ("laion", "p.parquet", ("key", "url", "caption", "similarity", "hash", "punsafe", "pwatermark")),
    ("datacomp", "p.parquet", ("uid", "url", "text", "original_width", "original_height", "clip_b32_similarity_score")),
    ("coyo", "p.parquet", ("id", "url", "text", "width", "height", "image_phash", "text_length", "word_count")),
    ("cc3m", "p.parquet", ("image_url", "caption")),
    ("cc12m", "p.tsv", ("url", "caption")),
    ("redcaps", "p.parquet", ("image_id", "author", "image_url", "raw_caption", "caption", "subreddit", "permalink")),
]


@pytest.mark.parametrize(("preset", "name", "names"), PUBLISHED)
def test_presets_take_the_columns_of_the_published_files(
    preset: str, name: str, names: tuple[str, ...], tmp_path: Path
) -> None:
    """Named outright or found among the usual names: the same URL and caption."""
    url_name = next(each for each in names if each.lower() in ("url", "image_url"))
    text_name = next(each for each in ("caption", "TEXT", "text") if each in names)
    values = ["http://x.example/a.jpg" if each == url_name else f"of {each}" for each in names]
    if name.endswith("tsv"):
        (tmp_path / name).write_text("\t".join(names) + "\n" + "\t".join(values) + "\n")
    else:
        pq.write_table(pa.table([[value] for value in values], list(names)), tmp_path / name)
    for tables in (Tables(preset), Tables()):
        (found,) = links(tables, str(tmp_path / name))
        assert isinstance(found, Found)
        assert found[:4] == ("http://x.example/a.jpg", f"of {text_name}", 0, text_name)


def test_presets_without_header(tmp_path: Path) -> None:
    """CC3M's published file is TSV without a header, caption first; CC12M's has the URL first."""
    (tmp_path / "cc3m.tsv").write_text('a red dog\thttp://x.example/a.jpg\n"we" said\tb\n')
    expected = [Found("http://x.example/a.jpg", "a red dog", 0, "caption"), Found("b", '"we" said', 1, "caption")]
    assert links(Tables("cc3m"), str(tmp_path / "cc3m.tsv")) == expected
    (tmp_path / "cc12m.tsv").write_text('http://x.example/a.jpg\ta red dog\nb\t"we" said\n')
    assert links(Tables("cc12m"), str(tmp_path / "cc12m.tsv")) == expected


def test_pages_of_tables_are_provenance(tmp_path: Path) -> None:
    """Where a column has them, relative URLs are relative to them; a blank one is no page."""
    rows = {
        "page_url": ["http://x.example/p", None, "http://x.example/p"],
        "image_url": ["a.jpg", "b.jpg", "c.jpg"],
        "caption_reference_description": ["A", "B", "C"],
    }
    pq.write_table(pa.table(rows), tmp_path / "wit.parquet")
    found = links(Tables(), str(tmp_path / "wit.parquet"))
    assert [(each.url, each.page_url, each.base) for each in found if isinstance(each, Found)] == [
        ("a.jpg", "http://x.example/p", "http://x.example/p"),
        ("b.jpg", "", ""),
        ("c.jpg", "http://x.example/p", "http://x.example/p"),
    ]


@pytest.mark.parametrize(
    ("group_rows", "stops"),
    [
        (50, [50, 100, 150, 200, 250, 300]),
        (30, [60, 120, 180, 240, 300]),
        (70, [70, 140, 210, 280, 300]),
        (130, [130, 260, 300]),
        (300, [140, 280, 300]),
    ],
)
def test_parquet_is_cut_into_slices(
    group_rows: int, stops: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slices cover the rows once, in order: whole row groups up to 70 rows, and pieces of one of more than 140."""
    monkeypatch.setattr("pipelines.sources.tables.SLICE_ROWS", 70)
    monkeypatch.setattr("pipelines.sources.tables.MAX_SLICE_ROWS", 140)
    monkeypatch.setattr("pipelines.sources.parquet._BATCH_ROWS", 16)
    table = pa.table({"url": [f"u{n}" for n in range(300)], "caption": [f"c{n}" for n in range(300)]})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=group_rows)
    url = str(tmp_path / "t.parquet")
    pieces = list(Tables().slices(url))
    assert [(piece.start, piece.stop) for piece in pieces] == list(zip([0, *stops[:-1]], stops, strict=True))
    found = links(Tables(), url)
    assert [(each.url, each.offset) for each in found if isinstance(each, Found)] == [(f"u{n}", n) for n in range(300)]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("urls.txt", "expected a URL, a tab and a caption in each line"),
        ("x.xlsx", "expected a table"),
        ("x.parquet.gz", "expected a table"),
    ],
)
def test_other_formats_are_refused(name: str, message: str, tmp_path: Path) -> None:
    """One line that says what is expected."""
    (tmp_path / name).write_text("http://x.example/a.jpg\n")
    with pytest.raises(InputError, match=message):
        links(Tables(), str(tmp_path / name))


def test_parquet_that_is_none_or_holds_no_text(tmp_path: Path) -> None:
    """A foreign file under a Parquet name, and columns of the wrong type."""
    (tmp_path / "a.parquet").write_bytes(b"not parquet at all")
    with pytest.raises(InputError, match="not a readable Parquet file"):
        links(Tables(), str(tmp_path / "a.parquet"))
    pq.write_table(pa.table({"url": [1], "caption": ["a"]}), tmp_path / "b.parquet")
    with pytest.raises(InputError, match="expected text in column 'url', found int64"):
        links(Tables(), str(tmp_path / "b.parquet"))


def test_broken_rows_are_counted(tmp_path: Path) -> None:
    """A CSV row with another number of values, and a JSON line that is none, cost themselves only."""
    (tmp_path / "t.csv").write_text("url,caption\na,b\nc\nd,e,f\ng,h\n")
    found = links(Tables(), str(tmp_path / "t.csv"))
    assert [each.url for each in found if isinstance(each, Found)] == ["a", "g"]
    assert [each.reason for each in found if isinstance(each, Fault)] == ["malformed_record"] * 2
    (tmp_path / "t.jsonl").write_text(
        '{"url": "a", "caption": "b"}\n{"url": \n[1]\n{"url": 1, "caption": "x"}\n{"url": "c"}\n'
    )
    found = links(Tables(), str(tmp_path / "t.jsonl"))
    assert [each.url for each in found if isinstance(each, Found)] == ["a", "c"]
    assert [(each.reason, each.offset) for each in found if isinstance(each, Fault)] == [
        ("malformed_record", n) for n in (1, 2, 3)
    ]


def test_a_compressed_table_that_breaks_off(tmp_path: Path) -> None:
    """What was read stays, and one fault says that the rest is lost."""
    import orjson

    lines = b"".join(
        orjson.dumps({"url": f"http://x.example/{n}", "caption": f"a dog {n * 7919}"}) + b"\n" for n in range(5000)
    )
    path = tmp_path / "t.jsonl.gz"
    path.write_bytes(gzip.compress(lines)[:-2000])
    found = links(Tables(), str(path))
    *read, fault = found
    assert [each.url for each in read if isinstance(each, Found)] == [f"http://x.example/{n}" for n in range(len(read))]
    assert len(read) > 4000
    assert isinstance(fault, Fault)
    assert (fault.reason, fault.offset) == ("unreadable_archive", None)
